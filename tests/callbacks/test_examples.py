"""Tests that run short versions of the examples with callbacks."""

from __future__ import annotations

import csv
import importlib.util

import numpy as np
import pytest

from tests.support.processes import ROOT
from tests.support.tiers import ON_TORCH

pytestmark = pytest.mark.any_backend


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@ON_TORCH
@pytest.mark.slow
def test_image_folder_example_lists_wrong_labels(tmp_path):
    module = load_example("noisy_image_folder")
    module.SIZE = 8
    module.digits_folder(tmp_path / "images", noise=0.2, limit=400)
    rows = module.main(str(tmp_path / "images"), epochs=25, output=str(tmp_path / "suspected.csv"))
    with open(tmp_path / "suspected.csv", newline="") as file:
        assert list(csv.DictReader(file)) == rows
    classes = np.array([row["file"][-5] for row in rows])
    labels, suggestions = (np.array([row[key] for row in rows]) for key in ("label", "rather"))
    folders = [row["file"].replace("\\", "/").split("/")[-2] for row in rows]
    assert folders == list(labels)
    assert 40 <= len(rows) <= 160  # 80 labels are wrong.
    assert np.mean(labels != classes) > 0.6
    assert np.mean(suggestions == classes) > 0.6
    certainties = [float(row["certainty"]) for row in rows]
    assert certainties == sorted(certainties, reverse=True)


def test_image_folder_example_rejects_folder_without_classes(tmp_path):
    with pytest.raises(SystemExit, match="one folder of images for each class"):
        load_example("noisy_image_folder").main(str(tmp_path))


@ON_TORCH
@pytest.mark.slow
def test_text_example_trains_with_and_without_self_distillation():
    module = load_example("text_self_distillation")
    module.MODULES = ("statistics", "tarfile")
    results = module.main(epochs=8)
    assert results["plain"]["accuracy"] > 0.8
    assert results["self-distillation"]["accuracy"] > 0.8
    assert results["self-distillation"]["nll"] != results["plain"]["nll"]


def test_text_example_reads_and_encodes_texts_of_a_file(tmp_path):
    module = load_example("text_self_distillation")
    file = tmp_path / "texts.tsv"
    file.write_text("spam\tBuy this, buy now\n\nham\tSee you at noon\n")
    texts, classes = module.read(str(file))
    assert classes == ["spam", "ham"]
    rows, words = module.encode(texts, [])
    assert words[0] == "buy"
    assert rows.shape == (2, module.LENGTH)
    assert rows[0, 0] == rows[0, 2] == 2  # Both are the same word.
    assert (rows[0, 4:] == 0).all()
    again, _ = module.encode(["buy something"], words)
    assert list(again[0, :3]) == [2, 1, 0]


def test_text_example_rejects_file_without_classes(tmp_path):
    file = tmp_path / "texts.tsv"
    file.write_text("no class here\n")
    with pytest.raises(SystemExit, match="a class, a tab and a text"):
        load_example("text_self_distillation").read(str(file))
