"""Tests of label noise: exact counts, the distribution, and wrong arguments."""

import keras
import numpy as np
import pytest

from keras_reg.data import asymmetric_noise, symmetric_noise
from keras_reg.data.label_noise import CIFAR10_ASYMMETRIC, CIFAR100_ASYMMETRIC

pytestmark = pytest.mark.any_backend

N = 20_000


@pytest.fixture(autouse=True)
def seeds():
    """Replaces the fixture for all tests, because these tests create no Keras state and clearing it is slow."""


def balanced(classes=10, n=N):
    return np.random.default_rng(7).permutation(np.arange(n) % classes)


def transitions(before, after, classes):
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (before, after), 1)
    return counts


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.37, 1.0])
def test_symmetric_noise_rate_is_exact(rate):
    labels = balanced()
    kept = labels.copy()
    noisy = symmetric_noise(labels, rate, 10, seed=1)
    assert (noisy != labels).sum() == round(rate * N)
    np.testing.assert_array_equal(labels, kept)
    assert noisy is not labels
    assert not np.shares_memory(noisy, labels)


@pytest.mark.parametrize("n", [1, 3, 7])
def test_symmetric_noise_rounds_count_of_changed_labels(n):
    for rate in (0.1, 0.5, 0.6):
        labels = np.arange(n) % 2
        assert (symmetric_noise(labels, rate, 2, seed=0) != labels).sum() == round(rate * n)


def test_symmetric_noise_is_uniform_over_other_classes():
    labels = balanced(5)
    counts = transitions(labels, symmetric_noise(labels, 0.5, 5, seed=2), 5)
    off = counts[~np.eye(5, dtype=bool)]  # Each of these 20 cells has an expectation of 500.
    np.testing.assert_allclose(off, 500, atol=5 * 500**0.5)
    assert ((off - 500) ** 2 / 500).sum() < 45.3  # Chi squared with about 20 degrees of freedom has p = 0.001.


def test_symmetric_noise_selects_samples_evenly():
    changed = sum(symmetric_noise(np.zeros(50, int), 0.3, 4, seed=seed) != 0 for seed in range(400))
    np.testing.assert_allclose(changed, 120, atol=5 * (400 * 0.3 * 0.7) ** 0.5)


def test_symmetric_noise_supports_reference_protocol():
    """Checks that a draw from all classes has the true rate rate * (1 - 1 / C)."""
    labels = balanced()
    noisy = symmetric_noise(labels, 0.4, 10, seed=3, exclude_true=False)
    expected = 0.36
    assert abs((noisy != labels).mean() - expected) < 4 * (0.4 * 0.1 * 0.9 / N) ** 0.5
    counts = transitions(labels, noisy, 10)
    np.testing.assert_allclose(counts[~np.eye(10, dtype=bool)], 80, atol=5 * 80**0.5)
    np.testing.assert_allclose(np.diag(counts), 1280, atol=40)


def test_asymmetric_noise_rate_is_exact_in_each_class():
    labels = np.repeat(np.arange(10), np.arange(1, 11) * 30)
    kept = labels.copy()
    noisy = asymmetric_noise(labels, 0.37, "cifar10", seed=4)
    counts = transitions(labels, noisy, 10)
    for source in range(10):
        size = (source + 1) * 30
        flipped = round(0.37 * size) if source in CIFAR10_ASYMMETRIC else 0
        assert counts[source, source] == size - flipped
        if flipped:
            assert counts[source, CIFAR10_ASYMMETRIC[source]] == flipped
    np.testing.assert_array_equal(labels, kept)
    assert not np.shares_memory(noisy, labels)


