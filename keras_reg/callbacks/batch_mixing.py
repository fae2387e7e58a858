"""Mixup and CutMix with a strength that can change during training."""

from __future__ import annotations

import threading
from typing import Any

import keras
from keras import ops, tree

from keras_reg._keras.callback_model import model_without_update
from keras_reg._registry import export
from keras_reg._types import Config, Structure, Tensor
from keras_reg._validation import check_seed
from keras_reg.callbacks._hyperparameter_callback import HyperparameterCallback
from keras_reg.data._input_names import SAMPLE_ID
from keras_reg.ops.batch_mixing import mix_samples, paste_boxes
from keras_reg.ops.noise import along_batch
from keras_reg.ops.self_distillation import self_distillation_term
from keras_reg.random._uniform import open_uniform
from keras_reg.random.gamma import logit_beta
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._state import VariableState
from keras_reg.training.terms import Batch
from keras_reg.tune._checks import check_hyperparameter

# With a smaller alpha, Beta(alpha, alpha) gives only 0 and 1 in float32, so no sample is mixed. For alpha=0 the
# distribution is undefined. This value replaces 0, and mixes no sample either.
_SMALLEST_ALPHA = 1e-8


class _BatchMixing(HyperparameterCallback):
    """Mixes each sample with another sample of its batch, in the compiled step."""

    follows_steps = True

    def __init__(self, alpha: Any, seed: int | None) -> None:
        super().__init__(check_hyperparameter("alpha", alpha, 0.0))
        self.seed = check_seed(seed)
        # Passes the partners and shares from the mixing of a batch to its loss, which is computed in the same trace.
        # Each replica of a strategy is traced in its own thread.
        self._draws = threading.local()

    def check_model(self, model: keras.Model) -> None:
        """Determines how the compiled loss reads predictions and labels."""
        if len(output_names(model)) > 1:
            raise ValueError(
                "The model must have one output, because mixed samples have mixed labels for every output. "
                f"Received: a model with the outputs {output_names(model)}"
            )
        super().check_model(model)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """Creates the state: the current strength and the seed of the random numbers."""
        self._seed = keras.random.SeedGenerator(self.seed)
        return [*super().create_state(model), VariableState([self._seed.state], "seed")]

    def change_batch(self, data: Structure) -> Structure:
        """Returns the batch with mixed inputs and its own labels and sample weights."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        ids = {SAMPLE_ID: x[SAMPLE_ID]} if isinstance(x, dict) and SAMPLE_ID in x else {}
        inputs = {key: leaf for key, leaf in x.items() if key != SAMPLE_ID} if ids else x
        for leaf in tree.flatten(inputs):
            self.check_inputs(leaf)
        size = ops.shape(tree.flatten(inputs)[0])[0]
        alpha = ops.maximum(ops.cast(self.hyperparameter.read(), "float32"), _SMALLEST_ALPHA)
        logits = logit_beta((size,), alpha, alpha, self._seed)
        order = ops.argsort(open_uniform((size,), self._seed))
        inputs, share = self.mix(inputs, order, logits)
        self._draws.pairs = order, share
        return keras.utils.pack_x_y_sample_weight({**inputs, **ids} if ids else inputs, y, sample_weight)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises a `ValueError` for integers, because their weighted means are not integers."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(
                f"{type(self).__name__} mixes floats: convert the inputs before training. "
                f"Received: inputs of type {dtype}"
            )

    def mix(self, inputs: Structure, order: Tensor, logits: Tensor) -> tuple[Structure, Tensor]:
        """Returns the mixed inputs, and the share of its own inputs that each sample keeps.

        Args:
            inputs: Floats, in the structure of the model's inputs.
            order: The position of the partner of each sample, shape (batch,).
            logits: The logits of the drawn shares, shape (batch,).
        """
        raise NotImplementedError

    def terms(self, batch: Batch) -> dict[str, tuple[Tensor, ...]]:
        """Computes the cross-entropy with mixed labels minus the compiled one."""
        y_pred, labels, weight = (
            select_output(part, None, output_names(model_without_update(self)), name)
            for part, name in (
                (batch.y_pred, "the predictions"),
                (batch.y, "the labels"),
                (batch.sample_weight, "the sample weights"),
            )
        )
        order, share = self._draws.pairs
        targets = self._loss.targets(labels, y_pred)
        partner_targets = ops.take(targets, order, axis=0)
        _, log_probabilities = self._loss.probabilities(y_pred)
        partner_share = ops.cast(along_batch(1 - share, targets), targets.dtype)
        term = self_distillation_term(targets, partner_targets, log_probabilities, partner_share)
        return {self.term_names[0]: (self._loss.weight * term, weight, y_pred)}

    def get_config(self) -> Config:
        """Returns the constructor's arguments, with the current strength."""
        return {"alpha": keras.saving.serialize_keras_object(self.hyperparameter), "seed": self.seed}


