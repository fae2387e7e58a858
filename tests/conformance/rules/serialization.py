"""Rule 1: classes and models can be restored, in a new process too."""

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
        assert set(parameters) <= set(config), f"get_config omits {sorted(set(parameters) - set(config))}"
        for name, value in values.items():
            stored = keras.saving.serialize_keras_object(value)
            assert config[name] == stored, f"get_config changes {name!r} from {stored!r} to {config[name]!r}"
        # Keras's wrappers remove their layer from the configuration, so they get a copy.
        again = case.cls.from_config(copy.deepcopy(config))
        assert again.get_config() == config, "from_config creates a different object"


@rule(1, depends_on="class")
def registered_for_serialization(case: Case) -> None:
    for configuration in case.configurations:
        method = construct(case.cls, made(configuration))
        stored = in_json(keras.saving.serialize_keras_object(method))
        name = f"keras_reg>{case.cls.__name__}"
        assert stored["registered_name"] == name, f"registered as {stored['registered_name']!r}"
        again = keras.saving.deserialize_keras_object(stored)
        assert type(again) is case.cls, f"is loaded as {type(again)}"
        # JSON turns tuples into lists, such as the build shapes of nested layers.
        assert in_json(again.get_config()) == in_json(method.get_config()), "is loaded with a different configuration"


@rule(1, compiled_on=("tensorflow",))
def saved_model_loads_in_a_fresh_process(case: Case) -> None:
    """Saves a model during, after and in interrupted training. A callback leaves nothing in any of the files.

    Classes other than callbacks are parts of the model, so the time of saving does not matter.
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
