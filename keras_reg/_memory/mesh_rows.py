"""Shards the rows of tables over the devices of JAX that share a batch, in the order of the mesh.

The program sees the whole table, and XLA divides it. Each device looks up the rows of the global batch in its own part,
and the results are summed. A written row goes to the device that holds it.
"""

from __future__ import annotations

import keras
import numpy as np

from keras_reg._types import Array


def num_parts() -> int:
    """Returns the number of devices over which the current distribution divides a batch.

    It is 1 without a distribution, and on other backends than JAX.
    """
    distribution = keras.distribution.distribution() if keras.backend.backend() == "jax" else None
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return int(dict(zip(mesh.axis_names, mesh.shape, strict=True)).get(distribution.batch_dim_name, 1))


def padded_size(rows: int) -> int:
    """Returns the smallest multiple of the number of devices that is at least `rows`."""
    return -(-rows // num_parts()) * num_parts()


def create_layout(rank: int) -> keras.distribution.TensorLayout:
    """Returns the layout that divides rows over the devices that share a batch. Each row is on one device."""
    distribution = keras.distribution.distribution()
    return keras.distribution.TensorLayout(
        (distribution.batch_dim_name, *[None] * (rank - 1)), distribution.device_mesh
    )


def divide(variable: keras.Variable, table: Array) -> None:
    """Assigns to every device its rows of a table. The table may have fewer rows than the variable."""
    rows = np.zeros(variable.shape, table.dtype)
    rows[: len(table)] = table
    # Each device gets its part directly. A plain assignment would copy the whole table to the first device.
    variable.assign(keras.distribution.distribute_tensor(rows, variable.value.sharding))


def check_addressable(variable: keras.Variable) -> None:
    """Raises an error if a table cannot be read because some of its rows are in other processes.

    Raises:
        ValueError: If the mesh has devices of other processes.
    """
    if not variable.value.is_fully_addressable:
        raise ValueError(
            "`sharded` needs the devices of one process only, so that rows can be read and saved. Received: "
            f"sharded=True with {num_parts()} devices that share a batch, some of which belong to other processes"
        )
