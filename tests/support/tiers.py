"""Marks that select the backends on which a test belongs to the fast tier. See CONTRIBUTING.md."""

from __future__ import annotations

import pytest

#: For tests that take seconds if steps are compiled, but do not test compilation.
ON_TORCH = pytest.mark.fast_on("torch")
#: For tests that take seconds on JAX, because they compile many small operations.
NOT_ON_JAX = pytest.mark.fast_on("tensorflow", "torch")
#: For a test that belongs to the fast tier of every backend, in a file that is marked `ON_TORCH`.
ON_EVERY_BACKEND = pytest.mark.fast_on("tensorflow", "jax", "torch")
