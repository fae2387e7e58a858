"""Tests of the Fisher information: linear models in closed form, last layers of deep models, and digits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg.ops.fisher import log_likelihood
from keras_reg.training import fisher_diagonal
from tests.support.gradients import value_and_gradient
from tests.support.tiers import NOT_ON_JAX, ON_TORCH
from tests.support.tolerance import tolerance
from tests.support.wrapped import array

LOSSES = keras.losses
NEAR = {"rtol": 2e-4, "atol": 1e-7}


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def linear(loss, activation=None, units=3, features=5):
    model = keras.Sequential([keras.Input((features,)), keras.layers.Dense(units, activation, name="out")])
    model.set_weights([np.random.default_rng(1).normal(size=w.shape) for w in model.get_weights()])
    model.compile("sgd", loss)
    return model


def data(samples=20, features=5, classes=3):
    rng = np.random.default_rng(0)
    return rng.normal(size=(samples, features)).astype("float32"), rng.integers(0, classes, samples)


def of_linear(h, difference):
    """Returns the mean of squared gradients of a linear layer with the inputs h and output gradients p - y."""
    return (h**2).T @ difference**2 / len(h), np.mean(difference**2, 0)


def last_two(fisher):
    return list(fisher.values())[-2:]


@ON_TORCH
@pytest.mark.parametrize(
    ("loss", "activation", "one_hot"),
    [
        (LOSSES.SparseCategoricalCrossentropy(from_logits=True), None, False),
        (LOSSES.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1), None, True),
        (LOSSES.SparseCategoricalCrossentropy(), "softmax", False),
        ("sparse_categorical_crossentropy", "softmax", False),
        ("categorical_crossentropy", "softmax", True),
    ],
)
@pytest.mark.parametrize("batch_size", [32, 7])
def test_fisher_diagonal_matches_closed_form_of_softmax_model(loss, activation, one_hot, batch_size):
    model, (x, y) = linear(loss, activation), data()
    kernel, bias = model.get_weights()
    labels = np.eye(3)[y]
    fisher = fisher_diagonal(model, (x, labels if one_hot else y), batch_size=batch_size)
    assert list(fisher) == [variable.path for variable in model.trainable_variables]
    for got, expected in zip(fisher.values(), of_linear(x, softmax(x @ kernel + bias) - labels), strict=True):
        np.testing.assert_allclose(got, expected, **NEAR)


@ON_TORCH
@pytest.mark.parametrize(
    ("loss", "activation"),
    [(LOSSES.BinaryCrossentropy(from_logits=True), None), ("binary_crossentropy", "sigmoid")],
)
@pytest.mark.parametrize("units", [1, 3])
def test_fisher_diagonal_matches_closed_form_of_sigmoid_outputs(loss, activation, units):
    model, (x, _) = linear(loss, activation, units), data()
    y = np.random.default_rng(2).integers(0, 2, (len(x), units))
    kernel, bias = model.get_weights()
    labels = y[:, 0] if units == 1 else y
    expected = of_linear(x, sigmoid(x @ kernel + bias) - y)
    for got, theirs in zip(fisher_diagonal(model, (x, labels)).values(), expected, strict=True):
        np.testing.assert_allclose(got, theirs, **NEAR)


@ON_TORCH
@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_fisher_diagonal_draws_labels_from_predictions(kind, from_logits):
    """Compares the mean over many draws with the sum over labels, weighted by their probabilities."""
    loss = LOSSES.SparseCategoricalCrossentropy if kind == "softmax" else LOSSES.BinaryCrossentropy
    model = linear(loss(from_logits=from_logits), None if from_logits else kind)
    x, _ = data(2)
    kernel, bias = model.get_weights()
    p = (softmax if kind == "softmax" else sigmoid)(x @ kernel + bias)
    # E (p - y)**2 is p (1 - p) in both cases. The labels below are not used.
    expected = (x**2).T @ (p * (1 - p)) / len(x), np.mean(p * (1 - p), 0)
    many = np.repeat(x, 1000, 0), np.zeros(2000) if kind == "softmax" else np.zeros((2000, 3))
    drawn = fisher_diagonal(model, many, labels="predicted", batch_size=500)
    for got, theirs in zip(drawn.values(), expected, strict=True):
        np.testing.assert_allclose(got, theirs, rtol=0.15, atol=0.01)
    few = [fisher_diagonal(model, (x, many[1][:2]), labels="predicted", seed=seed) for seed in (0, 0, 1, 2, 3)]
    np.testing.assert_array_equal(*(last_two(f)[0] for f in few[:2]))
    assert any(not np.array_equal(last_two(few[0])[0], last_two(f)[0]) for f in few[2:])


@pytest.mark.parametrize("batch_size", [5, 8])
def test_fisher_diagonal_squares_batch_gradients_without_per_sample(batch_size):
    model, (x, y) = linear(LOSSES.SparseCategoricalCrossentropy(from_logits=True)), data()
    kernel, bias = model.get_weights()
    difference = softmax(x @ kernel + bias) - np.eye(3)[y]
    rows = [slice(start, start + batch_size) for start in range(0, len(x), batch_size)]
    expected = np.mean([(x[r].T @ difference[r] / len(x[r])) ** 2 for r in rows], 0)
    got = fisher_diagonal(model, (x, y), per_sample=False, batch_size=batch_size)
    np.testing.assert_allclose(last_two(got)[0], expected, **NEAR)
    alone = fisher_diagonal(model, (x, y), per_sample=False, batch_size=1)
    np.testing.assert_allclose(last_two(alone)[0], of_linear(x, difference)[0], **NEAR)


@ON_TORCH
def test_fisher_diagonal_of_trained_network_uses_inference_mode(digits):
    """Checks convolution, batch normalization and dropout in inference mode, and that the model is unchanged."""
    x, y = digits[0][:60].reshape(-1, 8, 8, 1), digits[1][:60]
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.BatchNormalization(), keras.layers.Flatten()]
    features = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dropout(0.5)])
    model = keras.Sequential([features, keras.layers.Dense(10)])
    model.compile("adam", LOSSES.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=2, verbose=0)
    before = [array(variable) for variable in model.variables]
    fisher = fisher_diagonal(model, (x, y))
    kernel, bias = model.get_weights()[-2:]
    h = features.predict(x, verbose=0)
    expected = of_linear(h, softmax(h @ kernel + bias) - np.eye(10)[y])
    for got, theirs in zip(last_two(fisher), expected, strict=True):
        np.testing.assert_allclose(got, theirs, rtol=2e-3, atol=1e-6)
    assert len(fisher) == len(model.trainable_variables) == 6
    assert all((information >= 0).all() and information.any() for information in fisher.values())
    for mine, theirs in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(mine), theirs)


@ON_TORCH
def test_fisher_diagonal_accepts_batches_named_inputs_and_embeddings():
    words, numbers = keras.Input((2,), name="words", dtype="int32"), keras.Input((3,), name="numbers")
    embedded = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(words))
    frozen = keras.layers.Dense(4, trainable=False, name="frozen")
    joined = keras.layers.Concatenate()([embedded, frozen(numbers)])
    model = keras.Model([words, numbers], keras.layers.Dense(3, name="out")(joined))
    model.compile("sgd", LOSSES.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x = {"words": rng.integers(0, 4, (10, 2)), "numbers": rng.normal(size=(10, 3)).astype("float32")}
    y = rng.integers(0, 3, 10)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            rows = slice(6 * index, 6 * index + 6)
            return {name: array[rows] for name, array in x.items()}, y[rows], np.ones(len(y[rows]))

    whole = fisher_diagonal(model, (x, y))
    for batches in (Batches(), [Batches()[0], Batches()[1]]):
        got = fisher_diagonal(model, batches)
        for mine, theirs in zip(got.values(), whole.values(), strict=True):
            np.testing.assert_allclose(mine, theirs, **NEAR)
    assert not any("frozen" in path for path in whole)
    table = next(information for path, information in whole.items() if "embedding" in path)
    assert table.shape == (5, 2)
    assert not table[4].any()  # This word does not occur.
    assert table[:4].any(1).all()


@ON_TORCH
def test_elastic_weight_consolidation_reduces_forgetting_of_digits(digits):
    """Trains on digits and then on digits with permuted pixels. The model must forget less of the first task."""
    x, y = digits
    moved = x[:, np.random.default_rng(0).permutation(x.shape[1])]
    old, new = {}, {}
    for strength in (0.0, 300.0):
        keras.utils.set_random_seed(3)
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(10)])
        loss = LOSSES.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
        model.fit(x, y, epochs=10, verbose=0)
        fisher = fisher_diagonal(model, (x, y), labels="predicted")
        elastic = keras_reg.regularizers.ElasticWeightConsolidation(fisher, strength)
        keras_reg.apply_regularizer(model, elastic, variables=["kernel", "bias"])
        model.fit(moved, y, epochs=10, verbose=0)
        old[strength], new[strength] = (model.evaluate(data, y, verbose=0)[1] for data in (x, moved))
    assert old[300.0] > old[0.0] + 0.1, old
    assert new[300.0] > 0.7, new


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"labels": "argmax"}, "Received: labels='argmax'"),
        ({"batch_size": 0}, "Received: batch_size=0"),
        ({"data": []}, "must contain samples"),
    ],
)
def test_fisher_diagonal_rejects_wrong_arguments(arguments, says):
    model = linear(LOSSES.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=says):
        fisher_diagonal(model, **{"data": data(), **arguments})


def test_fisher_diagonal_rejects_other_losses_and_repeated_paths():
    with pytest.raises(ValueError, match=r"cross-entropy.*Received: loss="):
        fisher_diagonal(linear("mse"), data())

    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.twins = [
                keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, name="out")], name="twin") for _ in range(2)
            ]

        def call(self, x):
            return self.twins[0](x) + self.twins[1](x)

    model = Twins()
    model.compile("sgd", LOSSES.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(ValueError, match=r"Received: \['twin/out/kernel', 'twin/out/bias'\] twice"):
        fisher_diagonal(model, data())


@NOT_ON_JAX
@pytest.mark.parametrize(("kind", "from_logits"), [("softmax", True), ("softmax", False), ("sigmoid", True)])
def test_log_likelihood_has_expected_value_and_gradient(kind, from_logits, floatx):
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(4, 2, 3)), rng.integers(0, 3, (4, 2))
    hard = np.eye(3)[y]
    p = softmax(logits) if kind == "softmax" else sigmoid(logits)
    expected = np.sum(hard * np.log(p) + ((1 - hard) * np.log(1 - p) if kind == "sigmoid" else 0))
    outputs = (logits if from_logits else 5 * p).astype(floatx)  # Keras normalizes probabilities too.
    for labels in (y, y[..., None], hard) if kind == "softmax" else (hard,):
        value, gradient = value_and_gradient(
            lambda z, labels=labels: log_likelihood(labels, z, kind == "sigmoid", from_logits), outputs
        )
        np.testing.assert_allclose(value, expected, **tolerance(floatx))
        if from_logits:
            np.testing.assert_allclose(gradient, hard - p, **tolerance(floatx))
