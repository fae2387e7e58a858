"""How the rows of a per-sample memory are stored: the argument `storage` of the callbacks that have one."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._memory.mapped_memory import MappedMemory
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.top_k_memory import TopKMemory

DTYPES = ("float32", "float64", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Storage:
    """How a method keeps its row per training sample.

    The step computes in float32 whatever the storage: rows are widened when they are read and rounded when they are
    written, and what the loss sees is the row as it was stored. `docs/memory.md` says which to take when.

    Args:
        dtype: The type of stored values, `"float32"`, `"float64"`, `"float16"` or `"bfloat16"`. `None` is the type that
            the loss is computed in, float32 by default.
        top_k: How many classes to keep of each row, the rest being spread uniformly over the others. `None` keeps
            all of them.
        sharded: Whether each replica of a `tf.distribute` strategy, or on JAX each of the devices that share a batch
            by `keras.distribution`, keeps its share of the rows only, which are exchanged in each step. Without it
            each of them keeps all rows.
        file: The path of a file on the host's disk that keeps the rows instead of memory, for tables that are larger.
            It is made, of the size of the whole table, and stays after the training. Checkpoints hold a reference to
            it: resuming from one of its latest two takes the file back to what it was then.

    Raises:
        ValueError: If an argument is none of these, if `sharded` is asked for on PyTorch, or `file` together with an
            argument that it cannot go with.

    Example:

    ```python
    storage = keras_reg.callbacks.Storage("float16", top_k=5)
    callback = keras_reg.callbacks.EarlyLearningRegularization(len(x), num_classes=10, storage=storage)
    model.fit(keras_reg.data.with_sample_ids(model, x), y, epochs=100, callbacks=[callback])
    callback.memory.bytes_per_sample  # 5 values of 2 bytes, 5 classes of 2, the rest and a mark: 25
    ```
    """

    dtype: str | None = None
    top_k: int | None = None
    sharded: bool = False
    file: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(
                f"The `dtype` of a storage must be one of {DTYPES} or None. Received: dtype={self.dtype!r}"
            )
        if self.top_k is not None and (
            isinstance(self.top_k, bool) or not isinstance(self.top_k, (int, np.integer)) or self.top_k < 1
        ):
            raise ValueError(
                "`top_k` must be the number of classes to keep, a positive integer, or None. "
                f"Received: top_k={self.top_k!r}"
            )
        if not isinstance(self.sharded, bool):
            raise ValueError(f"`sharded` must be True or False. Received: sharded={self.sharded!r}")
        if self.sharded and keras.backend.backend() not in ("tensorflow", "jax"):
            raise ValueError(
                "Rows are sharded over the replicas of `tf.distribute`, on TensorFlow only, or over the devices of "
                f"`keras.distribution`, on JAX only. Received: sharded=True on the backend {keras.backend.backend()!r}"
            )
        if self.file is not None:
            self._check_file()

    def _check_file(self) -> None:
        if not isinstance(self.file, (str, os.PathLike)) or not os.fspath(self.file):
            raise ValueError(f"`file` must be the path of a file, or None. Received: file={self.file!r}")
        object.__setattr__(self, "file", os.fspath(self.file))  # a configuration can hold it
        if self.top_k is not None or self.sharded or self.dtype == "bfloat16":
            raise ValueError(
                "A file keeps whole rows, of one replica, in a type that NumPy knows: with `file`, leave out `top_k`, "
                "whose tables are small, and `sharded`, and take float16 instead of bfloat16. "
                f"Received: file={self.file!r} with dtype={self.dtype!r}, top_k={self.top_k!r}, sharded={self.sharded}"
            )

    @classmethod
    def from_argument(cls, storage: Any) -> Storage:
        """The storage that an argument means: `None`, the name of a type, a `Storage`, or a dict of its arguments.

        Raises:
            ValueError: If it is none of these.
        """
        if storage is None or isinstance(storage, str):
            return cls(storage)
        if isinstance(storage, Mapping) and set(storage) <= {field.name for field in dataclasses.fields(cls)}:
            return cls(**storage)
        if isinstance(storage, cls):
            return storage
        raise ValueError(
            "`storage` must be None, the name of a type such as 'float16', or a `keras_reg.callbacks.Storage`. "
            f"Received: storage={storage!r}"
        )

    @property
    def rounds(self) -> bool:
        """Whether rows are stored in a type that keeps few digits, so that their sums change a little."""
        return self.dtype in ("float16", "bfloat16")

    def check_model(self, model: keras.Model) -> None:
        """Raises if a model's training step cannot read and write rows that are stored so.

        Raises:
            ValueError: If the step is compiled by XLA, or by `torch.compile`, or has several devices, or TPUs, and
                the rows are in a file.
        """
        if self.file is None:
            return
        if keras.backend.backend() == "jax":
            import jax

            devices = keras.distribution.distribution()
            if self.dtype == "float64" and not jax.config.jax_enable_x64:
                raise ValueError(
                    "JAX computes in float32 here, and a file keeps values as they are computed: leave the type out. "
                    f"Received: file={self.file!r} with dtype='float64'"
                )
            if jax.default_backend() == "tpu" or (devices is not None and devices.device_mesh.devices.size > 1):
                raise ValueError(
                    "Rows in a file are read by the host of one device, and not of TPUs: train without "
                    f"`keras.distribution`, or keep rows in memory. Received: file={self.file!r}"
                )
        elif model.jit_compile:
            raise ValueError(
                "A step that is compiled cannot read a file on this backend: compile the model with "
                f"`jit_compile=False`. Received: file={self.file!r} with jit_compile={model.jit_compile!r}"
            )

    def create(self, num_samples: int, num_classes: int, name: str, length: int = 1) -> PerSampleMemory:
        """Makes the table. Call it inside the model's strategy scope.

        Args:
            num_samples: The number of rows.
            num_classes: The number of classes.
            name: The name of the table in checkpoints.
            length: How many distributions a sample has, for sequences.

        Returns:
            A table with rows of `length * num_classes` values.

        Raises:
            ValueError: If more classes are to be kept than there are, or rows are to be kept in a file on replicas, or
                in one that cannot be used.
        """
        dtype = self.dtype or compute_dtype()
        if self.file is not None:
            if replicas.num_replicas() > 1:
                raise ValueError(
                    "Rows in a file are those of one replica: train without replicas, or with `sharded=True`. "
                    f"Received: file={self.file!r} with {replicas.num_replicas()} replicas"
                )
            return MappedMemory(num_samples, length * num_classes, dtype, name, os.fspath(self.file))
        if self.top_k is None:
            return PerSampleMemory(num_samples, length * num_classes, dtype, name, self.sharded)
        if self.top_k > num_classes:
            raise ValueError(
                "A storage cannot keep more classes than there are. "
                f"Received: top_k={self.top_k} with num_classes={num_classes}"
            )
        return TopKMemory(num_samples, num_classes, int(self.top_k), length, dtype, name, self.sharded)
