"""What the documentation says is run: examples of docstrings, README and cards; defaults in cards; public names."""

from __future__ import annotations

import inspect
import pathlib
import re

import keras
import numpy as np
import pytest

import keras_reg
from keras_reg.data import with_sample_ids

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = {"callbacks", "data", "ops", "training", "compare"}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def code_blocks(text: str) -> list[str]:
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [inspect.cleandoc(block) for block in blocks]


def namespace(tmp_path) -> dict:
    """What an example may use without saying so: a small compiled classifier and its data."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 6)).astype("float32"), rng.integers(0, 10, 64).astype("int32")
    model = keras.Sequential([keras.Input((6,), name="features"), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return {"keras": keras, "keras_reg": keras_reg, "np": np, "x": x, "y": y, "model": model, "x_val": x, "y_val": y}


def public_objects() -> list[tuple[str, object]]:
    found = [("list_methods", keras_reg.list_methods)]
    for room in sorted(ROOMS):
        module = getattr(keras_reg, room)
        found += [(f"{room}.{name}", getattr(module, name)) for name in module.__all__]
    return found


@pytest.mark.parametrize(("name", "thing"), public_objects(), ids=lambda value: value if isinstance(value, str) else "")
def test_public_names_are_documented(name, thing):
    if not callable(thing):
        return
    text = inspect.getdoc(thing)
    assert text, name
    parameters = [p for p in inspect.signature(thing).parameters if p not in ("args", "kwargs", "name", "dtype")]
    if parameters and not issubclass(type(thing), type):
        assert "Args:" in text, name
    for parameter in parameters if "Args:" in text else []:
        assert re.search(rf"\b{parameter}:", text), f"{name} does not document {parameter}"


EXAMPLES = [
    (name, block)
    for name, thing in public_objects()
    if callable(thing)
    for block in code_blocks(inspect.getdoc(thing) or "")
]


@pytest.mark.parametrize(("name", "block"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
@pytest.mark.filterwarnings("default")
def test_examples_of_docstrings_run(name, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name == "compare.run" or "path" in block.lower():
        pytest.skip("needs minutes or a file; run by tests/compare and tests/data")
    variables = namespace(tmp_path)
    exec(block.replace("epochs=100", "epochs=2"), variables)
    assert set(variables) > {"keras", "model"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.filterwarnings("default")
def test_code_of_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = namespace(tmp_path)
    blocks = [block for block in code_blocks(page.read_text()) if "compare.run" not in block]
    for block in blocks:  # in one namespace, from top to bottom, as a reader would run them
        exec(block.replace("epochs=100", "epochs=2"), variables)
    assert "model" in variables


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("http") or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("method", keras_reg.list_methods(), ids=lambda method: method.name)
def test_every_method_has_a_card_whose_defaults_are_those_of_the_code(method):
    cards = [page for page in PAGES if page.read_text().startswith("# ") and f"`{method.name}`" in page.read_text()]
    cards = [page for page in cards if page.parent.name == "docs" and "## Arguments" in page.read_text()]
    assert len(cards) == 1, f"{method.name} needs one card in docs/"
    text = cards[0].read_text()
    for section in ("Equation", "Use", "Arguments", "Cost", "Works with", "Deviations", "Evidence", "Limits"):
        assert re.search(rf"^## .*{section}", text, re.MULTILINE), f"{cards[0].name} has no section {section}"
    assert method.arxiv in text
    for parameter in inspect.signature(method.cls).parameters.values():
        default = "required" if parameter.default is parameter.empty else repr(parameter.default)
        row = re.search(rf"^\| `{parameter.name}` \| `?([^|`]+?)`? \|", text, re.MULTILINE)
        assert row, f"{cards[0].name} has no row for {parameter.name}"
        if default in ("required", "None", "True", "False") or not isinstance(parameter.default, float):
            assert row[1] == default, f"{cards[0].name}: {parameter.name}"
        else:
            assert float(row[1]) == parameter.default, f"{cards[0].name}: {parameter.name}"


def test_with_sample_ids_is_what_the_pages_use():
    x = np.zeros((3, 6), "float32")
    model = keras.Sequential([keras.Input((6,), name="features"), keras.layers.Dense(1)])
    assert set(with_sample_ids(model, x)) == {"features", "sample_id"}
