"""Mixup and CutMix whose strength may change in training."""

from __future__ import annotations

import threading
from typing import Any

import keras
from keras import ops, tree

from keras_reg._keras.callback_model import model_without_update
from keras_reg._registry import export
from keras_reg.callbacks._hyperparameter_callback import HyperparameterCallback
from keras_reg.ops.batch_mixing import mix_samples, paste_boxes
from keras_reg.ops.noise import along_batch
from keras_reg.ops.self_distillation import self_distillation_term
from keras_reg.random._uniform import open_uniform
from keras_reg.random.gamma import logit_beta
from keras_reg.training._outputs import output_names, select_output
from keras_reg.training._state import VariableState
from keras_reg.training.terms import Batch
from keras_reg.tune._checks import check_hyperparameter

# Of Beta(alpha, alpha) with less nothing is left but 0 and 1: no sample is mixed, as with 0, which has no distribution.
_SMALLEST = 1e-8
_IDS = "sample_id"


class _BatchMixing(HyperparameterCallback):
    """Base of callbacks that mix each sample with another one of its batch, in the compiled step."""

    follows_steps = True

    def __init__(self, alpha: Any, seed: int | None) -> None:
        super().__init__(check_hyperparameter("alpha", alpha, 0.0))
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise ValueError(f"`seed` must be an integer or None. Received: seed={seed!r}")
        self.seed = seed
        # From where a batch is mixed to where its loss is computed, in one trace; replicas are traced by threads.
        self._drawn = threading.local()

    def check_model(self, model: keras.Model) -> None:
        """Settles how the compiled loss sees predictions and labels."""
        if len(output_names(model)) > 1:
            raise ValueError(
                "Mixed samples have mixed labels for each output: a model with several cannot be trained so. "
                f"Received: a model with the outputs {output_names(model)}"
            )
        super().check_model(model)

    def create_state(self, model: keras.Model) -> list[keras.metrics.Metric]:
        """The present strength, and what numbers are drawn from."""
        self._seed = keras.random.SeedGenerator(self.seed)
        return [*super().create_state(model), VariableState([self._seed.state], "seed")]

    def change_batch(self, data: Any) -> Any:
        """The batch with mixed inputs; labels and sample weights stay."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        ids = {_IDS: x[_IDS]} if isinstance(x, dict) and _IDS in x else {}
        inputs = {key: leaf for key, leaf in x.items() if key != _IDS} if ids else x
        for leaf in tree.flatten(inputs):
            self.check_inputs(leaf)
        size = ops.shape(tree.flatten(inputs)[0])[0]
        alpha = ops.maximum(ops.cast(self.hyperparameter.read(), "float32"), _SMALLEST)
        logits = logit_beta((size,), alpha, alpha, self._seed)
        order = ops.argsort(open_uniform((size,), self._seed))
        inputs, share = self.mix(inputs, order, logits)
        self._drawn.pairs = order, share
        return keras.utils.pack_x_y_sample_weight({**inputs, **ids} if ids else inputs, y, sample_weight)

    def check_inputs(self, inputs: Any) -> None:
        """Raises a `ValueError` for integers, which cannot hold a fraction of themselves."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise ValueError(
                f"{type(self).__name__} mixes floats: convert the inputs before training. "
                f"Received: inputs of type {dtype}"
            )

    def mix(self, inputs: Any, order: Any, logits: Any) -> tuple[Any, Any]:
        """The mixed inputs, and the share of its own that each sample keeps.

        Args:
            inputs: Floats, in whatever structure the model takes them.
            order: Which sample each is mixed with.
            logits: Of the numbers that were drawn, shape (batch,).
        """
        raise NotImplementedError

    def terms(self, batch: Batch) -> dict[str, tuple[Any, ...]]:
        """The difference between the cross-entropy with mixed labels and the compiled one."""
        y_pred, labels, weight = (
            select_output(part, None, output_names(model_without_update(self)), what)
            for part, what in (
                (batch.y_pred, "the predictions"),
                (batch.y, "the labels"),
                (batch.sample_weight, "the sample weights"),
            )
        )
        order, share = self._drawn.pairs
        targets = self._loss.targets(labels, y_pred)
        others = ops.take(targets, order, axis=0)
        _, log_probabilities = self._loss.probabilities(y_pred)
        rest = ops.cast(along_batch(1 - share, targets), targets.dtype)
        term = self_distillation_term(targets, others, log_probabilities, rest)
        return {self.term_names[0]: (self._loss.weight * term, weight, y_pred)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the present strength."""
        return {"alpha": keras.saving.serialize_keras_object(self.hyperparameter), "seed": self.seed}


@export("callbacks.TunableMixup", kind="callback", arxiv="1710.09412", year=2017)
class TunableMixup(_BatchMixing):
    """Mixup whose strength may change in training: l x + (1 - l) x' with the labels l y + (1 - l) y'.

    Each sample has an l of Beta(alpha, alpha) and a partner of its own, in each step. Of the pair the sample is the one
    with the larger part, l or 1 - l: the distribution is the same, and the accuracy in the logs, which is that for its
    label, means something. The compiled loss must be categorical cross-entropy, sparse or not; it goes on to be
    computed with your labels, and what mixing changes is added to it, as `mixup` in the logs. Evaluations are without.

    While it trains, a model has the strength among its hyperparameters: `callbacks.HyperparameterSchedule` and
    `callbacks.SelfTuning` in the same `fit` find it, wherever they stand in the list.

    Args:
        alpha: A `tune.Float` with `low` of at least 0; the paper's best on images are 0.2 to 1. With 0 nothing is
            mixed.
        seed: An integer, or `None` for one that Keras draws.

    Raises:
        ValueError: If the strength is no hyperparameter with such a bound, or, at the start of `fit`, if inputs are
            integers, there are several outputs, or the compiled loss is no categorical cross-entropy.

    Example:

    ```python
    alpha = keras_reg.tune.Float("mixup_alpha", init=0.2, low=0.0, log=True)
    mixup = keras_reg.callbacks.TunableMixup(alpha)
    more = keras_reg.callbacks.HyperparameterSchedule({"mixup_alpha": [0.1, 0.2, 0.4]})
    model.fit(x, y, epochs=3, callbacks=[mixup, more])
    ```

    Source: Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz, mixup: Beyond Empirical Risk Minimization,
    arXiv 1710.09412, 2017.
    """

    term_names = ("mixup",)

    def __init__(self, alpha: Any, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def mix(self, inputs: Any, order: Any, logits: Any) -> tuple[Any, Any]:
        """Weighted means."""
        share = ops.sigmoid(ops.abs(logits))
        return tree.map_structure(lambda leaf: mix_samples(leaf, order, share), inputs), share


@export("callbacks.TunableCutMix", kind="callback", arxiv="1905.04899", year=2019)
class TunableCutMix(_BatchMixing):
    """CutMix whose strength may change in training: a box of each image comes from another one, and so does its label.

    The box has the share 1 - l of the image, with l of Beta(alpha, alpha), and its middle anywhere; what is outside of
    the image is cut off, and the labels are mixed by what is left of it. Each image has a box and a partner of its own,
    in each step. The compiled loss must be categorical cross-entropy, sparse or not; it goes on to be computed with
    your labels, and what mixing changes is added to it, as `cutmix` in the logs. Evaluations are without.

    While it trains, a model has the strength among its hyperparameters, as with `callbacks.TunableMixup`.

    Args:
        alpha: A `tune.Float` with `low` of at least 0; the paper's is 1. With 0, an image is whole, its own or another.
        seed: An integer, or `None` for one that Keras draws.

    Raises:
        ValueError: If the strength is no hyperparameter with such a bound, or, at the start of `fit`, if inputs are no
            images of floats, there are several outputs, or the compiled loss is no categorical cross-entropy.

    Example:

    ```python
    alpha = keras_reg.tune.Float("cutmix_alpha", init=1.0, low=0.0, log=True)
    classifier = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    classifier.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    classifier.fit(images, labels, callbacks=[keras_reg.callbacks.TunableCutMix(alpha)])
    ```

    Source: Sangdoo Yun, Dongyoon Han, Seong Joon Oh, Sanghyuk Chun, Junsuk Choe, Youngjoon Yoo, CutMix: Regularization
    Strategy to Train Strong Classifiers with Localizable Features, arXiv 1905.04899, 2019. There one box is drawn for
    each batch; here one for each image.
    """

    term_names = ("cutmix",)

    def __init__(self, alpha: Any, seed: int | None = None) -> None:
        super().__init__(alpha, seed)

    def check_inputs(self, inputs: Any) -> None:
        """Raises a `ValueError` for what is no image."""
        super().check_inputs(inputs)
        if len(inputs.shape) != 4:
            raise ValueError(
                "TunableCutMix needs images (batch, height, width, channels). "
                f"Received: inputs of shape {tuple(inputs.shape)}"
            )

    def mix(self, inputs: Any, order: Any, logits: Any) -> tuple[Any, Any]:
        """Boxes, in the same place in each input."""
        share = ops.sigmoid(logits)
        centers = open_uniform((ops.shape(order)[0], 2), self._seed)
        pasted = [paste_boxes(leaf, order, share, centers) for leaf in tree.flatten(inputs)]
        return tree.pack_sequence_as(inputs, [images for images, _ in pasted]), pasted[0][1]
