"""Retraces compiled steps, which keep the attributes that layers had when the step was traced."""

from __future__ import annotations

import keras

from keras_reg._keras.sublayers import iter_sublayers


def rebuild_step_functions(model: keras.Model) -> None:
    """Makes a model, and all models in it, retrace their steps."""
    for layer in [model, *(layer for layer, _ in iter_sublayers(model))]:
        if isinstance(layer, keras.Model):
            # The functions are replaced instead of set to `None`, because a running `fit` would then have no step.
            if layer.train_function is not None:
                layer.make_train_function(force=True)
            if layer.test_function is not None:
                layer.make_test_function(force=True)
