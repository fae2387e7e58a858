"""Trains on a folder of images with some wrong labels, and writes a list of the labels to check.

    python examples/noisy_image_folder.py [folder] [epochs]

The folder has one subfolder for each class, as `keras.utils.image_dataset_from_directory` requires. Without a folder,
the script creates a temporary one of handwritten digits, 30 % of which are in a wrong class. It writes
`suspected_labels.csv` into the current folder, with the most certain labels first. The script needs the extra
`[compare]`, for the digits and for reading images.
"""

from __future__ import annotations

import csv
import pathlib
import sys
import tempfile

import keras
import numpy as np
from PIL import Image

import keras_reg

SIZE = 32  # images are resized to this many pixels on each side
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif"}


def digits_folder(folder: pathlib.Path, noise: float = 0.3, limit: int | None = None) -> None:
    """Writes handwritten digits as files, some into a wrong class. Each file name contains the right class."""
    from sklearn.datasets import load_digits

    images, labels = (part[:limit] for part in load_digits(return_X_y=True))
    given = keras_reg.data.symmetric_noise(labels, rate=noise, num_classes=10, seed=0)
    for index, (image, label, right) in enumerate(zip((images * 15.9).astype("uint8"), given, labels, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.reshape(8, 8)).save(place / f"{index:04}_is_{right}.png")


def read(folder: pathlib.Path) -> tuple[list[pathlib.Path], np.ndarray, np.ndarray, list[str]]:
    """Returns files, images in [0, 1], labels, and class names. The images of the folder must fit into memory."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [path for name in classes for path in sorted((folder / name).iterdir()) if path.suffix.lower() in SUFFIXES]
    if len(classes) < 2 or not files:
        raise SystemExit(f"{folder} needs one folder of images for each class. Found: {classes}, {len(files)} images")
    pictures = [Image.open(file).convert("RGB").resize((SIZE, SIZE)) for file in files]
    labels = np.array([classes.index(file.parent.name) for file in files], "int32")
    return files, np.stack([np.asarray(picture, "float32") / 255 for picture in pictures]), labels, classes


def network(num_classes: int) -> keras.Model:
    """Builds a small network. Put your own network here, and keep the name of its input."""
    parts = []
    for width in (16, 32, 64):
        parts += [
            keras.layers.Conv2D(width, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
        ]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(num_classes)]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3), name="image"), *parts, *head])


def main(folder: str | None = None, epochs: int = 20, output: str = "suspected_labels.csv") -> list[dict[str, str]]:
    """Trains the network, writes the suspected labels, and returns them."""
    keras.utils.set_random_seed(0)
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            digits_folder(pathlib.Path(temporary))
        files, images, labels, classes = read(pathlib.Path(folder or temporary))
    model = network(len(classes))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # If you have a validation set with right labels, it shows how good the model is.
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    regularizer = keras_reg.callbacks.EarlyLearningRegularization(num_samples=len(images), num_classes=len(classes))
    model.fit(keras_reg.data.with_sample_ids(model, images), labels, 32, epochs, callbacks=[regularizer], verbose=2)

    suspected, opinions = regularizer.suspected_noise(labels), regularizer.targets
    rows = [
        {
            "file": str(files[index]) if folder else files[index].name,
            "label": classes[labels[index]],
            "rather": classes[opinions[index].argmax()],
            "certainty": f"{opinions[index].max():.3f}",
        }
        for index in np.argsort(-opinions.max(axis=1))
        if suspected[index]
    ]
    with open(output, "w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "label", "rather", "certainty"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} of {len(files)} labels are suspected: {output}")
    if folder is None:
        right = [row["rather"] == row["file"][-5] for row in rows]
        print(f"for {np.mean(right):.0%} of them, the class that the model prefers is the right one")
    return rows


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*arguments[:1], **({"epochs": int(arguments[1])} if arguments[1:] else {}))
