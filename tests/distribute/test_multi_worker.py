"""Tests that two workers train like one and resume after one was killed. Also shows faults with Keras alone."""

from __future__ import annotations

import contextlib
import json
import signal

import keras
import numpy as np
import pytest

from keras_reg._keras.workers import replace_functions
from keras_reg.distribute import multi_worker
from tests.distribute.workers_program import EPOCHS, build_model, frozen_training, make_problem, straight_training
from tests.support.workers import ended, start_workers

pytestmark = pytest.mark.slow
ON_TENSORFLOW = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="`tf.distribute`")
WORKERS = pytest.mark.xdist_group("workers")
# The steps at which worker 1 is killed. An epoch has three steps. At step 7 there is a backup of two epochs, both
# memories are in use, and a part of the third epoch is lost. Step 2 is the last one without a backup. Killing the last
# step leaves one epoch to resume.
STEPS = [7, pytest.param(2, marks=pytest.mark.full), pytest.param(EPOCHS * 3 - 1, marks=pytest.mark.full)]


@pytest.fixture(scope="module", params=STEPS)
def workers(request, tmp_path_factory):
    """Runs two workers without a fault, then kills worker 1 at a step of another training run."""
    folder, step = tmp_path_factory.mktemp("workers"), request.param
    both = start_workers("tests.distribute.workers_program", "straight", str(folder), str(step))
    try:
        killed = ended(both[1:])
    finally:
        # This worker waits for the other one. TensorFlow would notice the failure only after some heartbeats.
        both[0].kill()
    survivor = ended(both[:1])
    assert killed[0][0] == -signal.SIGKILL, (killed, survivor)
    assert (folder / "straight-1.json").exists(), (killed, survivor)
    kept = (folder / "backup" / "latest.weights.h5").exists()
    results = {"step": step, "folder": folder, "kept": kept, **read_results(folder, "straight")}
    results["messages"] = [json.loads((folder / f"straight-{index}.json").read_text()) for index in (0, 1)]
    return results


@pytest.fixture(scope="module")
def resumed(workers):
    """Starts both workers again after one was killed."""
    both = ended(start_workers("tests.distribute.workers_program", "resumed", str(workers["folder"])))
    assert [status for status, _ in both] == [0, 0], both
    return read_results(workers["folder"], "resumed")


def read_results(folder, stage):
    results = {}
    for index in (0, 1):
        with np.load(folder / f"{stage}-{index}.npz") as file:
            results[stage, index] = dict(file)
    return results


def assert_same(got, expected, tolerance=0.0, context=""):
    assert got.keys() >= expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=tolerance, atol=tolerance, err_msg=f"{context} {name}")


@ON_TENSORFLOW
@WORKERS
def test_keras_fault_trainer_reduces_batch_of_workers(workers):
    for messages in workers["messages"]:
        assert "convert a value (PerReplica" in messages["batches"]


@ON_TENSORFLOW
@WORKERS
def test_keras_fault_trainer_reduces_scalars_over_axis_0(workers):
    for messages in workers["messages"]:
        assert "Invalid reduction dimension 0" in messages["scalars"]


@ON_TENSORFLOW
@WORKERS
def test_two_workers_reach_weights_and_memories_of_one_worker(workers):
    assert_same(workers["straight", 0], straight_training(build_model()), 1e-5)
    frozen = frozen_training(build_model())
    assert_same(workers["straight", 0], {f"frozen {name}": value for name, value in frozen.items()}, 1e-5)


@ON_TENSORFLOW
@WORKERS
def test_workers_agree_bit_for_bit(workers):
    assert_same(workers["straight", 1], workers["straight", 0])


@ON_TENSORFLOW
@WORKERS
def test_workers_predict_and_evaluate_every_sample_in_order(workers):
    results, (x, y), model = workers["straight", 0], make_problem(), build_model()
    model.set_weights([results[f"weight {index}"] for index in range(4)])
    np.testing.assert_allclose(results["predictions"], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(results["evaluation"], model.evaluate(x, y, verbose=0), rtol=1e-5)


@ON_TENSORFLOW
@WORKERS
def test_only_first_worker_writes_files(workers):
    files = {file.name for file in workers["folder"].glob("*.keras")} | {
        file.name for file in workers["folder"].glob("*.weights.h5")
    }
    assert files == {"checkpoint.keras", "0.weights.h5"}
    results, saved = workers["straight", 0], keras.saving.load_model(workers["folder"] / "checkpoint.keras")
    for index, weight in enumerate(saved.get_weights()):
        np.testing.assert_array_equal(weight, results[f"weight {index}"])


@ON_TENSORFLOW
@WORKERS
@pytest.mark.full  # The rules of `tests/conformance` test a resume on one worker.
def test_killed_worker_resumes_exactly(workers, resumed):
    """Compares weights and both memories bit for bit with a run without a fault. The backup is removed at the end."""
    assert workers["kept"] == (workers["step"] > 2), f"killed at step {workers['step']}"
    expected = workers["straight", 0]
    assert_same(resumed["resumed", 1], resumed["resumed", 0])
    results = resumed["resumed", 0]
    assert {"past", "targets"} < results.keys()
    assert_same(results, {name: expected[name] for name in results}, context=f"killed at step {workers['step']}:")
    assert not (workers["folder"] / "backup").exists()


@ON_TENSORFLOW
@WORKERS
def test_workers_with_equal_seed_visit_every_shuffled_sample(workers):
    assert workers["straight", 0]["shuffled visited"].all()


@ON_TENSORFLOW
@WORKERS
def test_multi_worker_rejects_different_initial_weights(workers):
    for messages in workers["messages"]:
        assert "must begin with the same weights" in messages["apart"]
        assert "Received" in messages["apart"]


@ON_TENSORFLOW
@WORKERS
def test_multi_worker_restores_model_and_strategy(workers):
    assert [messages["left_behind"] for messages in workers["messages"]] == ["", ""]


@ON_TENSORFLOW
@WORKERS
def test_multi_worker_rejects_uncompiled_and_unscoped_models(workers):
    for messages in workers["messages"]:
        assert "ValueError: `model` must be compiled" in messages["not_compiled"]
        assert "ValueError: The layers of `model`" in messages["outside"]
        assert "kernel" in messages["outside"]


@ON_TENSORFLOW
def test_multi_worker_rejects_model_without_strategy():
    with pytest.raises(ValueError, match=r"scope of a .*Received: a model of"), multi_worker(build_model()):
        pass
    with pytest.raises(ValueError, match="must be a Keras model"), multi_worker("model"):
        pass


@pytest.mark.any_backend
def test_replaced_functions_are_restored_after_error():
    """Checks functions of the class, and a function that was set on the object itself."""
    model = build_model()
    own_save = model.save = lambda path: None
    with contextlib.suppress(KeyError), replace_functions(model, save=print, fit=print):
        assert model.save is model.fit is print
        raise KeyError
    assert model.save is own_save
    assert "fit" not in vars(model)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="for the other backends")
def test_multi_worker_rejects_other_backends(backend):
    with pytest.raises(ValueError, match=rf"is for TensorFlow.*{backend}"), multi_worker(build_model()):
        pass
