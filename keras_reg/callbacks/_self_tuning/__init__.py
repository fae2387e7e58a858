"""The parts of `keras_reg.callbacks.SelfTuning`."""
