"""Measures regularizers of kernels in training steps, and separately on the kernels of a ResNet-50.

    KERAS_BACKEND=jax python benchmarks/regularizers.py            # both tables
    KERAS_BACKEND=tensorflow python benchmarks/regularizers.py --rounds 9 --tables steps

All compared programs take turns in one process, round by round. A ratio is formed in each round; the tables show the
median of the rounds, and their range.

- `steps` measures the seconds per step of `fit` of a small residual network (ResNet-8) with regularized kernels. The
  ratio is relative to `fit` without a regularizer.
- `kernels` measures value and gradient of a penalty for all 53 convolution kernels of a ResNet-50, or of one with a
  share of its channels. The ratio is the time of the paper's form (the kernel convolved with itself; the singular
  values) divided by that of this package's form. One kernel of each shape and stride is timed. Its time counts as often
  as the kernel occurs.
"""

from __future__ import annotations

import argparse
import collections
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops
from step_time import cnn

import keras_reg
from keras_reg import regularizers

REGULARIZERS = {
    "plain": None,
    "OrthogonalConvolution": regularizers.OrthogonalConvolution(0.1),
    "SoftOrthogonality": regularizers.SoftOrthogonality(0.01),
    "NuclearNorm": regularizers.NuclearNorm(3e-4),
    "GroupEnvelope": regularizers.GroupEnvelope(1e-3, num_groups=4),
    "GeneralizedGaussianPrior": regularizers.GeneralizedGaussianPrior(1e-4),
}


class Clock(keras.callbacks.Callback):
    """Measures the seconds per step without the first two steps, and waits for the device at both ends only."""

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if batch in (1, self.params["steps"] - 1):
            float(logs["loss"])
            now = time.perf_counter()
            if batch == 1:
                self.start = now
            else:
                self.seconds = (now - self.start) / (batch - 1)


def steps(rounds: int, length: int = 12, batch: int = 64) -> dict[str, list[float]]:
    """Returns the seconds per step in each round, after an additional round that compiles."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(length * batch, 32, 32, 3)).astype("float32")
    y = rng.integers(0, 10, length * batch).astype("int32")
    models = {}
    for name, regularizer in REGULARIZERS.items():
        keras.utils.set_random_seed(0)
        models[name] = model = cnn(10)
        if regularizer is not None:
            keras_reg.apply_regularizer(model, regularizer)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(1e-4), loss, jit_compile=keras.backend.backend() == "jax")
    times = collections.defaultdict(list)
    for turn in range(rounds + 1):
        for name, model in models.items():
            clock = Clock()
            model.fit(x, y, batch_size=batch, verbose=0, shuffle=False, callbacks=[clock])
            if turn:
                times[name].append(clock.seconds)
    return times


def resnet50(width: float) -> collections.Counter[tuple[tuple[int, ...], int]]:
    """Counts the kernels of each shape and stride, with the strides in the 3 x 3 convolutions."""
    inputs = round(64 * width)
    found = collections.Counter({((7, 7, 3, inputs), 2): 1})
    for stage, blocks in enumerate((3, 4, 6, 3)):
        channels = round(64 * width) * 2**stage
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            found[(1, 1, inputs, channels), 1] += 1
            found[(3, 3, channels, channels), stride] += 1
            found[(1, 1, channels, 4 * channels), 1] += 1
            if block == 0:
                found[(1, 1, inputs, 4 * channels), stride] += 1
            inputs = 4 * channels
    return found


def convolved_with_itself(kernel, stride: int):
    """Computes the penalty of orthogonal convolutions in the paper's form, with the kernels as images."""
    window, _, inputs, outputs = kernel.shape
    reach = (window - 1) // stride
    images = ops.pad(ops.transpose(kernel, (3, 0, 1, 2)), ((0, 0), *((reach * stride,) * 2,) * 2, (0, 0)))
    products = ops.conv(images, kernel, strides=stride, padding="valid")
    target = np.zeros((outputs, 2 * reach + 1, 2 * reach + 1, outputs), "float32")
    target[:, reach, reach] = np.eye(outputs)
    return ops.sum(ops.square(products - ops.convert_to_tensor(target))) - max(0, outputs - inputs * stride**2)


def sum_of_singular_values(kernel, stride: int):
    matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
    return ops.sum(ops.svd(matrix, full_matrices=False)[1])


PENALTIES = {
    "OrthogonalConvolution": (
        lambda kernel, stride: keras_reg.ops.orthogonal_convolution_penalty(kernel, stride),
        convolved_with_itself,
    ),
    "NuclearNorm": (lambda kernel, stride: keras_reg.ops.nuclear_norm(kernel), sum_of_singular_values),
}


def compiled(penalty, kernel, stride: int):
    """Returns a compiled function that computes value and gradient, waits for both, and returns the value."""
    if keras.backend.backend() == "jax":
        import jax

        step = jax.jit(jax.value_and_grad(lambda kernel: penalty(kernel, stride)))
        return lambda: float(jax.block_until_ready(step(kernel))[0])
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # retracing warnings: one graph per kernel is intended

    @tf.function
    def step(kernel):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            value = penalty(kernel, stride)
        return value, tape.gradient(value, kernel)

    def wait():
        value, gradient = step(kernel)
        gradient.numpy()
        return float(value)

    return wait


def kernels(rounds: int, width: float) -> dict[str, list[float]]:
    """Returns the seconds for all kernels in each round, for our form and the naive form."""
    times = collections.defaultdict(lambda: [0.0] * rounds)
    rng = np.random.default_rng(0)
    for (shape, stride), count in resnet50(width).items():
        kernel = ops.convert_to_tensor((rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype("float32"))
        for name, forms in PENALTIES.items():
            calls = [compiled(form, kernel, stride) for form in forms]
            values = [call() for call in calls]  # compiles
            np.testing.assert_allclose(*values, rtol=1e-2, err_msg=f"{name} {shape} {stride}")
            for turn in range(rounds):
                for form, call in zip(("ours", "naive"), calls, strict=True):
                    start = time.perf_counter()
                    call()
                    times[f"{name} {form}"][turn] += count * (time.perf_counter() - start)
    return times


def show(cells: list[str], numerator: list[float], denominator: list[float]) -> None:
    ratios = np.array(numerator) / np.array(denominator)
    print(f"| {' | '.join(cells)} | {np.median(ratios):.2f} | {ratios.min():.2f} to {ratios.max():.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tables", default="steps,kernels")
    parser.add_argument("--width", type=float, default=0.5, help="share of a ResNet-50's channels")
    arguments = parser.parse_args()
    backend = keras.backend.backend()
    backend += " | XLA" if backend == "jax" else " | graph"
    before = os.getloadavg()[0]
    if "steps" in arguments.tables:
        print("| backend | compiled | regularizer | ms/step | ratio to plain | range |\n|---|---|---|---|---|---|")
        times = steps(arguments.rounds)
        for name, seconds in times.items():
            show([backend, name, f"{1e3 * np.median(seconds):.1f}"], seconds, times["plain"])
        print()
    if "kernels" in arguments.tables:
        print("| backend | compiled | penalty | ours (ms) | naive (ms) | naive / ours | range |")
        print("|---|---|---|---|---|---|---|")
        times = kernels(arguments.rounds, arguments.width)
        for name in PENALTIES:
            ours, naive = times[f"{name} ours"], times[f"{name} naive"]
            show([backend, name, *(f"{1e3 * np.median(one):.0f}" for one in (ours, naive))], naive, ours)
        print()
    print(f"Load of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores.")


if __name__ == "__main__":
    main()
