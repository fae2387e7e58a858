"""The settings of a comparison, except for the folder of its results."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

from keras_reg._validation import (
    check_boolean,
    check_choice,
    check_integer,
    check_number,
    check_string,
    is_integer,
    reject,
)
from keras_reg.compare.errors import InputError

STRATEGIES = ("none", "mirrored")
OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")
LARGEST_SEED = 2**30


@dataclasses.dataclass(frozen=True)
class Settings:
    """Holds the arguments that determine the results.

    Attributes:
        dataset: String. A name, an `.npz` file or a folder of images. Defaults to `"digits"`.
        noise: String. `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or a label file. Defaults to `"symmetric:0.4"`.
        methods: Tuple of strings. The methods, optionally with parameters as in
            `"early_learning:strength=1:momentum=0.9"`. Empty means all methods. `plain`, which is training without a
            method, always runs. Defaults to `()`.
        model: String. `"auto"`, `"mlp"`, `"cnn"`, `"resnet"` or `"package.module:function"`. Defaults to `"auto"`.
        seeds: Tuple of integers. Every method has one run per seed. A seed determines the split, the noise, the initial
            weights and the order of the samples. Defaults to `(0, 1, 2)`.
        epochs: Integer. The number of epochs of each run. Defaults to `100`.
        batch_size: Integer. The number of samples per step. Defaults to `64`.
        optimizer: String. `"adam"`, or `"sgd"` with momentum 0.9. Defaults to `"adam"`.
        learning_rate: Float. The learning rate of the optimizer. Defaults to `1e-3`.
        schedule: String. `"constant"`, or `"cosine"`, with which the learning rate decreases to 0 over the run along
            half a cosine. Defaults to `"constant"`.
        max_samples: Integer. The largest number of samples to use, or `None` for all. Defaults to `None`.
        strategy: String. `"none"` or `"mirrored"` (`tf.distribute.MirroredStrategy`). Defaults to `"none"`.
        tune: Boolean. Whether to search the parameters of each method first, on the validation split of a separate
            seed. Defaults to `False`.
    """

    dataset: str = "digits"
    noise: str = "symmetric:0.4"
    methods: tuple[str, ...] = ()
    model: str = "auto"
    seeds: tuple[int, ...] = (0, 1, 2)
    epochs: int = 100
    batch_size: int = 64
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    max_samples: int | None = None
    strategy: str = "none"
    tune: bool = False

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as error:
            raise InputError(str(error)) from None

    def _check(self) -> None:
        for name in ("dataset", "noise", "model"):
            check_string(name, getattr(self, name))
        # The checked values are Python's own numbers, which JSON can store.
        for name, optional in {"epochs": False, "batch_size": False, "max_samples": True}.items():
            object.__setattr__(self, name, check_integer(name, getattr(self, name), optional=optional))
        object.__setattr__(self, "learning_rate", check_number("learning_rate", self.learning_rate, above=0.0))
        for name, choices in {"strategy": STRATEGIES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}.items():
            check_choice(name, getattr(self, name), choices)
        object.__setattr__(self, "tune", check_boolean("tune", self.tune))
        if not all(isinstance(method, str) for method in self.methods):
            reject("methods", self.methods, "must be names of methods")
        valid = self.seeds and all(is_integer(seed) and 0 <= seed <= LARGEST_SEED for seed in self.seeds)
        if not valid or len(set(self.seeds)) != len(self.seeds):
            reject("seeds", self.seeds, f"must be one or more different integers from 0 to {LARGEST_SEED}")

    @property
    def tuning_seed(self) -> int:
        """Returns the seed of the search, which no scored run uses."""
        return max(self.seeds) + 1000

    def as_dict(self) -> dict[str, Any]:
        """Returns the settings in the form that is stored, and compared when a comparison is resumed."""
        stored = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}

    def _list_changes(self) -> dict[str, Any]:
        """Returns the settings that differ from the defaults."""
        default = Settings().as_dict()
        return {name: value for name, value in self.as_dict().items() if value != default[name]}

    def command(self, backend: str) -> str:
        """Returns the command line that reproduces the comparison."""
        words = ["python", "-m", "keras_reg", "compare", "--backend", backend]
        for name, value in self._list_changes().items():
            words.append("--" + name.replace("_", "-"))
            if name == "seeds":
                words.append(format_seeds(self.seeds))
            elif value is not True:
                words.append(",".join(value) if isinstance(value, list) else str(value))
        return shlex.join(words)

    def python_call(self) -> str:
        """Returns the Python call that reproduces the comparison."""
        changes = {name: getattr(self, name) for name in self._list_changes()}
        arguments = ", ".join(f"{name}={value!r}" for name, value in changes.items())
        return f"import keras_reg\n\nkeras_reg.compare.run({arguments})"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parses `--seeds`: a number of seeds (`3` means 0, 1 and 2) or a list of seeds (`4,7`, or `4,` for one seed)."""
    try:
        if "," in text:
            return tuple(int(word) for word in text.split(",") if word.strip())
        count = int(text)
    except ValueError:
        raise InputError(f"seeds must be a number, or numbers separated by commas; it is {text!r}") from None
    if not 1 <= count <= 1000:
        raise InputError(f"the number of seeds must be between 1 and 1000; it is {count}")
    return tuple(range(count))


def format_seeds(seeds: tuple[int, ...]) -> str:
    """Returns the notation of `--seeds`, as the inverse of `parse_seeds`."""
    if seeds == tuple(range(len(seeds))):
        return str(len(seeds))
    return ",".join(str(seed) for seed in seeds) + ("," if len(seeds) == 1 else "")
