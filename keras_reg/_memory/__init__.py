"""Tables with one row per training sample: in memory, sharded over devices, or in a file."""
