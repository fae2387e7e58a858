"""Reads the imports of the package from its source, including those for type checking only."""

from __future__ import annotations

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2] / "keras_reg"


def module_name(file: pathlib.Path) -> str:
    """Returns the dotted name of a file of the package."""
    parts = file.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(tree: ast.AST) -> list[str]:
    """Returns every imported name, also of imports inside functions: `a.b` for `from a import b`."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return found


def room(module: str) -> str:
    """Returns the subpackage of a module, or the name of the module itself if it is at the top level."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def graph() -> dict[str, set[str]]:
    """Returns, for each module of the package, the modules of the package that it imports."""
    modules = {module_name(file): file for file in sorted(ROOT.rglob("*.py"))}
    found = {}
    for name, file in modules.items():
        targets = set()
        for imported in imported_names(ast.parse(file.read_text())):
            # `from a.b import c` imports the module `a.b.c` if it exists, and otherwise the module `a.b`.
            target = imported if imported in modules else imported.rpartition(".")[0]
            if target in modules and target != name:
                targets.add(target)
        found[name] = targets
    return found


def rooms() -> dict[str, set[str]]:
    """Returns, for each subpackage, the other subpackages that its modules import."""
    found: dict[str, set[str]] = {}
    for module, targets in graph().items():
        found.setdefault(room(module), set()).update(room(target) for target in targets)
    return {name: targets - {name} for name, targets in found.items()}