def test_asymmetric_noise_mappings_match_cifar_classes():
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert {names[a]: names[b] for a, b in CIFAR10_ASYMMETRIC.items()} == {
        "truck": "automobile",
        "bird": "airplane",
        "deer": "horse",
        "cat": "dog",
        "dog": "cat",
    }
    with pytest.raises(TypeError):
        CIFAR10_ASYMMETRIC[0] = 1
    assert CIFAR100_ASYMMETRIC[:11] == (1, 2, 3, 4, 0, 6, 7, 8, 9, 5, 11)
    assert CIFAR100_ASYMMETRIC[95:] == (96, 97, 98, 99, 95)
    labels = balanced()
    assert (asymmetric_noise(labels, 0.4, "cifar10", seed=0) != labels).mean() == 0.2
    by_dictionary = asymmetric_noise(labels, 0.4, CIFAR10_ASYMMETRIC, seed=0)
    np.testing.assert_array_equal(asymmetric_noise(labels, 0.4, "cifar10", seed=0), by_dictionary)
    labels = balanced(100)
    noisy = asymmetric_noise(labels, 0.4, "cifar100", seed=0)
    assert (noisy != labels).mean() == 0.4
    np.testing.assert_array_equal(noisy // 5, labels // 5)


def test_asymmetric_noise_swaps_by_clean_label():
    """Checks that cat -> dog and dog -> cat use the clean labels: at rate 1, the two classes are swapped."""
    np.testing.assert_array_equal(asymmetric_noise([3, 5, 3, 1], 1.0, {3: 5, 5: 3}, seed=0), [5, 3, 5, 1])


def noises(labels, seed):
    return (
        symmetric_noise(labels, 0.5, 10, seed=seed),
        symmetric_noise(labels, 0.5, 10, seed=seed, exclude_true=False),
        asymmetric_noise(labels, 0.5, [(c + 1) % 10 for c in range(10)], seed=seed),
    )


def test_label_noise_depends_on_seed_alone():
    labels = balanced(n=500)
    state = np.random.get_state()[1].copy()
    first, again, other = noises(labels, 5), noises(labels, 5), noises(labels, np.int64(6))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # The global generator of NumPy is unchanged.


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_label_noise_keeps_shape_and_dtype(dtype, shape):
    labels = balanced(n=500).astype(dtype).reshape(shape)
    for noisy in noises(labels, 0):
        assert isinstance(noisy, np.ndarray)
        assert (noisy.shape, noisy.dtype) == (labels.shape, labels.dtype)
        assert (noisy != labels).mean() > 0.4


def test_label_noise_accepts_lists_and_tensors():
    labels = balanced(n=50)
    expected = noises(labels, 0)
    for kind in (labels.tolist(), keras.ops.convert_to_tensor(labels)):
        for noisy, reference in zip(noises(kind, 0), expected, strict=True):
            np.testing.assert_array_equal(noisy, reference)


BAD_LABELS = [
    (np.eye(3, dtype=int), "one-hot"),
    ([0.0, 1.0], "must be integers"),
    ([True, False], "must be integers"),
    (["cat", "dog"], "must be integers"),
    ([0, -1], "negative"),
    (np.zeros((0,), int), "n > 0"),
    (np.zeros((2, 1, 1), int), r"shape \(2, 1, 1\)"),
    (3, r"shape \(\)"),
]


@pytest.mark.parametrize(("labels", "message"), BAD_LABELS)
def test_label_noise_rejects_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        symmetric_noise(labels, 0.1, 10, seed=0)
    with pytest.raises(ValueError, match=message):
        asymmetric_noise(labels, 0.1, {0: 1}, seed=0)


RATE_MESSAGE = "`rate` must be a finite number of at least 0 and of at most 1. Received: rate="


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), float("inf"), "0.1", None, True, [0.1], 0.1j, object()])
def test_label_noise_rejects_bad_rate(rate):
    with pytest.raises(ValueError, match=RATE_MESSAGE):
        symmetric_noise([0, 1], rate, 2, seed=0)
    with pytest.raises(ValueError, match=RATE_MESSAGE):
        asymmetric_noise([0, 1], rate, {0: 1}, seed=0)


@pytest.mark.parametrize("seed", [None, 1.0, True, -1, "1"])
def test_label_noise_rejects_bad_seed(seed):
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        symmetric_noise([0, 1], 0.5, 2, seed=seed)
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        asymmetric_noise([0, 1], 0.5, {0: 1}, seed=seed)


def test_symmetric_noise_rejects_bad_num_classes():
    for num_classes in (1, 0, 2.0, None, True):
        with pytest.raises(ValueError, match="`num_classes` must be an integer of at least 2"):
            symmetric_noise([0, 0], 0.5, num_classes, seed=0)
    with pytest.raises(ValueError, match="label 3 and num_classes=3"):
        symmetric_noise([0, 3], 0.5, 3, seed=0)
    with pytest.raises(ValueError, match=r"cannot hold the class 299.* Received: uint8"):
        symmetric_noise(np.zeros(4, "uint8"), 0.5, 300, seed=0)


@pytest.mark.parametrize("exclude_true", [1, "no", None])
def test_symmetric_noise_rejects_bad_exclude_true(exclude_true):
    with pytest.raises(ValueError, match=r"`exclude_true` must be True or False. Received: exclude_true="):
        symmetric_noise([0, 1], 0.5, 2, seed=0, exclude_true=exclude_true)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({1: 1}, "class 1 maps to itself"),
        ([1, 1, 0], "class 1 maps to itself"),
        ({0: 7}, "below 3.*class 0 maps to 7"),
        ([1, 2, 3], "below 3.*class 2 maps to 3"),
        ([1, 0], "no entry for the class 2"),
        ({0: 1.0}, "classes must be integers of at least 0"),
        ({"0": 1}, "classes must be integers of at least 0"),
        ({0: -1}, "classes must be integers of at least 0"),
        ({}, "must hold at least one class"),
        ({5: 1}, r"none of the classes \[5\]"),
        ("cifar", r"must be a dictionary or a sequence of classes, or one of \('cifar10', 'cifar100'\)"),
        (None, r"must be a dictionary or a sequence of classes, or one of \('cifar10', 'cifar100'\)"),
    ],
)
def test_asymmetric_noise_rejects_bad_mapping(mapping, message):
    with pytest.raises(ValueError, match=message):
        asymmetric_noise([0, 1, 2, 0], 0.5, mapping, seed=0)


def test_asymmetric_noise_mapping_accepts_absent_classes():
    np.testing.assert_array_equal(asymmetric_noise([0, 0, 1], 1.0, {0: 3, 3: 1}, seed=0), [3, 3, 1])
