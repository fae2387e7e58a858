"""What the site shows besides this folder: README, changelog, tutorials, examples, and a reference of public names."""

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
    """Lists the tutorials and the rooms of the package in the menu."""
    tutorials = [f"tutorials/{path.name}" for path in sorted((ROOT / "tutorials").glob("*.ipynb"))]
    config.nav += [{"Tutorials": tutorials}, {"Reference": [f"reference/{room}.md" for room in rooms()]}]
    return config


@event_priority(100)
def on_files(files: Files, config: Any) -> Files:
    """Adds the files from outside of the folder, before plugins look for notebooks to show among them."""
    readme = re.sub(r"\]\(docs/", "](", (ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=readme))
    files.append(File.generated(config, "changelog.md", content=(ROOT / "CHANGELOG.md").read_text()))
    for pattern in ("tutorials/*.ipynb", "examples/*.py"):
        for path in sorted(ROOT.glob(pattern)):
            name = str(path.relative_to(ROOT))
            files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for room, names in rooms().items():
        objects = "\n".join(f"::: keras_reg.{room}.{name}\n" for name in names)
        files.append(File.generated(config, f"reference/{room}.md", content=f"# keras_reg.{room}\n\n{objects}"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Makes links that are right in the repository right in the site."""
    # The source is not part of the site: a link to it becomes its text.
    markdown = re.sub(r"\[([^\]]*)\]\(\.\./keras_reg/[^)]*\)", r"\1", markdown)
    if page.file.src_uri == "index.md":
        return markdown.replace("](CHANGELOG.md)", "](changelog.md)")
    return markdown.replace("](../README.md", "](index.md").replace("](../", "](")


def on_post_build(config: Any) -> None:
    """Stops if a notebook is a file to download and no page."""
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        if not (pathlib.Path(config.site_dir) / "tutorials" / path.stem / "index.html").exists():
            raise PluginError(f"The tutorial {path.name} is no page of the site")


def rooms() -> dict[str, list[str]]:
    """The public names of each room, read and not imported: the site needs no Keras."""
    found = {}
    for path in sorted((ROOT / "keras_reg").glob("*/__init__.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                found[path.parent.name] = ast.literal_eval(node.value)
    return found
