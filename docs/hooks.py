"""Adds pages from outside this folder to the site: README, changelog, tutorials, examples and an API reference."""

from __future__ import annotations

import ast
import pathlib
import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).parents[1]


def on_config(config: Any) -> Any:
    """Lists the tutorials and the subpackages in the menu."""
    tutorials = [f"tutorials/{path.name}" for path in sorted((ROOT / "tutorials").glob("*.ipynb"))]
    config.nav += [{"Tutorials": tutorials}, {"Reference": [f"reference/{room}.md" for room in rooms()]}]
    return config


@event_priority(100)
def on_files(files: Files, config: Any) -> Files:
    """Adds files from outside this folder, before plugins search the files for notebooks."""
    readme = re.sub(r"\]\(docs/", "](", (ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "changelog.md", content=(ROOT / "CHANGELOG.md").read_text()))
    for pattern in ("tutorials/*.ipynb", "examples/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            name = str(path.relative_to(ROOT))
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for room, names in rooms().items():
        module = room if room == "keras_reg" else f"keras_reg.{room}"
        objects = "\n".join(f"::: {module}.{name}\n" for name in names)
        files.append(File.generated(config, f"reference/{room}.md", content=f"# {module}\n\n{objects}"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Adapts links that work in the repository to the site."""
    # The source is not part of the site, so a link to it is replaced by its text.
    markdown = re.sub(r"\[([^\]]*)\]\(\.\./keras_reg/[^)]*\)", r"\1", markdown)
    if page.file.src_uri == "index.md":
        return markdown.replace("](CHANGELOG.md)", "](changelog.md)")
    return markdown.replace("](../README.md", "](index.md").replace("](../", "](")


def on_post_build(config: Any) -> None:
    """Raises an error if a notebook is a download and not a page."""
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        if not (pathlib.Path(config.site_dir) / "tutorials" / path.stem / "index.html").exists():
            raise PluginError(f"The tutorial {path.name} is not a page of the site")


def rooms() -> dict[str, list[str]]:
    """Returns the public names of the package and of each subpackage.

    The names are parsed and not imported, because the site needs no Keras.
    """
    found = {}
    for path in sorted((ROOT / "keras_reg").glob("**/__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found[path.parent.name] = ast.literal_eval(node.value)
    inside = {*found, "__version__"}
    return {room: [name for name in names if name not in inside] for room, names in found.items()}
