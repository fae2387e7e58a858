"""Self-tuning hyperparameters as a callback."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_choice, check_integer, check_number
from keras_reg.callbacks._self_tuning.callback import TuningCallback
from keras_reg.callbacks._self_tuning.checks import (
    chosen,
    own_optimizer,
    refuse_others,
    refuse_without_response,
    warn_of_the_same_data,
)
from keras_reg.callbacks._self_tuning.delta_steps import DeltaSteps
from keras_reg.callbacks._self_tuning.state import HyperparameterState, Response, TuningData
from keras_reg.callbacks._self_tuning.stn_steps import StnSteps
from keras_reg.training._state import VariableState
from keras_reg.tune import bind, hyperparameters
from keras_reg.tune.binding import Binding
from keras_reg.tune.hyperparameter import Hyperparameter

_PLAIN = (
    *("method", "train_steps", "tuning_steps", "warmup_steps", "scale", "tune_scale"),
    *("entropy_weight", "learning_rate", "max_step", "noise_gate", "batch_size", "seed"),
)


@export("callbacks.SelfTuning", kind="callback", arxiv="2010.13514", year=2020)
class SelfTuning(TuningCallback):
    """Self-tuning: moves hyperparameters down the gradient of the loss on tuning data, within one training (Delta-STN).

    Beside each weight the callback keeps how the weight would answer to a change of the hyperparameters. In each step
    the model trains as ever; then the answer is trained on the same batch, with hyperparameters perturbed for each
    sample and the model linearized; every `train_steps` steps the hyperparameters take a step down the gradient of the
    tuning loss, in which no regularizer counts, through that answer. The saved model is the user's own.

    The tuning data is trained on, if only by a few numbers: it must be neither the validation nor the test data.
    Learning rates, batch sizes and sizes of layers cannot be tuned so: they do not change which weights are best.

    Args:
        tuning_data: A tuple (inputs, labels) of arrays, or batches that end. It is kept in the device's memory.
        hyperparameters: By default all that the model's layers and regularizers hold. A list of some of them; or a
            dictionary for stock layers of the model, as `{"dropout_1.rate": tune.Float(...)}`, which `tune.bind` puts
            into their place while the model trains. Afterwards the layers have the found values as constants.
        method: `"delta"`, or `"stn"` for a model with `layers.HyperDense` and its like, which answer themselves: these
            are trained at perturbed hyperparameters, in the model's own step.
        train_steps: How many training steps there are for one step of the hyperparameters.
        tuning_steps: How many steps of the hyperparameters these are.
        warmup_steps: For how many steps the answer is trained before the hyperparameters move.
        scale: The standard deviation of the perturbation of the free number of each hyperparameter. For strengths with
            `log=True`, the answer is wrong by a factor of 0.98 with 0.5 and of 0.90 with 1 (ridge regression).
        tune_scale: Whether the scales are tuned too.
        entropy_weight: The weight of the entropy of the perturbation, which keeps tuned scales from 0.
        learning_rate: Of the hyperparameters' free numbers, with RMSprop.
        response_optimizer: The optimizer of the answer; by default Adam with a learning rate of 0.001.
        max_step: The largest change of a free number in one step.
        noise_gate: A hyperparameter whose gradient has a moving mean of less than this many standard errors does not
            move. With 0 all do.
        batch_size: How many samples of the tuning data a step takes.
        seed: An integer, or `None` for one that Keras draws.

    Attributes:
        values: The present values, by name.
        gradients: The mean gradient of the tuning loss for the free number of each, over all steps so far.
        scales: The present scales of the perturbation, by name.
        history: For each name, the values at the ends of the epochs.
        schedule: What `callbacks.ReplaySchedule` takes: the values at the starts of the epochs.

    Raises:
        ValueError: If an argument is out of its range, the model has no hyperparameters, the tuning data does not fit,
            or a callback that keeps something for each sample, or sets what is tuned, is in the same `fit`.

    Example:

    ```python
    decay = keras_reg.tune.Float("l2", init=1e-2, low=0.0, log=True)
    l2 = keras_reg.regularizers.TunableL2(decay)
    tuned = keras.Sequential([keras.Input((6,)), keras.layers.Dense(10, kernel_regularizer=l2)])
    tuned.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tuning = keras_reg.callbacks.SelfTuning(tuning_data=(x, y))
    tuned.fit(x, y, callbacks=[tuning], verbose=0)
    tuning.values  # {"l2": ...}
    ```

    Source: Juhan Bae, Roger Grosse, Delta-STN: Efficient Bilevel Optimization for Neural Networks using Structured
    Response Jacobians, arXiv 2010.13514, 2020, after Matthew MacKay et al., Self-Tuning Networks, 1903.03088, 2019.
    The answer is kept for weights of layers of any kind, where the authors have layers of their own.
    """

    follows_steps = True

    def __init__(
        self,
        tuning_data: Any = None,
        hyperparameters: Sequence[Hyperparameter] | Mapping[str, Hyperparameter] | None = None,
        *,
        method: str = "delta",
        train_steps: int = 5,
        tuning_steps: int = 1,
        warmup_steps: int = 100,
        scale: float = 0.5,
        tune_scale: bool = False,
        entropy_weight: float = 1e-3,
        learning_rate: float = 0.01,
        response_optimizer: Any = None,
        max_step: float = 0.3,
        noise_gate: float = 0.0,
        batch_size: int = 128,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.tuning_data, self.hyperparameters = tuning_data, hyperparameters
        self.method = check_choice("method", method, ("delta", "stn"))
        self.train_steps = check_integer("train_steps", train_steps)
        self.tuning_steps = check_integer("tuning_steps", tuning_steps)
        self.warmup_steps = int(check_number("warmup_steps", warmup_steps))
        self.scale = check_number("scale", scale, above=0.0)
        if not isinstance(tune_scale, bool):
            raise ValueError(f"`tune_scale` must be True or False. Received: tune_scale={tune_scale!r}")
        self.tune_scale = tune_scale
        self.entropy_weight = check_number("entropy_weight", entropy_weight)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.response_optimizer = response_optimizer
        self.max_step = check_number("max_step", max_step, above=0.0)
        self.noise_gate = check_number("noise_gate", noise_gate)
        self.batch_size = check_integer("batch_size", batch_size)
        self.seed = seed
        self._binding: Binding | None = None

    def check_model(self, model: keras.Model) -> None:
        """Finds the hyperparameters."""
        found = hyperparameters(model)
        if self._binding is not None:
            found = {handle.name: [handle] for handle in self._binding.hyperparameters.values()}
        elif self.hyperparameters is not None:
            found = chosen(found, self.hyperparameters)
        if self.tuning_data is None:
            raise ValueError("Give SelfTuning data that the model does not train on. Received: tuning_data=None")
        if not found:
            raise ValueError(
                "There is nothing to tune: the model has no layer or regularizer with a `keras_reg.tune.Float`, such "
                f"as `keras_reg.layers.TunableDropout`. Received: hyperparameters={self.hyperparameters!r}"
            )
        if self.method == "stn":
            refuse_without_response(model)
        if not model.trainable_variables:
            raise ValueError(
                "There are no trainable weights that could answer to hyperparameters: call a subclassed model on some "
                f"inputs before `fit`. Received: {model!r}, built={model.built}"
            )
        shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        if self._steps is not None and self._steps.shapes != shapes:
            raise ValueError(
                "The model has other trainable weights than in the first `fit` of this SelfTuning: use a new one. "
                f"Received: {len(shapes)} weights, where there were {len(self._steps.shapes)}"
            )
        self._handles = found

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Makes the response, the free numbers and the tuning data."""
        drawn = self.seed if self.seed is not None else ops.convert_to_numpy(keras.random.randint((), 0, 2**31 - 1))
        random = np.random.default_rng(int(drawn))
        seed = keras.random.SeedGenerator(int(random.integers(2**31 - 1)))
        numbers = HyperparameterState(
            self._handles, self.scale, self.tune_scale, self.learning_rate, self.max_step, self.noise_gate
        )
        data = TuningData(self.tuning_data, self.batch_size)
        self._numbers = numbers
        arguments = (model, numbers, data, seed, self.entropy_weight)
        carriers = []
        if self.method == "delta":
            optimizer = own_optimizer(self.response_optimizer, model)
            response = Response(model.trainable_variables, len(self._handles), optimizer, random)
            self._steps, carriers = DeltaSteps(response, *arguments), [response.carrier()]
        else:
            self._steps = StnSteps(*arguments)
        handles = [handle.variable for group in self._handles.values() for handle in group]
        carriers += [VariableState([handle], f"hyperparameter_{index}") for index, handle in enumerate(handles)]
        self._data = data.arrays
        return [*carriers, numbers.arrays, VariableState([seed.state], "seed"), data.arrays]

    def saved_state(self) -> list[keras.metrics.Metric]:
        """All but the tuning data."""
        return [metric for metric in self.state if metric is not self._data]

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        if isinstance(self.hyperparameters, Mapping):
            self._binding = bind(self.model, self.hyperparameters)
        super().on_train_begin(logs)
        self.history = {name: [] for name in self._handles}
        self._read().starts.clear()
        try:
            refuse_others(self, self._handles)
        except ValueError:
            self.detach()
            raise
        warn_of_the_same_data(self.tuning_data)

    def detach(self) -> None:
        """Takes everything off the model; stock layers keep the present values."""
        super().detach()
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.unbind()

    def around_step(self, data: Any) -> contextlib.AbstractContextManager[Any]:
        """With `method="stn"`, perturbs the hyperparameters in the model's own step."""
        return contextlib.nullcontext() if self._steps is None else self._steps.around_step(data)

    def after_step(self, data: Any) -> None:
        """Trains the response, and moves the hyperparameters where it is time to."""
        if self._steps is None or self._numbers is None or self._objective is None:
            return
        evaluating = self._objective.evaluating
        steps = self._numbers.steps
        steps.assign(steps + 1)
        self._steps.response_step(data)
        count = ops.convert_to_tensor(steps)
        for _ in range(self.tuning_steps):
            last = ops.equal(ops.mod(count, self.train_steps), 0.0)
            self._steps.hyperparameter_step(ops.logical_and(last, count > self.warmup_steps))
        self._objective.evaluating = evaluating

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, without the tuning data: give `tuning_data` anew, as an attribute."""
        optimizer = self.response_optimizer
        if isinstance(optimizer, keras.optimizers.Optimizer):
            optimizer = keras.optimizers.serialize(optimizer)
        handles = self.hyperparameters
        plain = {name: getattr(self, name) for name in _PLAIN}
        handles = None if handles is None else keras.saving.serialize_keras_object(handles)
        return {"hyperparameters": handles, "response_optimizer": optimizer, **plain}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SelfTuning:
        """Builds a callback from the arguments that `get_config` gave."""
        handles = config.get("hyperparameters")
        handles = None if handles is None else keras.saving.deserialize_keras_object(handles)
        return cls(**{**config, "hyperparameters": handles})
