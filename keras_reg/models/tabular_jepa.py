"""T-JEPA: representations of table rows, learned without labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._registry import export
from keras_reg.models._ema_target import EMATargetModel
from keras_reg.models._jepa_arguments import check_arguments
from keras_reg.models._jepa_parts import ColumnEncoder, ColumnPredictor
from keras_reg.models.feature_tokenizer import FeatureTokenizer
from keras_reg.models.transformer_encoder import TransformerEncoder
from keras_reg.ops.joint_embedding import gather_tokens, latent_prediction_loss
from keras_reg.random.subsets import disjoint_subsets, subset_sizes
from keras_reg.training.terms import MeanOverBatch

# Evaluation always asks the same questions, so that validation losses of different epochs can be compared.
_EVALUATION_SEED = 1337


@export("models.TabularJEPA", kind="model", arxiv="2410.05016", year=2024)
class TabularJEPA(EMATargetModel):
    """T-JEPA: learns representations of table rows without labels, augmentations or reconstruction.

    A context encoder sees some columns of a row. From what it says, a predictor guesses what the target encoder, a slow
    moving average of the context encoder, says of other columns when it sees the whole row. [REG] tokens, which nothing
    is read from, keep this from ending in the same representation for every row.

    Compile it with an optimizer alone, and give `fit` the rows alone. The model itself maps rows to their
    representations, so `predict` works; `encode` is the same with checks. Weights of the target encoder are not
    trained: they follow inside of the compiled step, after the optimizer's.

    Args:
        tokenizer: A `FeatureTokenizer` with `cardinalities`; its width, an even number, is that of the representations.
        encoder: A `TransformerEncoder` of that width; `None` for one of 4 layers and 8 heads.
        predictor: A `TransformerEncoder` of any even width; `None` for 2 layers and 4 heads of the same width.
        num_tokens: The number of [REG] tokens, 0 or more.
        num_targets: The number of target sets for each row.
        context_share: The least and the largest share of the columns in the context, above 0 to below 1.
        target_share: The same for each target set. Sizes are drawn for each step; targets are never in the context.
        momentum: How much of the target encoder is kept in a step, at the first step of `fit` and at its last: it grows
            linearly. Steps outside of `fit` take the first.
        seed: An integer for the drawn columns; `None` for another each time.
        **kwargs: As of any model: `name`, `dtype`.

    Call arguments:
        inputs: Rows, shape (batch, columns).
        training: Whether to drop out.

    Returns:
        Representations by the target encoder, shape (batch, columns, width), without [REG]. Flatten or average them.

    Raises:
        ValueError: If an argument is out of its range, if parts do not fit each other, or, in `fit` and `encode`, if
            rows are no table for the tokenizer, if there are labels, or if the number of steps is not known.

    Example:

    ```python
    tokenizer = keras_reg.models.FeatureTokenizer(16, cardinalities=[0] * 6)
    jepa = keras_reg.models.TabularJEPA(tokenizer, keras_reg.models.TransformerEncoder(16, 2, 2, 32))
    jepa.compile(keras.optimizers.AdamW(1e-3, clipvalue=1.0))
    jepa.fit(x, epochs=100)
    features = jepa.encode(x).reshape(len(x), -1)  # for a classifier
    ```

    Source: Hugo Thimonier, Jose Lucas De Melo Costa, Fabrice Popineau, Arpad Rimmel, Bich-Lien Doan, T-JEPA:
    Augmentation-Free Self-Supervised Learning for Tabular Data, arXiv 2410.05016, 2024.
    """

    def __init__(
        self,
        tokenizer: FeatureTokenizer,
        encoder: TransformerEncoder | None = None,
        predictor: TransformerEncoder | None = None,
        num_tokens: int = 1,
        *,
        num_targets: int = 4,
        context_share: tuple[float, float] = (0.2, 0.4),
        target_share: tuple[float, float] = (0.2, 0.4),
        momentum: tuple[float, float] = (0.996, 1.0),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        shares = {"context_share": context_share, "target_share": target_share}
        check_arguments(tokenizer, encoder, predictor, num_tokens, num_targets, {**shares, "momentum": momentum})
        width, columns = tokenizer.width, len(tokenizer.cardinalities or ())
        encoder = TransformerEncoder(width, name="encoder") if encoder is None else encoder
        predictor = TransformerEncoder(width, 2, 4, name="predictor") if predictor is None else predictor
        self.columns = columns
        self.num_tokens, self.num_targets, self.seed = int(num_tokens), int(num_targets), seed
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

    def build(self, input_shape: Any) -> None:
        """Builds all parts; the target encoder begins as a copy of the context encoder."""
        for part in (self.context_encoder, self.target_encoder):
            part.build(input_shape)
        self.target_encoder.trainable = False
        self.predictor.build((None, None, self.predictor.width))
        self.start_following()
        self.built = True

    def check_rows(self, rows: np.ndarray) -> None:
        """Raises a `ValueError` for arrays that are no table for the tokenizer."""
        self.context_encoder.tokenizer.check(rows)

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Representations of whole rows by the target encoder."""
        return self.target_encoder(inputs, training=training)

    def draw_masks(self, batch: Any, training: bool = True) -> tuple[Any, ...]:
        """Draws the context columns and the target columns for one batch: see `keras_reg.random.subsets`.

        Columns are drawn for the batch of all replicas, of which each takes its part.

        Args:
            batch: The number of rows on this replica.
            training: Whether to draw new columns; evaluation takes the same each time.
        """
        number = replicas.num_replicas()
        seed = self.seeds if training else _EVALUATION_SEED
        masks = disjoint_subsets(seed, batch * number, self.columns, self.num_targets, self.sizes)
        return tuple(replicas.own_part(mask, batch) for mask in masks)

    def row_losses(self, rows: Any, representations: Any, masks: tuple[Any, ...], training: bool = False) -> Any:
        """The prediction error of each row.

        Args:
            rows: Shape (batch, columns).
            representations: What the target encoder says of the rows, shape (batch, columns, width).
            masks: Context and targets.
            training: Whether to drop out.

        Returns:
            Shape (batch,), in float32 or wider.
        """
        seen, seen_valid, wanted, wanted_valid = masks
        context = self.context_encoder(rows, seen, seen_valid, training=training)
        predictions = self.predictor(context, masks, training=training)
        targets = gather_tokens(ops.stop_gradient(representations), wanted)
        predictions, targets = ops.cast(predictions, compute_dtype()), ops.cast(targets, compute_dtype())
        return latent_prediction_loss(predictions, targets, wanted_valid)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The mean prediction error; `y_pred` are the representations of the rows `x`."""
        if y is not None:
            raise ValueError(
                "TabularJEPA learns without labels: give `fit` the rows alone, or map a data set to them. "
                f"Received: labels of shape {tuple(y.shape)}"
            )
        losses = self.row_losses(x, y_pred, self.draw_masks(ops.shape(x)[0], training), training)
        return self._mean(losses, ops.zeros_like(losses), sample_weight)

    def encode(self, x: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """The representations of rows, for another model.

        Args:
            x: Rows, shape (rows, columns).
            batch_size: How many are computed at once.

        Returns:
            Shape (rows, columns, width).
        """
        x = np.asarray(x)
        self.check_rows(x)
        return np.asarray(self.predict(x, batch_size, verbose=0))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
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
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TabularJEPA:
        """Builds a model from the arguments that `get_config` gave."""
        parts = ("tokenizer", "encoder", "predictor")
        made = {name: keras.saving.deserialize_keras_object(config[name], custom_objects) for name in parts}
        return cls(**{**config, **made})

    def pairs(self) -> list[tuple[keras.Variable, keras.Variable]]:
        """Each weight of the target encoder with the one that it follows."""
        sides = ([v for v in e.weights if v.dtype != "uint32"] for e in (self.target_encoder, self.context_encoder))
        return list(zip(*sides, strict=True))
