"""Data for training: sample ids, label noise, and the human labels of CIFAR-10N and CIFAR-100N."""

from keras_reg.data._input_names import SAMPLE_ID
from keras_reg.data.adapter import SampleIdAdapter, accept_sample_ids
from keras_reg.data.cifar_n import load_cifar10n, load_cifar100n
from keras_reg.data.label_noise import asymmetric_noise, symmetric_noise
from keras_reg.data.sample_ids import with_sample_ids

__all__ = [
    "SAMPLE_ID",
    "SampleIdAdapter",
    "accept_sample_ids",
    "asymmetric_noise",
    "load_cifar10n",
    "load_cifar100n",
    "symmetric_noise",
    "with_sample_ids",
]
