"""The Fisher information of weights, which measures how much a model's predictions depend on each weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from keras_reg._validation import check_boolean, check_choice, check_integer, check_seed
from keras_reg.ops.fisher import log_likelihood
from keras_reg.training._derivatives import value_and_gradient
from keras_reg.training._output_maps import output_distribution
from keras_reg.training._outputs import compiled_loss

Step = Callable[[list[Any], Any, Any], list[Any]]


def fisher_diagonal(
    model: keras.Model,
    data: Any,
    *,
    labels: str = "true",
    per_sample: bool = True,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Computes the diagonal of the Fisher information of a classifier's trainable variables.

    Elastic weight consolidation uses it (`keras_reg.regularizers.ElasticWeightConsolidation`). It is the mean over the
    samples of (d log p(label | x) / d w)**2, with the model in inference mode. The compiled loss determines the meaning
    of the outputs: logits or probabilities, of softmax or of sigmoid. Label smoothing, class weights and sample weights
    are ignored.

    Args:
        model: A `keras.Model` with one output, compiled with a categorical or binary cross-entropy.
        data: The old data: a tuple (inputs, labels) of arrays, or finite batches (inputs, labels, ...) such as a
            `tf.data.Dataset`, a `keras.utils.PyDataset` or a list.
        labels: String. `"true"` uses the labels of the data (the empirical Fisher information). `"predicted"` draws one
            label for each sample from the predictions of the model, which gives an unbiased estimate of the Fisher
            information. Defaults to `"true"`.
        per_sample: Boolean. Whether the gradient of each sample is squared, which takes one backward pass for each
            sample. `False` squares the gradient of the mean over each batch. This is faster by a factor of about the
            batch size, but gives a different result, because gradients of different signs cancel. Defaults to `True`.
        batch_size: Integer. The number of samples in a batch, if `data` are arrays. Defaults to `32`.
        seed: Integer. The seed of the draw of predicted labels. Defaults to `0`.

    Returns:
        A dictionary from the path of each trainable variable to an array of its shape.

    Raises:
        ValueError: If an argument is out of range, the loss is not such a cross-entropy, there is no data, or two
            variables have the same path.

    Example:

    ```python
    fisher = keras_reg.training.fisher_diagonal(
        model, (x, y), labels="predicted"
    )
    {path: float(values.mean()) for path, values in fisher.items()}
    ```
    """
    check_choice("labels", labels, ("true", "predicted"))
    check_boolean("per_sample", per_sample)
    variables = model.trainable_variables
    repeated = [path for path, count in Counter(variable.path for variable in variables).items() if count > 1]
    if repeated:
        raise ValueError(f"Variables must have different paths. Give the layers names. Received: {repeated} twice")
    name, from_logits = output_distribution(model)
    if name is None:
        raise ValueError(
            "The compiled loss must be a categorical or a binary cross-entropy of Keras, because it determines the "
            f"distribution that the model predicts. Received: loss={compiled_loss(model, None)!r}"
        )
    sigmoid = name == "sigmoid"
    step = _step(model, lambda y, outputs: log_likelihood(y, outputs, sigmoid, from_logits), per_sample)
    random, count = np.random.default_rng(check_seed(seed)), 0
    totals = [ops.zeros(variable.shape, "float32") for variable in variables]
    for x, y in _batches(data, check_integer("batch_size", batch_size)):
        if labels == "predicted":
            outputs = model(tree.map_structure(ops.convert_to_tensor, x), training=False)
            y = _draw_labels(np.asarray(ops.convert_to_numpy(outputs), "float64"), sigmoid, from_logits, random)
        totals = step(totals, *tree.map_structure(ops.convert_to_tensor, (x, y)))
        count += len(y) if per_sample else 1
    if not count:
        raise ValueError(f"`data` must contain samples. Received: data={data!r}")
    return {v.path: np.asarray(ops.convert_to_numpy(t)) / count for v, t in zip(variables, totals, strict=True)}


def _batches(data: Any, batch_size: int) -> Iterator[tuple[Any, np.ndarray]]:
    if isinstance(data, tuple) and len(data) == 2:
        x, y = tree.map_structure(np.asarray, data)
        for start in range(0, len(y), batch_size):
            rows = slice(start, start + batch_size)
            yield tree.map_structure(lambda array, rows=rows: array[rows], x), y[rows]
        return
    batches: Iterable[Any] = data
    if isinstance(data, keras.utils.PyDataset):
        batches = (data[index] for index in range(len(data)))
    for batch in batches:
        x, y = tree.map_structure(np.asarray, tuple(batch)[:2])
        yield x, y


def _draw_labels(outputs: np.ndarray, sigmoid: bool, from_logits: bool, random: np.random.Generator) -> np.ndarray:
    """Draws a label for each sample. NumPy draws it, so it is the same on every backend."""
    if sigmoid:
        probabilities = 1 / (1 + np.exp(-outputs)) if from_logits else outputs
        return np.asarray(random.random(outputs.shape) < probabilities, "float32")
    if from_logits:
        outputs = np.exp(outputs - outputs.max(-1, keepdims=True))
    shares = np.cumsum(outputs, -1)
    below = shares < random.random((*outputs.shape[:-1], 1)) * shares[..., -1:]
    return np.asarray(below.sum(-1), "int32")


def _step(model: keras.Model, function: Callable[[Any, Any], Any], per_sample: bool) -> Step:
    """Returns the compiled function that adds the squared gradients of a batch to the totals."""

    def add(totals: list[Any], x: Any, y: Any, trainable: list[Any], others: list[Any]) -> list[Any]:
        def squares(sums: Any, x: Any, y: Any, size: Any = 1) -> list[Any]:
            _, gradients = value_and_gradient(
                lambda values: function(y, model.stateless_call(values, others, x, training=False)[0]), trainable
            )
            gradients = [ops.cast(g, "float32") / ops.cast(size, "float32") for g in gradients]
            return [s + ops.square(g) for s, g in zip(sums, gradients, strict=True)]

        def add_sample(index: Any, sums: Any) -> list[Any]:
            sample = tree.map_structure(lambda a: ops.expand_dims(ops.take(a, index, axis=0), 0), (x, y))
            return squares(sums, *sample)

        size = ops.shape(y)[0]
        return list(ops.fori_loop(0, size, add_sample, totals)) if per_sample else squares(totals, x, y, size)

    compiled = _compiled(add)

    def with_weights(totals: list[Any], x: Any, y: Any) -> list[Any]:
        groups = model.trainable_variables, model.non_trainable_variables
        return compiled(totals, x, y, *([ops.convert_to_tensor(v) for v in group] for group in groups))  # type: ignore[no-any-return]

    return with_weights


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)  # type: ignore[no-any-return]
    if backend == "jax":
        import jax

        return jax.jit(function)  # type: ignore[no-any-return]
    return function
