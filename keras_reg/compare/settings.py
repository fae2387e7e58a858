"""What a comparison is asked to do, apart from where its results go."""

from __future__ import annotations

import dataclasses
import math
import shlex
from typing import Any

from keras_reg.compare.errors import InputError

STRATEGIES = ("none", "mirrored")
OPTIMIZERS = ("adam", "sgd")
SCHEDULES = ("constant", "cosine")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments that decide the results.

    Attributes:
        dataset: A name, an `.npz` file or a folder of images.
        noise: `"symmetric:0.4"`, `"asymmetric:0.3"`, `"none"`, or a label file.
        methods: The methods, each perhaps with parameters as in `"early_learning:strength=1:momentum=0.9"`; empty
            for every method there is. Plain training always runs.
        model: `"auto"`, `"mlp"`, `"cnn"`, `"resnet"` or `"package.module:function"`.
        seeds: One run of every method for each of these; a seed decides split, noise, initial weights and shuffling.
        epochs: How often each run goes through its training data.
        batch_size: Samples per step.
        optimizer: `"adam"`, or `"sgd"` with momentum 0.9.
        learning_rate: Of the optimizer.
        schedule: `"constant"`, or `"cosine"`: the learning rate falls to 0 over the run, along half a cosine.
        max_samples: Use at most so many samples.
        strategy: `"none"` or `"mirrored"` (`tf.distribute.MirroredStrategy`).
        tune: Whether to search each method's parameters first, on the validation split of a separate seed.
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
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name.replace('_', '-')} must be at least 1; it is {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning-rate must be positive; it is {self.learning_rate}")
        if self.max_samples is not None and self.max_samples < 1:
            raise InputError(f"max-samples must be at least 1; it is {self.max_samples}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise InputError(f"seeds must be at least one, all different and not negative; they are {self.seeds}")
        if max(self.seeds) > 2**30:
            raise InputError(f"a seed must be at most {2**30}; the largest is {max(self.seeds)}")
        for name, choices in {"strategy": STRATEGIES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}.items():
            if getattr(self, name) not in choices:
                raise InputError(f"{name} must be one of {', '.join(choices)}; it is {getattr(self, name)!r}")

    @property
    def tuning_seed(self) -> int:
        """A seed that no run is scored on."""
        return max(self.seeds) + 1000

    def as_dict(self) -> dict[str, Any]:
        """The settings as they are stored, and compared when a comparison is resumed."""
        stored = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}

    def _differing(self) -> dict[str, Any]:
        """The settings that are not the default."""
        default = Settings().as_dict()
        return {name: value for name, value in self.as_dict().items() if value != default[name]}

    def command(self, backend: str) -> str:
        """The command line that repeats the comparison."""
        words = ["python", "-m", "keras_reg", "compare", "--backend", backend]
        for name, value in self._differing().items():
            words.append("--" + name.replace("_", "-"))
            if name == "seeds":
                words.append(seeds_as_text(self.seeds))
            elif value is not True:
                words.append(",".join(value) if isinstance(value, list) else str(value))
        return shlex.join(words)

    def python_call(self) -> str:
        """The Python call that repeats the comparison."""
        given = {name: getattr(self, name) for name in self._differing()}
        arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
        return f"import keras_reg\n\nkeras_reg.compare.run({arguments})"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Reads `--seeds`: a number of seeds (`3` is 0, 1 and 2) or the seeds themselves (`4,7`; `4,` for one)."""
    try:
        if "," in text:
            return tuple(int(word) for word in text.split(",") if word.strip())
        count = int(text)
    except ValueError:
        raise InputError(f"seeds must be a number, or numbers with commas between; it is {text!r}") from None
    if not 1 <= count <= 1000:
        raise InputError(f"the number of seeds must be between 1 and 1000; it is {count}")
    return tuple(range(count))


def seeds_as_text(seeds: tuple[int, ...]) -> str:
    """The inverse of `parse_seeds`."""
    if seeds == tuple(range(len(seeds))):
        return str(len(seeds))
    return ",".join(str(seed) for seed in seeds) + ("," if len(seeds) == 1 else "")
