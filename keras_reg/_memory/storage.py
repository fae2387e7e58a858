"""The argument `storage` of callbacks: how the rows of a per-sample memory are stored."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras

from keras_reg._keras import replicas
from keras_reg._keras.dtypes import compute_dtype
from keras_reg._memory.mapped_memory import MappedMemory
from keras_reg._memory.memory import PerSampleMemory
from keras_reg._memory.top_k_memory import TopKMemory
from keras_reg._validation import check_boolean, check_choice, check_integer, check_string, reject

DTYPES = ("float32", "float64", "float16", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Storage:
    """Specifies how a method stores its row for each training sample.

    The step computes in float32 with every storage. Rows are widened when they are read and rounded when they are
    written, and the loss sees the row as it was stored. `docs/memory.md` compares the storages.

    Args:
        dtype: String. The data type of stored values: `"float32"`, `"float64"`, `"float16"` or `"bfloat16"`. Defaults
            to `None`, which is the type that the loss is computed in, normally float32.
        top_k: Integer. The number of classes to keep in each row. The rest of the probability is spread uniformly over
            the other classes. Defaults to `None`, which keeps all classes.
        sharded: Boolean. Whether each replica of a `tf.distribute` strategy, or on JAX each device that shares a batch
            under `keras.distribution`, keeps only its share of the rows. The rows of the batch are then exchanged in
            each step. Defaults to `False`: each of them keeps all rows.
        file: String or path. A file on the host's disk that holds the rows, for tables that do not fit into memory. It
            is created with the size of the whole table and stays after training. Checkpoints contain a reference to the
            file. Resuming from one of its latest two checkpoints restores the file to its state at that checkpoint.
            Defaults to `None`.

    Attributes:
        dtype, top_k, sharded, file: The arguments. A path is converted to a string.
        rounds: Boolean. Whether values are stored in 16 bits, so that rounding changes the sum of a row slightly.

    Raises:
        ValueError: If an argument has a wrong type or value, if `sharded` is true on PyTorch, or if `file` is combined
            with `top_k`, `sharded` or bfloat16.

    Example:

    ```python
    storage = keras_reg.callbacks.Storage("float16", top_k=5)
    callback = keras_reg.callbacks.EarlyLearningRegularization(
        num_samples=len(x), num_classes=10, storage=storage
    )
    inputs = keras_reg.data.with_sample_ids(model, x)
    model.fit(inputs, y, epochs=100, callbacks=[callback])
    # 5 values of 2 bytes, 5 classes of 2, the rest of 4 and a mark: 25
    callback.memory.bytes_per_sample
    ```
    """

    dtype: str | None = None
    top_k: int | None = dataclasses.field(default=None, kw_only=True)
    sharded: bool = dataclasses.field(default=False, kw_only=True)
    file: str | os.PathLike[str] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Checks the arguments, and converts them to types that can be serialized."""
        if self.dtype is not None:
            check_choice("dtype", self.dtype, DTYPES)
        top_k = check_integer("top_k", self.top_k, optional=True)
        sharded = check_boolean("sharded", self.sharded)
        if sharded and keras.backend.backend() not in ("tensorflow", "jax"):
            raise ValueError(
                "`sharded` must be False on this backend. It is for the replicas of `tf.distribute` on TensorFlow and "
                "for the devices of `keras.distribution` on JAX. "
                f"Received: sharded=True on the backend {keras.backend.backend()!r}"
            )
        for name, value in {"top_k": top_k, "sharded": sharded, "file": self._check_file()}.items():
            object.__setattr__(self, name, value)

    def _check_file(self) -> str | None:
        if self.file is None:
            return None
        if not isinstance(self.file, (str, os.PathLike)) or not os.fspath(self.file):
            reject("file", self.file, "must be the path of a file or None")
        if self.top_k is not None or self.sharded or self.dtype == "bfloat16":
            raise ValueError(
                "`file` keeps whole rows of one replica in a data type of NumPy. Leave out `top_k`, whose tables are "
                "small, and `sharded`, and use float16 instead of bfloat16. "
                f"Received: file={self.file!r} with dtype={self.dtype!r}, top_k={self.top_k!r}, sharded={self.sharded}"
            )
        return os.fspath(self.file)

    @classmethod
    def from_argument(cls, storage: Any) -> Storage:
        """Returns the `Storage` for an argument `storage`.

        Args:
            storage: `None`, the name of a data type, a `Storage`, or a dictionary of its arguments.

        Raises:
            ValueError: If it is none of these.
        """
        if storage is None or isinstance(storage, str):
            return cls(storage)
        if isinstance(storage, Mapping) and set(storage) <= {field.name for field in dataclasses.fields(cls)}:
            return cls(**storage)
        if isinstance(storage, cls):
            return storage
        reject(
            "storage",
            storage,
            "must be None, the name of a data type such as 'float16', a `keras_reg.callbacks.Storage`, or a dictionary "
            "of its arguments",
        )

    @property
    def rounds(self) -> bool:
        """Returns True if values are stored in 16 bits."""
        return self.dtype in ("float16", "bfloat16")

    def check_model(self, model: keras.Model) -> None:
        """Raises an error if the training step of a model cannot read and write rows of this storage.

        Args:
            model: A compiled `keras.Model`.

        Raises:
            ValueError: If the rows are in a file and the step cannot read it: with XLA on TensorFlow, with
                `torch.compile`, on several devices, or on a TPU.
        """
        if self.file is None:
            return
        if keras.backend.backend() == "jax":
            self._check_jax()
        elif model.jit_compile:
            raise ValueError(
                "A compiled step cannot read a file on this backend. Compile the model with `jit_compile=False`. "
                f"Received: file={self.file!r} with jit_compile={model.jit_compile!r}"
            )

    def _check_jax(self) -> None:
        import jax

        distribution = keras.distribution.distribution()
        if self.dtype == "float64" and not jax.config.jax_enable_x64:
            raise ValueError(
                "JAX computes in float32 unless 64 bits are enabled, and a file keeps values in the type in which they "
                f"are computed. Leave out `dtype`. Received: file={self.file!r} with dtype='float64'"
            )
        several = distribution is not None and distribution.device_mesh.devices.size > 1
        if several or jax.default_backend() == "tpu":
            raise ValueError(
                "`file` needs one device that is not a TPU, because its host reads the rows. Train without "
                f"`keras.distribution`, or keep the rows in memory. Received: file={self.file!r}"
            )

    def create(self, num_samples: int, num_classes: int, name: str, length: int = 1) -> PerSampleMemory:
        """Creates the table. Call it in the model's strategy scope.

        Args:
            num_samples: Integer. The number of rows.
            num_classes: Integer. The number of classes.
            name: String. The name of the table in checkpoints.
            length: Integer. The number of distributions of a sample, for sequences. Defaults to `1`.

        Returns:
            A `keras_reg.training.PerSampleMemory` with rows of `length * num_classes` values.

        Raises:
            ValueError: If an argument is out of range, or if `top_k` is larger than the number of classes. Also if the
                file cannot be used, or if there are several replicas, which cannot share a file.
        """
        num_samples, num_classes = check_integer("num_samples", num_samples), check_integer("num_classes", num_classes)
        name, length = check_string("name", name), check_integer("length", length)
        dtype = self.dtype or compute_dtype()
        if self.file is not None:
            if replicas.num_replicas() > 1:
                raise ValueError(
                    "`file` keeps the rows of one replica. Train on one replica, or use `sharded=True` without a file. "
                    f"Received: file={self.file!r} with {replicas.num_replicas()} replicas"
                )
            return MappedMemory(num_samples, length * num_classes, dtype, name, os.fspath(self.file))
        if self.top_k is None:
            return PerSampleMemory(num_samples, length * num_classes, dtype, name, self.sharded)
        if self.top_k > num_classes:
            raise ValueError(
                "`top_k` must not be larger than the number of classes. "
                f"Received: top_k={self.top_k} with num_classes={num_classes}"
            )
        return TopKMemory(num_samples, num_classes, self.top_k, length, dtype, name, self.sharded)
