"""Convolutions inside branches and loops, for JAX on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def canonical_convolutions(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function with the same order of axes in all convolutions, if it runs on CPUs. This is for JAX only.

    On CPUs, XLA is fast for images (batch, space, features) and kernels (space, features in, features out). For other
    orders, such as that in the gradient of a kernel, it runs naive loops. XLA transposes such arguments at the
    outermost level of a program only. In a branch or a loop, these gradients take ten times as long or more. Loops and
    branches inside the function are not changed.

    Args:
        function: A function of nested tensors that returns nested tensors.

    Returns:
        A function that computes the same result.
    """
    import jax

    if jax.default_backend() != "cpu":
        return function

    def run(*arguments: Any) -> Any:
        program, returned = jax.make_jaxpr(function, return_shape=True)(*arguments)
        return jax.tree.unflatten(jax.tree.structure(returned), _evaluate(program, jax.tree.leaves(arguments)))

    return run


def _evaluate(program: Any, arguments: list[Any]) -> list[Any]:
    """Runs a program, operation by operation."""
    from jax.extend.core import ClosedJaxpr, Literal, jaxpr_as_fun

    jaxpr = program.jaxpr
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*program.consts, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, [read(atom) for atom in equation.invars]
        if name == "conv_general_dilated":
            outputs = [_convolution(*inputs, **equation.params)]
        elif name in ("jit", "pjit"):
            outputs = _evaluate(equation.params["jaxpr"], inputs)
        else:
            read_here = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, Literal)))
            alone = jaxpr.replace(constvars=[], invars=read_here, outvars=equation.outvars, eqns=[equation])
            outputs = jaxpr_as_fun(ClosedJaxpr(alone, []))(*(values[atom] for atom in read_here))
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _convolution(images: Any, kernel: Any, *, dimension_numbers: Any, **parameters: Any) -> Any:
    """Computes a convolution with any order of axes by a convolution with the canonical order."""
    import jax

    (batch, features, *space), (features_out, features_in, *window), (batch_out, channel_out, *space_out) = (
        dimension_numbers
    )
    last = len(space) + 1
    order = jax.lax.ConvDimensionNumbers(
        (0, last, *range(1, last)), (last, last - 1, *range(last - 1)), (0, last, *range(1, last))
    )
    result = jax.lax.conv_general_dilated_p.bind(
        jax.lax.transpose(images, (batch, *space, features)),
        jax.lax.transpose(kernel, (*window, features_in, features_out)),
        dimension_numbers=order,
        **parameters,
    )
    permutation = [0] * (last + 1)
    for position, axis in enumerate((batch_out, *space_out, channel_out)):
        permutation[axis] = position
    return jax.lax.transpose(result, permutation)
