"""Tests of the documentation: examples in docstrings, README and cards run, and the defaults in cards are correct."""

from __future__ import annotations

import ast
import inspect
import pathlib
import re
import textwrap

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg.data import with_sample_ids
from tests.support.api import public_names
from tests.support.benchmarks import import_benchmark
from tests.support.tiers import ON_TORCH

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_blocks(text: str) -> list[str]:
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for block in blocks]


class MyModel(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(10, "softmax")

    def call(self, inputs):
        return self.dense(inputs)


def namespace() -> dict:
    """Returns the names that an example may use: a small compiled classifier and its data."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)).astype("float32"), rng.integers(0, 10, 64).astype("int32")
    model = keras.Sequential([keras.Input((6,), name="features"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    images = rng.normal(size=(64, 28, 28, 1)).astype("float32")
    data = {
        "x": x,
        "y": y,
        "x_val": x[::-1].copy(),
        "y_val": y[::-1].copy(),
        "y_train": y,
        "images": images,
        "labels": y,
    }
    data |= {"val_images": images, "val_labels": y}
    return {"keras": keras, "keras_reg": keras_reg, "np": np, "model": model, "MySubclassedModel": MyModel, **data}


OPS = import_benchmark("op_functions").op_functions()
EXAMPLES = [
    (name, block)
    for name, thing in {**dict(public_names()), **{f"ops.{name}": function for name, function in OPS.items()}}.items()
    if callable(thing)
    for block in code_blocks(inspect.getdoc(thing) or "")
]


# Each example is traced and compiled on TensorFlow and JAX, which takes minutes. Tests run the same calls there.
@ON_TORCH
@pytest.mark.parametrize(("name", "block"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
@pytest.mark.filterwarnings("default")
def test_docstring_examples_run(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "compare.run(" in block or ".pt" in block:
        pytest.skip("needs minutes or a file; run by tests/compare and tests/data")
    exec(block.replace("epochs=100", "epochs=2"), {**OPS, **namespace()})  # It raises if it does not run.


@ON_TORCH
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("default")
def test_documentation_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = namespace()
    blocks = [block for block in code_blocks(page.read_text()) if "compare.run" not in block]
    for block in blocks:  # The blocks share one namespace and run from top to bottom.
        exec(block.replace("epochs=100", "epochs=2"), variables)


def wide_code_lines(text: str) -> list[str]:
    """Returns the lines of code blocks that are wider than 76 columns, except the two commands for a clone."""
    blocks = re.findall(r"(<!-- \w+ command -->\n)?^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for command, block in blocks if not command for line in block.splitlines() if len(line) > 76]


@pytest.mark.any_backend
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documentation_code_is_at_most_76_columns_wide(page):
    assert not wide_code_lines(page.read_text())


@pytest.mark.any_backend
def test_width_check_finds_wide_line():
    assert wide_code_lines(f"text\n```python\n{'x' * 77}\n```\n") == ["x" * 77]
    assert not wide_code_lines(f"{'x' * 77}\n```python\n{'x' * 76}\n```\n{'x' * 77}\n```bash\nx\n```\n")


@pytest.mark.any_backend
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documentation_links_have_existing_targets(page):
    assert not re.search(r"\]\(\s*\)|\[\]\(", page.read_text()), f"{page.name} has an empty link"
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


CARDS = sorted({ROOT / link for link in re.findall(r"\[card\]\((.*?)\)", (ROOT / "README.md").read_text())})
SECTIONS = [
    "Equation",
    "Use",
    "Arguments",
    "Cost",
    "Works with",
    "Composes with",
    "Deviations from the paper and its code",
    "Evidence",
    "Limits and negative results",
    "Attribution",
]


@pytest.mark.any_backend
@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_documentation_cards_have_all_sections_in_order(card):
    intro, *sections = re.split(r"^## ", card.read_text(), flags=re.MULTILINE)
    assert len(intro.splitlines()) > 4, f"{card.name} does not say what it is about"
    found = {section.split("\n", 1)[0]: section.split("\n", 1)[1].strip() for section in sections}
    assert [title for title in found if title in SECTIONS] == SECTIONS
    assert all(found[title] for title in SECTIONS), f"{card.name} has an empty section"
    assert "](composing.md)" in found["Composes with"]


@pytest.mark.any_backend
@pytest.mark.parametrize("tutorial", sorted((ROOT / "tutorials").glob("*.ipynb")), ids=lambda path: path.stem)
def test_documentation_cards_link_to_tutorials(tutorial):
    shown = set(re.findall(r"keras_reg\.(\w+\.\w+)", tutorial.with_suffix(".py").read_text()))
    methods = [method.name for method in keras_reg.list_methods() if method.name in shown]
    assert methods
    for name in methods:
        pages = [page for page in PAGES[1:] if f"`{name}`" in page.read_text()]
        assert any(f"](../tutorials/{tutorial.name})" in page.read_text() for page in pages), name


#: Messages in the questions that come from other packages.
OF_OTHERS = {
    "Could not locate class ...": "Keras",
    "Unknown object": "Keras",
    "Attempt to donate the same buffer twice": "JAX",
    "'NoneType' object is not callable": "JAX",
    "No module named 'keras.src.engine'": "tensorflow-addons",
}


@pytest.mark.any_backend
def test_quoted_messages_in_questions_exist_in_code():
    said = []
    for path in (ROOT / "keras_reg").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                said.append("".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
    titles = re.findall(r"^## (.*)$", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    quoted = {message for title in titles for message in re.findall(r'"([^"]*)"', title)} - set(OF_OTHERS)
    assert len(quoted) >= 10
    for message in quoted:
        assert any(message in one for one in said), f"the package has no message {message!r}"


TRAINING = [method for method in keras_reg.list_methods() if method.kind != "metric"]  # All metrics share one page.


@pytest.mark.any_backend
@pytest.mark.parametrize("method", TRAINING, ids=lambda method: method.name)
def test_documentation_cards_have_defaults_of_the_code(method):
    cards = [page for page in PAGES if page.read_text().startswith("# ") and f"`{method.name}`" in page.read_text()]
    cards = [page for page in cards if page.parent.name == "docs" and "## Arguments" in page.read_text()]
    assert len(cards) == 1, f"{method.name} needs one card in docs/"
    assert cards[0] in CARDS, f"the README lists no card {cards[0].name}"
    text = cards[0].read_text()
    assert method.arxiv is None or method.arxiv in text
    for parameter in inspect.signature(method.cls).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        row = re.search(rf"^\| `{parameter.name}` \| `?([^|`]+?)`? \|", text, re.MULTILINE)
        assert row, f"{cards[0].name} has no row for {parameter.name}"
        if default in ("required", "None", "True", "False") or not isinstance(parameter.default, float):
            assert row[1] == default, f"{cards[0].name}: {parameter.name}"
        else:
            assert float(row[1]) == parameter.default, f"{cards[0].name}: {parameter.name}"


def test_with_sample_ids_returns_names_used_in_documentation():
    x = np.zeros((3, 6), "float32")
    model = keras.Sequential([keras.Input((6,), name="features"), keras.layers.Dense(1)])
    assert set(with_sample_ids(model, x)) == {"features", "sample_id"}


def test_calibration_page_lists_all_metrics():
    text = (ROOT / "docs" / "calibration.md").read_text()
    for method in keras_reg.list_methods("metrics.*"):
        assert f"`{method.name}`" in text
        assert method.arxiv is None or method.arxiv in text
