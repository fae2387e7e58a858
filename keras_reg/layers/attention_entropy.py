"""The entropy of attention as a layer."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_reg._registry import export
from keras_reg._validation import check_number
from keras_reg.layers._penalty import ActivityPenaltyLayer
from keras_reg.ops.attention_entropy import attention_entropy, entropy_deviation_penalty

KINDS = ("maximize", "threshold")


@export("layers.AttentionEntropy", kind="layer", arxiv="2406.15303", year=2024)
class AttentionEntropy(ActivityPenaltyLayer):
    """Holds the entropy of attention: makes it large, or draws that of each head to a trained share of the largest.

    `kind="maximize"` adds minus the mean entropy, so that attention does not settle on few keys, as when slides are
    classified from many patches. `kind="threshold"` has a trained share t for each head, and penalizes entropies whose
    distance from t log(keys) is above `margin * log(keys)`, by the square of the distance.

    Args:
        strength: The factor of the term, the mean over batch, heads and queries.
        kind: `"maximize"` or `"threshold"`.
        from_logits: Whether what is given are scores before softmax; `"maximize"` is then exact for tiny weights too.
        initial_threshold: The share that all heads begin with, 0 to 1, for `"threshold"`.
        margin: The share of the largest entropy that the distance may have for nothing, for `"threshold"`.
        causal: Whether query i sees the keys 0 to i only, so that log(i + 1) is its largest entropy, for `"threshold"`.
            Without it early rows of causal attention are penalized whatever they do, as in the authors' code.
        **kwargs: As of any layer: `name`, `dtype`.

    Call arguments:
        inputs: What to return: the outputs of the attention layer.
        attention_scores: The attention weights, shape (batch, heads, queries, keys), as
            `keras.layers.MultiHeadAttention` returns them with `return_attention_scores=True`. `None` if `inputs` are
            the weights, shape (batch, ..., keys).
        training: Whether to add the term.

    Returns:
        The inputs.

    Raises:
        ValueError: If an argument is out of its range, or, when called, if the shape does not fit.

    Example:

    ```python
    tokens = keras.Input((12, 8))
    attention = keras.layers.MultiHeadAttention(num_heads=2, key_dim=4)
    outputs, scores = attention(tokens, tokens, return_attention_scores=True)
    outputs = keras_reg.layers.AttentionEntropy(strength=0.1)(outputs, attention_scores=scores)
    transformer = keras.Model(tokens, outputs)
    ```

    Source: Yunlong Zhang, Honglin Li, Yuxuan Sun, Zhongyi Shui, Jingxiong Li, Chenglu Zhu, Lin Yang, AEM: Attention
    Entropy Maximization for Multiple Instance Learning based Whole Slide Image Classification, arXiv 2406.15303, 2024;
    Nandan Kumar Jha, Brandon Reagen, Entropy-Guided Attention for Private LLMs, arXiv 2501.03489, 2025, with the mean
    over batch and queries in place of their sum.
    """

    def __init__(
        self,
        strength: float = 0.1,
        kind: str = "maximize",
        from_logits: bool = False,
        initial_threshold: float = 0.5,
        margin: float = 0.2,
        causal: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(strength, **kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        for name, value in {"from_logits": from_logits, "causal": causal}.items():
            if not isinstance(value, bool):
                raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
        if check_number("initial_threshold", initial_threshold) > 1.0:
            raise ValueError(f"`initial_threshold` must be 0 to 1. Received: initial_threshold={initial_threshold!r}")
        self.kind, self.from_logits, self.causal = kind, from_logits, causal
        self.initial_threshold, self.margin = float(initial_threshold), check_number("margin", margin)

    def build(self, inputs_shape: Any, attention_scores_shape: Any = None) -> None:
        """Makes the shares of the heads."""
        shape = tuple(inputs_shape if attention_scores_shape is None else attention_scores_shape)
        if self.kind == "threshold":
            if len(shape) != 4 or shape[1] is None:
                raise ValueError(
                    "`kind='threshold'` needs attention weights of shape (batch, heads, queries, keys), the number of "
                    f"heads known. Received: shape={shape}"
                )
            self.thresholds = self.add_weight(
                shape=(shape[1],), initializer=lambda shape, dtype=None: self._initial(shape, dtype), name="thresholds"
            )
        super().build(inputs_shape)

    def _initial(self, shape: Any, dtype: Any) -> Any:
        return ops.full(shape, self.initial_threshold, dtype=dtype)

    def call(self, inputs: Any, attention_scores: Any = None, training: bool = False) -> Any:
        """Returns the inputs; in training, adds the term."""
        if training:
            scores = inputs if attention_scores is None else attention_scores
            entropy = attention_entropy(scores, self.from_logits)
            penalty = -entropy if self.kind == "maximize" else self._deviation(entropy, ops.shape(scores)[-1])
            # Not `ops.mean`, which is float32 where its argument is float64.
            self.add_loss(self.strength * ops.sum(penalty) / ops.cast(ops.maximum(ops.size(penalty), 1), penalty.dtype))
        return inputs

    def _deviation(self, entropy: Any, keys: Any) -> Any:
        queries = ops.arange(1, ops.shape(entropy)[-1] + 1, dtype=entropy.dtype)
        largest = ops.log(queries if self.causal else ops.cast(keys, entropy.dtype))
        threshold = ops.cast(self.thresholds.value, entropy.dtype)[:, None]
        return entropy_deviation_penalty(entropy, largest, threshold, self.margin)

    def get_config(self) -> dict[str, Any]:
        """The configuration, from which `from_config` builds the same layer."""
        own = ("kind", "from_logits", "initial_threshold", "margin", "causal")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
