"""T-JEPA, which learns representations of table rows without labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._registry import export
from keras_reg._types import Array, ArrayLike, Config, Shape, Tensor
from keras_reg._validation import check_integer
from keras_reg.models._ema_target import EMATargetModel
from keras_reg.models._jepa_arguments import check_arguments
from keras_reg.models._jepa_parts import ColumnEncoder, ColumnPredictor
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder
from keras_reg.ops.joint_embedding import gather_tokens, latent_prediction_loss
from keras_reg.random.subsets import disjoint_subsets, subset_sizes
from keras_reg.training.terms import MeanOverBatch

# Evaluation always draws the same columns, so that validation losses are comparable between epochs.
_EVALUATION_SEED = 1337


@export("models.TabularJEPA", kind="model", tasks=("self-supervised learning",), arxiv="2410.05016", year=2024)
class TabularJEPA(EMATargetModel):
    """Learns representations of table rows without labels, augmentations or reconstruction.

    A context encoder sees some columns of a row. From its representations, a predictor predicts those that the target
    encoder computes for other columns. The target encoder sees the whole row and is a slow moving average of the
    context encoder. [REG] tokens, whose outputs are not used, keep the representations of all rows from becoming the
    same.

    Compile the model with an optimizer and no loss, and pass only rows to `fit`. The model maps rows to their
    representations, so `predict` works. `encode` does the same with checks. Weights of the target encoder are not
    trained. The compiled step updates them after the optimizer's update.

    Args:
        tokenizer: A `keras_reg.models.FeatureTokenizer` with `cardinalities`. Its width must be even, and it is the
            width of the representations.
        encoder: A `keras_reg.models.TransformerEncoder` of the same width. `None` creates one with 4 layers and 8
            heads. Defaults to `None`.
        predictor: A `keras_reg.models.TransformerEncoder` of any even width. `None` creates one of the same width with
            2 layers and 4 heads. Defaults to `None`.
        num_tokens: Integer. The number of [REG] tokens, 0 or more. Defaults to `1`.
        num_targets: Integer. The number of target sets for each row. Defaults to `4`.
        context_share: Tuple of two floats. The smallest and the largest share of the columns in the context, above 0
            and below 1. Defaults to `(0.2, 0.4)`.
        target_share: Tuple of two floats. The same for each target set. Sizes are drawn for each step. Target columns
            are never in the context. Defaults to `(0.2, 0.4)`.
        momentum: Tuple of two floats. The share of the target encoder that a step keeps, at the first and at the last
            step of `fit`. It grows linearly. Steps outside `fit` use the first value. Defaults to `(0.996, 1.0)`.
        seed: Integer. The seed of the drawn columns. `None` uses a different seed each time. Defaults to `None`.
        **kwargs: Arguments of `keras.Model`: `name`, `dtype`.

    Call arguments:
        inputs: Tensor of rows, shape (batch, columns).
        training: Boolean. Whether to apply dropout.

    Returns:
        Representations by the target encoder, without [REG] tokens. The shape is (batch, columns, width). Flatten or
        average them.

    Raises:
        ValueError: If an argument is invalid or the parts do not fit each other. `fit` and `encode` raise the error if
            the rows do not fit the tokenizer. `fit` also raises it if there are labels, or if the number of steps is
            unknown.

    Example:

    ```python
    tokenizer = keras_reg.models.FeatureTokenizer(16, cardinalities=[0] * 6)
    encoder = keras_reg.models.TransformerEncoder(
        16, num_layers=2, num_heads=2, hidden=32
    )
    jepa = keras_reg.models.TabularJEPA(tokenizer, encoder)
    jepa.compile(keras.optimizers.AdamW(1e-3, clipvalue=1.0))
    jepa.fit(x, epochs=100)
    features = jepa.encode(x).reshape(len(x), -1)  # for a classifier
    ```

    Reference:

    - [Thimonier et al., 2024](https://arxiv.org/abs/2410.05016): T-JEPA: Augmentation-Free Self-Supervised Learning for
      Tabular Data
    """

    def __init__(
        self,
        tokenizer: FeatureTokenizer,
        encoder: TransformerEncoder | None = None,
        predictor: TransformerEncoder | None = None,
        *,
        num_tokens: int = 1,
        num_targets: int = 4,
        context_share: tuple[float, float] = (0.2, 0.4),
        target_share: tuple[float, float] = (0.2, 0.4),
        momentum: tuple[float, float] = (0.996, 1.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        ranges = {"context_share": context_share, "target_share": target_share, "momentum": momentum}
        check_arguments(tokenizer, encoder, predictor, num_tokens, num_targets, ranges, seed)
        width, columns = tokenizer.width, len(tokenizer.cardinalities or ())
        encoder = TransformerEncoder(width, name="encoder") if encoder is None else encoder
        if predictor is None:
            predictor = TransformerEncoder(width, num_layers=2, num_heads=4, name="predictor")
        self.columns = columns
        self.num_tokens, self.num_targets = int(num_tokens), int(num_targets)
        self.seed = None if seed is None else int(seed)
        self.context_share, self.target_share = tuple(context_share), tuple(target_share)
        self.momentum = (float(momentum[0]), float(momentum[1]))
        self.sizes = subset_sizes(columns, context_share, target_share)
        self.context_encoder = ColumnEncoder(tokenizer, encoder, self.num_tokens, name="context_encoder")
        copies = [type(part).from_config(part.get_config()) for part in (tokenizer, encoder)]
        self.target_encoder = ColumnEncoder(copies[0], copies[1], self.num_tokens, name="target_encoder")
        self.predictor = ColumnPredictor(predictor, width, columns, name="column_predictor")
        self.seeds = keras.random.SeedGenerator(seed)
        self._mean = MeanOverBatch(dtype=compute_dtype(), name="loss")
        self.build((None, columns))

    def build(self, input_shape: Shape) -> None:
        """Builds all parts, and copies the context encoder to the target encoder."""
        for part in (self.context_encoder, self.target_encoder):
            part.build(input_shape)
        self.target_encoder.trainable = False
        self.predictor.build((None, None, self.predictor.width))
        self.initialize_target()
        self.built = True

    def check_rows(self, rows: Array) -> None:
        """Raises a `ValueError` for arrays that do not fit the tokenizer."""
        self.context_encoder.tokenizer.check(rows)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        """Returns representations of whole rows by the target encoder."""
        return self.target_encoder(inputs, training=training)

    def draw_masks(self, batch: Any, training: bool = True) -> tuple[Tensor, ...]:
        """Draws the context columns and the target columns for one batch.

        Columns are drawn for the batch of all replicas, and each replica takes its part.

        Args:
            batch: Integer or integer tensor. The number of rows on this replica.
            training: Boolean. Whether to draw new columns. Evaluation draws the same columns each time.

        Returns:
            The tensors that `keras_reg.random.subsets.disjoint_subsets` returns.
        """
        num_replicas = replicas.num_replicas()
        seed = self.seeds if training else _EVALUATION_SEED
        masks = disjoint_subsets(seed, batch * num_replicas, self.columns, self.num_targets, self.sizes)
        return tuple(replicas.own_part(mask, batch) for mask in masks)

    def compute_row_losses(
        self, rows: Tensor, representations: Tensor, masks: tuple[Tensor, ...], training: bool = False
    ) -> Tensor:
        """Returns the prediction error of each row.

        Args:
            rows: Tensor of shape (batch, columns).
            representations: Tensor of shape (batch, columns, width). The target encoder's representations of the rows.
            masks: The columns of context and targets, from `draw_masks`.
            training: Boolean. Whether to apply dropout.

        Returns:
            Tensor of shape (batch,), in float32 or wider.
        """
        context_indices, context_valid, target_indices, target_valid = masks
        context = self.context_encoder(rows, context_indices, context_valid, training=training)
        predictions = self.predictor(context, masks, training=training)
        targets = gather_tokens(ops.stop_gradient(representations), target_indices)
        predictions, targets = ops.cast(predictions, compute_dtype()), ops.cast(targets, compute_dtype())
        return latent_prediction_loss(predictions, targets, target_valid)

    def compute_loss(
        self,
        x: Tensor = None,
        y: Tensor | None = None,
        y_pred: Tensor = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the mean prediction error. `y_pred` contains the representations of the rows `x`."""
        if y is not None:
            raise ValueError(
                "TabularJEPA is trained without labels: pass only rows to `fit`, or map the dataset to its rows. "
                f"Received: labels of shape {tuple(y.shape)}"
            )
        losses = self.compute_row_losses(x, y_pred, self.draw_masks(ops.shape(x)[0], training), training)
        return self._mean(losses, ops.zeros_like(losses), sample_weight)

    def encode(self, x: ArrayLike, batch_size: int = 256) -> Array:
        """Returns the representations of rows, for example as features for another model.

        Args:
            x: Array of rows, shape (rows, columns).
            batch_size: Integer. The number of rows in a batch. Defaults to `256`.

        Returns:
            Array of shape (rows, columns, width).

        Raises:
            ValueError: If the rows do not fit the tokenizer, or the batch size is not an integer of at least 1.
        """
        batch_size = check_integer("batch_size", batch_size)
        x = np.asarray(x)
        self.check_rows(x)
        return np.asarray(self.predict(x, batch_size, verbose=0))

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "tokenizer": serialize(self.context_encoder.tokenizer),
            "encoder": serialize(self.context_encoder.encoder),
            "predictor": serialize(self.predictor.encoder),
            "num_tokens": self.num_tokens,
            "num_targets": self.num_targets,
            "context_share": list(self.context_share),
            "target_share": list(self.target_share),
            "momentum": list(self.momentum),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: Config, custom_objects: Any = None) -> TabularJEPA:
        """Creates a model from the arguments that `get_config` returned."""
        names = ("tokenizer", "encoder", "predictor")
        parts = {name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in names}
        return cls(**{**config, **parts})

    def get_target_pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Returns each weight of the target encoder with the weight of the context encoder that it averages."""
        sides = ([v for v in e.weights if v.dtype != "uint32"] for e in (self.target_encoder, self.context_encoder))
        return list(zip(*sides, strict=True))
