"""Self-tuning of hyperparameters as a callback."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, Structure
from keras_reg._validation import check_boolean, check_choice, check_integer, check_number, check_seed
from keras_reg.callbacks._configurable import Configurable
from keras_reg.callbacks._self_tuning.callback import TuningCallback
from keras_reg.callbacks._self_tuning.checks import (
    check_other_callbacks,
    check_responding_layers,
    create_response_optimizer,
    select_hyperparameters,
    warn_about_shared_data,
)
from keras_reg.callbacks._self_tuning.delta_steps import DeltaSteps
from keras_reg.callbacks._self_tuning.state import HyperparameterState, Response, TuningData
from keras_reg.callbacks._self_tuning.stn_steps import StnSteps
from keras_reg.training._state import VariableState
from keras_reg.tune import bind, hyperparameters
from keras_reg.tune._hyperparameter import Hyperparameter
from keras_reg.tune.binding import Binding

_PLAIN_ARGUMENTS = (
    *("kind", "train_steps", "tuning_steps", "warmup_steps", "scale", "tune_scale"),
    *("entropy_weight", "learning_rate", "max_step", "noise_gate", "batch_size", "seed"),
)


@export(
    "callbacks.SelfTuning",
    kind="callback",
    tasks=("hyperparameter tuning",),
    tunable={"learning_rate": Range(0.003, 0.1, log=True), "scale": Range(0.1, 1.0, log=True)},
    arxiv="2010.13514",
    year=2020,
)
class SelfTuning(Configurable, TuningCallback):
    """Tunes hyperparameters by gradient descent on the loss on tuning data, within one training run (Delta-STN).

    For each weight, the callback keeps a response: how the weight would change with the hyperparameters. In each step,
    the model first runs its own training step. Then the callback trains the response on the same batch, with the model
    linearized and hyperparameters perturbed for each sample. Every `train_steps` steps, the hyperparameters take a step
    down the gradient of the tuning loss, through the response. The tuning loss contains no regularizers. The saved
    model contains no trace of the callback.

    The hyperparameters are fitted to the tuning data, so it must be neither the validation nor the test data. Learning
    rates, batch sizes and sizes of layers cannot be tuned in this way, because they do not change which weights are
    best.

    Args:
        tuning_data: Tuple (inputs, labels) of arrays, or finite batches. It is kept in device memory. `fit` needs it,
            and `None` is only for `from_config`. Defaults to `None`.
        hyperparameters: List of hyperparameters, or a dictionary for stock layers such as
            `{"dropout_1.rate": tune.Float(...)}`, which `tune.bind` binds while the model trains. After `fit`, these
            layers have the tuned values as constants. Defaults to `None`, which tunes all of the model.
        kind: String, `"delta"`, or `"stn"` for a model with `layers.HyperDense` or similar layers. These layers respond
            to the hyperparameters, and the model's own step trains them at perturbed values. Defaults to `"delta"`.
        train_steps: Integer. The number of training steps per step of the hyperparameters. Defaults to `5`.
        tuning_steps: Integer. The number of hyperparameter steps after these training steps. Defaults to `1`.
        warmup_steps: Integer. The number of steps that only train the response. Defaults to `100`.
        scale: Float. The standard deviation of the perturbation of each unconstrained hyperparameter. For strengths
            with `log=True`, the response is off by a factor of 0.98 at 0.5 and of 0.90 at 1 (ridge regression).
            Defaults to `0.5`.
        tune_scale: Boolean. Whether to tune the scales too. Defaults to `False`.
        entropy_weight: Float. The weight of the entropy that keeps tuned scales above 0. Defaults to `0.001`.
        learning_rate: Float. The learning rate of RMSprop for the unconstrained values. Defaults to `0.01`.
        response_optimizer: Optimizer of the response. Defaults to `None`, which is Adam with a learning rate of 0.001.
        max_step: Float. The largest change of an unconstrained value in one step. Defaults to `0.3`.
        noise_gate: Float. A hyperparameter moves only if the moving mean of its gradient is at least this number of
            standard errors away from 0. With 0 all move. Defaults to `0.0`.
        batch_size: Integer. The number of samples of the tuning data per step. Defaults to `128`.
        seed: Integer. The seed of the random numbers. With `None`, Keras draws one. Defaults to `None`.

    Attributes:
        values: The current values, by name.
        gradients: The mean gradient of the tuning loss with respect to each unconstrained value, over all steps so far.
        scales: The current scales of the perturbation, by name.
        history: Maps each name to the values at the ends of the epochs.
        schedule: The values at the starts of the epochs, for `callbacks.ReplaySchedule`.

    Raises:
        ValueError: If an argument is out of range, the model has no hyperparameters, or the tuning data is unsuitable.
            Also if the same `fit` has a callback that stores rows per sample or sets a tuned value.

    Example:

    ```python
    decay = keras_reg.tune.Float("l2", init=1e-2, low=0.0, log=True)
    l2 = keras_reg.regularizers.TunableL2(decay)
    dense = keras.layers.Dense(10, kernel_regularizer=l2)
    tuned = keras.Sequential([keras.Input((6,)), dense])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    tuned.compile("adam", loss)
    tuning = keras_reg.callbacks.SelfTuning(tuning_data=(x, y))
    tuned.fit(x, y, callbacks=[tuning], verbose=0)
    tuning.values  # {"l2": ...}
    ```

    References:

    - [Bae and Grosse, 2020](https://arxiv.org/abs/2010.13514): Delta-STN: Efficient Bilevel Optimization for Neural
      Networks using Structured Response Jacobians. The response here is that of the weights of layers of any kind,
      where the authors have their own layers.
    - [MacKay et al., 2019](https://arxiv.org/abs/1903.03088): Self-Tuning Networks
    """

    follows_steps = True
    serialized_arguments = ("hyperparameters",)

    def __init__(
        self,
        tuning_data: Structure = None,
        hyperparameters: Sequence[Hyperparameter] | Mapping[str, Hyperparameter] | None = None,
        *,
        kind: str = "delta",
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
        self.kind = check_choice("kind", kind, ("delta", "stn"))
        self.train_steps = check_integer("train_steps", train_steps)
        self.tuning_steps = check_integer("tuning_steps", tuning_steps)
        self.warmup_steps = check_integer("warmup_steps", warmup_steps, at_least=0)
        self.scale = check_number("scale", scale, above=0.0)
        self.tune_scale = check_boolean("tune_scale", tune_scale)
        self.entropy_weight = check_number("entropy_weight", entropy_weight)
        self.learning_rate = check_number("learning_rate", learning_rate, above=0.0)
        self.response_optimizer = response_optimizer
        self.max_step = check_number("max_step", max_step, above=0.0)
        self.noise_gate = check_number("noise_gate", noise_gate)
        self.batch_size = check_integer("batch_size", batch_size)
        self.seed = check_seed(seed)
        self._binding: Binding | None = None

    def check_model(self, model: keras.Model) -> None:
        """Finds the hyperparameters. Raises a `ValueError` if they cannot be tuned."""
        handles = hyperparameters(model)
        if self._binding is not None:
            handles = {handle.name: [handle] for handle in self._binding.hyperparameters.values()}
        elif self.hyperparameters is not None:
            handles = select_hyperparameters(handles, self.hyperparameters)
        if self.tuning_data is None:
            raise ValueError("Pass `tuning_data` that the model does not train on. Received: tuning_data=None")
        if not handles:
            raise ValueError(
                "There is nothing to tune: the model has no layer or regularizer with a `keras_reg.tune.Float`, such "
                f"as `keras_reg.layers.TunableDropout`. Received: hyperparameters={self.hyperparameters!r}"
            )
        if self.kind == "stn":
            check_responding_layers(model)
        if not model.trainable_variables:
            raise ValueError(
                "There are no trainable weights that could respond to hyperparameters: call a subclassed model on some "
                f"inputs before `fit`. Received: {model!r}, built={model.built}"
            )
        shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        if self._steps is not None and self._steps.shapes != shapes:
            raise ValueError(
                "The trainable weights of the model differ from those in the first `fit`. Use a new SelfTuning. "
                f"Received: {len(shapes)} weights instead of {len(self._steps.shapes)}"
            )
        self._handles = handles

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the response, the unconstrained values and the tuning data."""
        drawn = self.seed if self.seed is not None else ops.convert_to_numpy(keras.random.randint((), 0, 2**31 - 1))
        random = np.random.default_rng(int(drawn))
        seed = keras.random.SeedGenerator(int(random.integers(2**31 - 1)))
        self._tuned = tuned = HyperparameterState(
            self._handles, self.scale, self.tune_scale, self.learning_rate, self.max_step, self.noise_gate
        )
        data = TuningData(self.tuning_data, self.batch_size)
        arguments = (model, tuned, data, seed, self.entropy_weight)
        states = []
        if self.kind == "delta":
            optimizer = create_response_optimizer(self.response_optimizer, model)
            response = Response(model.trainable_variables, len(self._handles), optimizer, random)
            self._steps, states = DeltaSteps(response, *arguments), [response.to_state()]
        else:
            self._steps = StnSteps(*arguments)
        handles = [handle.variable for group in self._handles.values() for handle in group]
        states += [VariableState([handle], f"hyperparameter_{index}") for index, handle in enumerate(handles)]
        self._data = data.arrays
        return [*states, tuned.arrays, VariableState([seed.state], "seed"), data.arrays]

    def on_train_begin(self, logs: Any = None) -> None:
        """Switches the method on."""
        if isinstance(self.hyperparameters, Mapping):
            self._binding = bind(self.model, self.hyperparameters)
        super().on_train_begin(logs)
        self.history = {name: [] for name in self._handles}
        self._read_tuned().starts.clear()
        try:
            check_other_callbacks(self, self._handles)
        except ValueError:
            self.detach()
            raise
        warn_about_shared_data(self.tuning_data)

    def detach(self) -> None:
        """Removes everything that the method added to the model. Stock layers keep the current values."""
        super().detach()
        binding, self._binding = self._binding, None
        if binding is not None:
            binding.unbind()

    def after_step(self, data: Structure) -> None:
        """Trains the response, and updates the hyperparameters every `train_steps` steps."""
        if self._steps is None or self._tuned is None or self._objective is None:
            return
        evaluating = self._objective.evaluating
        steps = self._tuned.steps
        steps.assign(steps + 1)
        self._steps.train_response(data)
        count = ops.convert_to_tensor(steps)
        for _ in range(self.tuning_steps):
            last = ops.equal(ops.mod(count, self.train_steps), 0.0)
            self._steps.move_hyperparameters(ops.logical_and(last, count > self.warmup_steps))
        self._objective.evaluating = evaluating

    def get_config(self) -> Config:
        """Returns the constructor's arguments except the tuning data. Assign `tuning_data` after `from_config`."""
        optimizer, handles = self.response_optimizer, self.hyperparameters
        if isinstance(optimizer, keras.optimizers.Optimizer):
            optimizer = keras.optimizers.serialize(optimizer)
        handles = None if handles is None else keras.saving.serialize_keras_object(handles)
        plain = {name: getattr(self, name) for name in _PLAIN_ARGUMENTS}
        return {"hyperparameters": handles, "response_optimizer": optimizer, **plain}
