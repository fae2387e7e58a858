"""Rule 1: what was built is built again, in a fresh process too."""

from __future__ import annotations

import copy
import inspect
import json
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np
import pytest

from tests.conformance.case import Case, Trial, construct, interrupt, made
from tests.conformance.rules import rule
from tests.support.processes import ask


def in_json(stored: Any) -> Any:
    return json.loads(json.dumps(stored))


@rule(1, depends_on="class")
def config_round_trip(case: Case) -> None:
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(case.cls).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    for name, parameter in parameters.items():
        given = [configuration.get(name, parameter.default) for configuration in case.configurations]
        assert any(value != parameter.default for value in given), f"the case only gives the default of {name!r}"
    for configuration in case.configurations:
        values = made(configuration)
        config = construct(case.cls, values).get_config()
        assert set(parameters) <= set(config), f"get_config forgets {sorted(set(parameters) - set(config))}"
        for name, value in values.items():
            stored = keras.saving.serialize_keras_object(value)
            assert config[name] == stored, f"get_config changes {name!r} from {stored!r} to {config[name]!r}"
        again = case.cls.from_config(copy.deepcopy(config))  # wrappers of Keras take their layer out of what they get
        assert again.get_config() == config, "from_config builds something else"


@rule(1, depends_on="class")
def registered_for_serialization(case: Case) -> None:
    for configuration in case.configurations:
        method = construct(case.cls, made(configuration))
        stored = in_json(keras.saving.serialize_keras_object(method))
        name = f"keras_reg>{case.cls.__name__}"
        assert stored["registered_name"] == name, f"registered as {stored['registered_name']!r}"
        again = keras.saving.deserialize_keras_object(stored)
        assert type(again) is case.cls, f"comes back as {type(again)}"
        # In JSON a tuple is a list: the shapes on which nested layers were built come back as lists.
        assert in_json(again.get_config()) == in_json(method.get_config()), "comes back with another configuration"


@rule(1, compiled_on=("tensorflow",))
def saved_model_loads_in_a_fresh_process(case: Case) -> None:
    """A model saved while it trains, afterwards, and after it was stopped; of a callback, nothing is left in any.

    What is no callback is a part of the model, which does not depend on when it is saved.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [str(pathlib.Path(folder, name)) for name in ("during.keras", "after.keras", "stopped.keras")]
        trial = Trial(case, architecture="dropout")
        trial.fit(after=[keras.callbacks.ModelCheckpoint(files[0])])
        trial.model.save(files[1])
        features = trial.x["features"]
        expected = [trial.model.predict(features, verbose=0)] * 2
        if case.kind == "callback":
            with pytest.raises(KeyboardInterrupt):
                trial.fit(after=[interrupt("on_train_batch_begin", 0, KeyboardInterrupt)])
            trial.model.save(files[2])
            expected.append(trial.model.predict(features, verbose=0))
        elif keras.backend.backend() == "torch":
            files = files[:2]
        else:
            files, expected = files[:1], expected[:1]
        np.save(f"{folder}/x.npy", features)
        kind = "plain_models" if case.kind == "callback" and case.layer is None else "models"
        try:
            ask(f"tests.conformance.load_{kind}", f"{folder}/x.npy", *files)
        except RuntimeError as error:
            raise AssertionError(f"the saved model does not load: {error}") from error
        for file, prediction in zip(files, expected, strict=True):
            np.testing.assert_allclose(np.load(f"{file}.npy"), prediction, rtol=1e-6, atol=1e-6, err_msg=file)
