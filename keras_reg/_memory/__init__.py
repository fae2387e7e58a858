"""Tables with one row per training sample: in memory, divided among devices, or in a file."""
