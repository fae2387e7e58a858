"""A layer that regularizes the entropy of attention."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import Range, export
from keras_reg._types import Config, Shape, Tensor
from keras_reg._validation import check_boolean, check_choice, check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.attention_entropy import attention_entropy, entropy_deviation_penalty

KINDS = ("maximize", "threshold")


@export(
    "layers.AttentionEntropy",
    kind="layer",
    tasks=("attention",),
    tunable={"strength": Range(0.001, 1.0, log=True)},
    arxiv="2406.15303",
    year=2024,
)
class AttentionEntropy(ActivityPenaltyLayer):
    """Maximizes the entropy of attention, or pulls the entropy of each head to a trained share of the maximum.

    `kind="maximize"` adds minus the mean entropy to the loss. Attention then does not settle on few keys, as it does
    when slides are classified from many patches.

    `kind="threshold"` trains a share t for each head. It penalizes the squared distance of an entropy from t log(keys),
    if the distance exceeds `margin * log(keys)`.

    Args:
        strength: Float. Factor of the penalty, which is a mean over batch, heads and queries. Defaults to `0.1`.
        kind: String. `"maximize"` or `"threshold"`. Defaults to `"maximize"`.
        from_logits: Boolean. Whether the attention scores are logits, before softmax. `"maximize"` is then exact for
            tiny weights too. Defaults to `False`.
        initial_threshold: Float from 0 to 1. Initial share of every head, for `"threshold"`. Defaults to `0.5`.
        margin: Float. Share of the largest entropy up to which a distance is not penalized, for `"threshold"`.
            Defaults to `0.2`.
        causal: Boolean. Whether query i sees only the keys 0 to i, so its largest entropy is log(i + 1), for
            `"threshold"`. With `False`, early rows of causal attention are penalized regardless of their logits, as in
            the authors' code. Defaults to `False`.
        **kwargs: Base layer keyword arguments, such as `name` and `dtype`.

    Call arguments:
        inputs: Tensor to return, usually the outputs of the attention layer.
        attention_scores: Attention weights of shape `(batch, heads, queries, keys)`, as
            `keras.layers.MultiHeadAttention` returns them with `return_attention_scores=True`. With `None`, `inputs`
            are the weights, of shape `(batch, ..., keys)`. Defaults to `None`.
        training: Boolean. Whether to add the penalty.

    Returns:
        The inputs, unchanged.

    Raises:
        ValueError: If an argument is out of range. The first call raises the error if the shape does not fit.

    Example:

    ```python
    tokens = keras.Input((12, 8))
    attention = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    outputs, scores = attention(
        tokens, tokens, return_attention_scores=True
    )
    spread = keras_reg.layers.AttentionEntropy(strength=0.1)
    outputs = spread(outputs, attention_scores=scores)
    transformer = keras.Model(tokens, outputs)
    ```

    References:

    - [Zhang et al., 2024](https://arxiv.org/abs/2406.15303): AEM: Attention Entropy Maximization for Multiple Instance
      Learning based Whole Slide Image Classification
    - [Jha and Reagen, 2025](https://arxiv.org/abs/2501.03489): Entropy-Guided Attention for Private LLMs. This layer
      uses the mean over batch and queries instead of their sum.
    """

    def __init__(
        self,
        strength: float = 0.1,
        *,
        kind: str = "maximize",
        from_logits: bool = False,
        initial_threshold: float = 0.5,
        margin: float = 0.2,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(strength, **kwargs)
        self.kind = check_choice("kind", kind, KINDS)
        self.from_logits = check_boolean("from_logits", from_logits)
        self.initial_threshold = check_number("initial_threshold", initial_threshold, at_most=1.0)
        self.margin = check_number("margin", margin)
        self.causal = check_boolean("causal", causal)

    def build(self, inputs_shape: Shape, attention_scores_shape: Shape | None = None) -> None:
        """Creates the trained share of each head."""
        shape = tuple(inputs_shape if attention_scores_shape is None else attention_scores_shape)
        if self.kind == "threshold":
            if len(shape) != 4 or shape[1] is None:
                raise ValueError(
                    "`kind='threshold'` needs attention weights of shape (batch, heads, queries, keys), with a known "
                    f"number of heads. Received: shape={shape}"
                )
            self.thresholds = self.add_weight(
                shape=(shape[1],),
                initializer=lambda shape, dtype=None: ops.full(shape, self.initial_threshold, dtype=dtype),
                name="thresholds",
            )
        super().build(inputs_shape)

    def call(self, inputs: Tensor, attention_scores: Tensor | None = None, training: bool = False) -> Tensor:
        """Returns the inputs and, during training, adds the penalty to the loss."""
        if training:
            scores = inputs if attention_scores is None else attention_scores
            entropy = attention_entropy(scores, self.from_logits)
            penalty = -entropy if self.kind == "maximize" else self._penalize_deviation(entropy, ops.shape(scores)[-1])
            # `ops.mean` would return float32 for a float64 argument.
            self.add_loss(self.strength * ops.sum(penalty) / ops.cast(ops.maximum(ops.size(penalty), 1), penalty.dtype))
        return inputs

    def _penalize_deviation(self, entropy: Tensor, num_keys: Tensor) -> Tensor:
        """Returns the penalty of each entropy for its distance from the trained share of the largest entropy."""
        queries = ops.arange(1, ops.shape(entropy)[-1] + 1, dtype=entropy.dtype)
        largest = ops.log(queries if self.causal else ops.cast(num_keys, entropy.dtype))
        threshold = ops.cast(self.thresholds.value, entropy.dtype)[:, None]
        return entropy_deviation_penalty(entropy, largest, threshold, self.margin)

    def get_config(self) -> Config:
        """Returns the constructor's arguments."""
        names = ("kind", "from_logits", "initial_threshold", "margin", "causal")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
