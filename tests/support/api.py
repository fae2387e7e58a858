"""Lists the public names with their signatures: `python -m tests.support.api` writes `tests/api.txt`."""

from __future__ import annotations

import dataclasses
import inspect
import pathlib
import types
from collections.abc import Iterator

import keras_reg

FILE = pathlib.Path(__file__).parents[1] / "api.txt"


def public_names(module: types.ModuleType = keras_reg) -> Iterator[tuple[str, object]]:
    """Yields each public name below `keras_reg` with its object, in the order of `__all__`."""
    for name in module.__all__:
        member = getattr(module, name)
        if inspect.ismodule(member):
            yield from public_names(member)
        else:
            yield f"{module.__name__}.{name}".removeprefix("keras_reg."), member


def signature(function: object) -> str:
    """Returns the names and defaults of arguments, without annotations and `self`."""
    if isinstance(function, type) and "__init__" not in dir(function):
        return ""
    try:
        found = inspect.signature(function)
    except ValueError:  # The class has a built-in constructor, such as a warning.
        return ""
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values() if p.name != "self"]
    return str(inspect.Signature(parameters))


def members(cls: type) -> Iterator[str]:
    """Yields the public methods and properties that the package defines for a class."""
    fields = {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
    own = [base for base in cls.__mro__ if base.__module__.startswith("keras_reg")]
    for name in sorted({name for base in own for name in vars(base) if not name.startswith("_")} | fields):
        member = inspect.getattr_static(cls, name, None)
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        yield f"    {name}{signature(function) if inspect.isfunction(function) else ''}"


def api() -> str:
    """Returns the contents of the file."""
    lines = []
    for name, member in public_names():
        if name == "__version__":
            lines.append(name)
            continue
        lines.append(f"{name}{signature(member) if callable(member) else ''}")
        if inspect.isclass(member) and not issubclass(member, Warning):
            lines += members(member)
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    FILE.write_text(api())
