"""Marks that choose the backends on which a test belongs to the fast tier: see CONTRIBUTING.md."""

from __future__ import annotations

import pytest

#: For tests that take seconds where steps are compiled, and test nothing of the compilation.
ON_TORCH = pytest.mark.fast_on("torch")
#: For tests that compile so many small operations on JAX that they take seconds there.
NOT_ON_JAX = pytest.mark.fast_on("tensorflow", "torch")
#: For a test that belongs to the fast tier of every backend, in a file that is marked `ON_TORCH`.
ON_EVERY_BACKEND = pytest.mark.fast_on("tensorflow", "jax", "torch")