@export(
    "callbacks.TunableMixup",
    kind="callback",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="1710.09412",
    year=2017,
)
class TunableMixup(_BatchMixing):
    """Mixes pairs of samples and their labels, with a strength that can change during training.

    Mixup trains on the inputs l x + (1 - l) x' with the labels l y + (1 - l) y'. In each step, each sample gets its own
    partner and its own l from Beta(alpha, alpha). The label in the batch is that of the sample with the larger part, l
    or 1 - l. This keeps the distribution of the pairs, and the accuracy in the logs stays meaningful.

    The compiled loss must be categorical cross-entropy, sparse or not. It is still computed with your labels; the
    callback adds the difference that mixing makes. The logs show this term as `mixup`. Evaluations do not mix.

    The strength belongs to the model's hyperparameters while the model trains. `callbacks.HyperparameterSchedule` and
    `callbacks.SelfTuning` find it in the same `fit`, at any position in the list.

    Args:
        alpha: A `keras_reg.tune.Float` with `low` of at least 0. The paper's best values on images are 0.2 to 1. The
            value 0 mixes nothing.
        seed: Integer. The seed of the random numbers. With `None`, Keras draws one. Defaults to `None`.

    Raises:
        ValueError: If `alpha` is not a hyperparameter with such a bound or `seed` is not an integer. At the start of
            `fit`, if inputs are integers, there are several outputs, or the compiled loss is not a categorical
            cross-entropy.

    Example:

    ```python
    alpha = keras_reg.tune.Float("mixup_alpha", init=0.2, low=0.0, log=True)
    mixup = keras_reg.callbacks.TunableMixup(alpha)
    more = keras_reg.callbacks.HyperparameterSchedule(
        {"mixup_alpha": [0.1, 0.2, 0.4]}
    )
    model.fit(x, y, epochs=3, callbacks=[mixup, more])
    ```

    Reference:

    - [Zhang et al., 2017](https://arxiv.org/abs/1710.09412): mixup: Beyond Empirical Risk Minimization
    """

    term_names = ("mixup",)

    def __init__(self, alpha: Any, *, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def mix(self, inputs: Structure, order: Tensor, logits: Tensor) -> tuple[Structure, Tensor]:
        """Returns the weighted mean of each pair, and the larger share."""
        share = ops.sigmoid(ops.abs(logits))
        return tree.map_structure(lambda leaf: mix_samples(leaf, order, share), inputs), share


@export(
    "callbacks.TunableCutMix",
    kind="callback",
    tasks=("augmentation", "hyperparameter tuning"),
    arxiv="1905.04899",
    year=2019,
)
class TunableCutMix(_BatchMixing):
    """Pastes a box of another image into each image and mixes labels, with a strength that can change during training.

    The box covers the share 1 - l of the image, with l from Beta(alpha, alpha), and its center is uniform. The part
    outside the image is cut off, and the labels are mixed according to the remaining area. In each step, each image
    gets its own box and its own partner.

    The compiled loss must be categorical cross-entropy, sparse or not. It is still computed with your labels; the
    callback adds the difference that mixing makes. The logs show this term as `cutmix`. Evaluations do not mix.

    The strength belongs to the model's hyperparameters while the model trains, as with `callbacks.TunableMixup`.

    Args:
        alpha: A `keras_reg.tune.Float` with `low` of at least 0. The paper uses 1. With 0, each result is one whole
            image, either the image or its partner.
        seed: Integer. The seed of the random numbers. With `None`, Keras draws one. Defaults to `None`.

    Raises:
        ValueError: If `alpha` is not a hyperparameter with such a bound or `seed` is not an integer. At the start of
            `fit`, if inputs are not images of floats, there are several outputs, or the compiled loss is not a
            categorical cross-entropy.

    Example:

    ```python
    alpha = keras_reg.tune.Float("cutmix_alpha", init=1.0, low=0.0, log=True)
    classifier = keras.Sequential([
        keras.Input((28, 28, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile("adam", loss)
    cutmix = keras_reg.callbacks.TunableCutMix(alpha)
    classifier.fit(images, labels, callbacks=[cutmix])
    ```

    Reference:

    - [Yun et al., 2019](https://arxiv.org/abs/1905.04899): CutMix: Regularization Strategy to Train Strong
      Classifiers with Localizable Features. The paper draws one box for each batch; here each image has its own.
    """

    term_names = ("cutmix",)

    def __init__(self, alpha: Any, *, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def check_inputs(self, inputs: Tensor) -> None:
        """Raises a `ValueError` for inputs that are not images of floats."""
        super().check_inputs(inputs)
        if len(inputs.shape) != 4:
            raise ValueError(
                "TunableCutMix needs images (batch, height, width, channels). "
                f"Received: inputs of shape {tuple(inputs.shape)}"
            )

    def mix(self, inputs: Structure, order: Tensor, logits: Tensor) -> tuple[Structure, Tensor]:
        """Returns images with pasted boxes, at the same place in each input, and the shares of the kept area."""
        share = ops.sigmoid(logits)
        centers = open_uniform((ops.shape(order)[0], 2), self._seed)
        pasted = [paste_boxes(leaf, order, share, centers) for leaf in tree.flatten(inputs)]
        return tree.pack_sequence_as(inputs, [images for images, _ in pasted]), pasted[0][1]
