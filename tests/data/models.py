"""Small models for the tests of `keras_reg.data`."""

import keras
import numpy as np

ROWS = 20


def rows(count=ROWS):
    """Returns features whose first column is the number of the row, and labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype("float32")
    x[:, 0] = np.arange(count)
    return x, rng.integers(0, 3, count)


class GapModel(keras.Model):
    """Has a loss that is the largest distance between a sample id and the first feature of its row."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        standard_loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        return gap(x, "image") + 0.0 * standard_loss


def gap(x, key):
    ids = x["sample_id"]
    if keras.backend.standardize_dtype(ids.dtype) != "int32":
        raise TypeError(f"ids must be int32. Received: {ids.dtype}")
    return keras.ops.max(keras.ops.abs(keras.ops.cast(ids, "float32") - x[key][:, 0]))


def gap_model():
    inputs = keras.Input((4,), name="image")
    model = GapModel(inputs, keras.layers.Dense(3, activation="softmax")(inputs))
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    return model


def functional(names=("image",), form="single"):
    inputs = [keras.Input((4,), name=name) for name in names]
    joined = keras.layers.Concatenate()(inputs) if len(inputs) > 1 else inputs[0]
    outputs = keras.layers.Dense(3, activation="softmax")(joined)
    structure = {
        "single": inputs[0],
        "list": inputs,
        "tuple": tuple(inputs),
        "dict": dict(zip(names, inputs, strict=True)),
        "nested": [inputs[0], inputs[1:]],
    }[form]
    return compiled(keras.Model(structure, outputs))


def sequential(name="image"):
    return compiled(keras.Sequential([keras.Input((4,), name=name), keras.layers.Dense(3, activation="softmax")]))


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


@keras.saving.register_keras_serializable(package="keras_reg_tests")
class Subclassed(keras.Model):
    """Takes an array, and has state and random numbers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.norm = keras.layers.BatchNormalization()
        self.dropout = keras.layers.Dropout(0.5)
        self.head = keras.layers.Dense(3, activation="softmax")

    def call(self, inputs, training=None):
        x = self.norm(self.hidden(inputs), training=training)
        return self.head(self.dropout(x, training=training))


class NoTrainingArgument(Subclassed):
    """Has a `call` without the argument `training`."""

    def call(self, inputs):
        return self.head(self.dropout(self.norm(self.hidden(inputs))))


class TakesList(Subclassed):
    """Takes a list of two arrays."""

    def call(self, inputs, training=None):
        first, second = inputs
        return super().call(first + second, training=training)


class TakesDict(Subclassed):
    """Takes a dictionary of two arrays."""

    def call(self, inputs, training=None):
        if set(inputs) != {"left", "right"}:
            raise ValueError(f"unexpected keys {sorted(inputs)}")
        return super().call(inputs["left"] + inputs["right"], training=training)
