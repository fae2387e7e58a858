"""Writes small datasets for the tests."""

import io

import numpy as np


def write_npz(path, **changes):
    """Writes an `.npz` file of 60 samples in three classes. `changes` replaces arrays, and `None` removes one."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    arrays = {"x": (rng.normal(size=(60, 5)) + 2 * y[:, None]).astype(np.float32), "y": y, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return str(path)


def encode(pictures, form="JPEG"):
    """Returns images as encoded files."""
    from PIL import Image

    files = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, form)
        files.append(buffer.getvalue())
    return files


def pictures(count, size=8, seed=0):
    """Returns images, each with a single color."""
    colours = np.random.default_rng(seed).integers(0, 256, size=(count, 1, 1, 3), dtype=np.uint8)
    return np.tile(colours, (1, size, size, 1))


def write_folder(root, classes=("cat", "dog"), count=6, size=8):
    """Writes one sub-folder of PNG images per class."""
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for index, file in enumerate(encode(pictures(count, size, number), "PNG")):
            (root / name / f"{index}.png").write_bytes(file)
    return root
