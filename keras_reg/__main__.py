"""The command line of the package: `python -m keras_reg compare`, also installed as `keras-reg`."""

from __future__ import annotations

import sys

from keras_reg.compare import cli
from keras_reg.compare.backend import BACKENDS, find_backend_option, get_active_backend, restart_with


def main() -> int:
    """Runs the command, in a new interpreter if `--backend` differs from the backend that Keras has loaded."""
    argv = sys.argv[1:]
    backend = find_backend_option(argv)
    if backend in BACKENDS and get_active_backend() not in (None, backend):
        return restart_with(backend, argv)
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
