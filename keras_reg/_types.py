"""Type aliases for types that Keras leaves open. They tell the reader what is meant. A type checker sees `Any`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: A tensor of the backend, or what `keras.ops` converts to one.
Tensor: TypeAlias = Any
#: A NumPy array, or what NumPy converts to one.
ArrayLike: TypeAlias = npt.ArrayLike
#: A NumPy array of any type.
Array: TypeAlias = "np.ndarray[Any, Any]"
#: The shape of a tensor; `None` for a size that is not known before the step runs.
Shape: TypeAlias = "tuple[int | None, ...]"
#: A data type, as a name, a policy, or `None` for Keras's default.
DType: TypeAlias = Any
#: The arguments of a constructor, as `get_config` returns them.
Config: TypeAlias = "dict[str, Any]"
#: A tensor, or a nested structure of tensors.
Structure: TypeAlias = Any
#: A function of a tensor.
TensorFunction: TypeAlias = Callable[[Any], Any]
