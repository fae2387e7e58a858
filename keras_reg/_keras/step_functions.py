"""Compiled steps, which hold what there was when they were traced."""

from __future__ import annotations

import keras

from keras_reg._keras.sublayers import iter_sublayers


def rebuild_step_functions(model: keras.Model) -> None:
    """Lets a model and the models in it trace their steps again."""
    for layer in [model, *(layer for layer, _ in iter_sublayers(model))]:
        if isinstance(layer, keras.Model):
            # Not by setting them to `None`: a `fit` that is under way would find no step.
            if layer.train_function is not None:
                layer.make_train_function(force=True)
            if layer.test_function is not None:
                layer.make_test_function(force=True)
