"""Tables whose rows are divided among the devices of JAX that share a batch, in the order of the mesh.

The program sees the whole table. XLA divides it: a device looks for each row of the global batch in its own part, the
answers are summed, and what is written goes to the device that has the row.
"""

from __future__ import annotations

import keras
import numpy as np


def num_parts() -> int:
    """Among how many devices the distribution that is set divides a batch; 1 without one, and outside of JAX."""
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(dict(zip(mesh.axis_names, mesh.shape, strict=True)).get(distribution.batch_dim_name, 1))


def padded(rows: int) -> int:
    """The number of rows that the devices can divide: this one, or a few more."""
    return -(-rows // num_parts()) * num_parts()


def layout(rank: int) -> keras.distribution.TensorLayout:
    """Rows over the devices that share a batch; each device has all of a row."""
    distribution = keras.distribution.distribution()
    return keras.distribution.TensorLayout(
        (distribution.batch_dim_name, *[None] * (rank - 1)), distribution.device_mesh
    )


def divide(variable: keras.Variable, table: np.ndarray) -> None:
    """Gives every device its rows of a table, which may have fewer rows than the variable."""
    rows = np.zeros(variable.shape, table.dtype)
    rows[: len(table)] = table
    # From here to each device its part: assigned as it is, the whole table would go through the first one.
    variable.assign(keras.distribution.distribute_tensor(rows, variable.value.sharding))


def check_addressable(variable: keras.Variable) -> None:
    """Raises if a table cannot be read, because some of its rows are in other processes.

    Raises:
        ValueError: If the mesh has devices of other processes.
    """
    if not variable.value.is_fully_addressable:
        raise ValueError(
            "Rows can be sharded over the devices of one process only, so that they can be read and saved. Received: "
            f"sharded=True with {num_parts()} devices that share a batch, some of which belong to other processes"
        )
