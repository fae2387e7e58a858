"""The command line of the package: `python -m keras_reg compare`, also installed as `keras-reg`."""

from __future__ import annotations

import sys

from keras_reg.compare import cli
from keras_reg.compare.backend import BACKENDS, active_backend, asked_backend, restart_with


def main() -> int:
    """Runs the command, in a fresh interpreter if it asks for a backend other than the one that Keras took."""
    argv = sys.argv[1:]
    backend = asked_backend(argv)
    if backend in BACKENDS and active_backend() not in (None, backend):
        return restart_with(backend, argv)
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
