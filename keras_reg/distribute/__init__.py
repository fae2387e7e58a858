"""Training on several workers."""

from keras_reg.distribute.multi_worker import multi_worker as multi_worker

__all__ = ["multi_worker"]
