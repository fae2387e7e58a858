"""Compares the per-sample methods with loops that one would write by hand in PyTorch.

    KERAS_BACKEND=jax python benchmarks/pytorch_loops.py            # or tensorflow, torch

Both take turns in one process, and train the same network from the same weights on the same batches. The script first
checks that both end with the same table. A round measures four times: the loop without and with the method, and `fit`
without and with the callback. The cost of the method is the difference; the table shows the median of the rounds, and
their range.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import torch
from step_time import WARM_UP, Clock, mlp

import keras_reg

BATCH, SAMPLES, EPOCHS = 64, 50_000, 2
torch.set_num_threads(1)  # PyTorch is faster with one thread at this size


class PlainLoop:
    """Trains with the cross-entropy only."""

    def __init__(self, num_classes: int) -> None:
        self.table = torch.zeros(SAMPLES, num_classes)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor, epoch: int) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, labels)


class EarlyLearningLoop(PlainLoop):
    """Trains with early-learning regularization and its default arguments."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor, epoch: int) -> torch.Tensor:
        p = torch.softmax(logits, 1).clamp(1e-4, 1 - 1e-4)
        now = p.detach()
        self.table[index] = 0.7 * self.table[index] + 0.3 * now / now.sum(1, keepdim=True)
        agreement = (self.table[index] * p).sum(1)
        return super().loss(logits, labels, index, epoch) + 3.0 * torch.log(1 - agreement).mean()


class SelfDistillationLoop(PlainLoop):
    """Trains with self-distillation from the predictions of the previous epoch."""

    def loss(self, logits: torch.Tensor, labels: torch.Tensor, index: torch.Tensor, epoch: int) -> torch.Tensor:
        targets = torch.nn.functional.one_hot(labels, logits.shape[1]).float()
        if epoch:
            weight = 0.8 * (epoch + 1) / EPOCHS
            targets = (1 - weight) * targets + weight * self.table[index]
        self.table[index] = torch.softmax(logits.detach(), 1)
        return -(targets * torch.log_softmax(logits, 1)).sum(1).mean()


METHODS = {
    "early_learning": (
        EarlyLearningLoop,
        lambda classes: keras_reg.callbacks.EarlyLearningRegularization(SAMPLES, classes),
    ),
    "self_distillation": (
        SelfDistillationLoop,
        lambda classes: keras_reg.callbacks.ProgressiveSelfDistillation(SAMPLES, classes, epochs=EPOCHS),
    ),
}


def data(steps: int, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = steps * BATCH
    x = rng.normal(size=(rows, 64)).astype("float32")
    return x, rng.integers(0, num_classes, rows).astype("int32"), np.resize(rng.permutation(SAMPLES), rows)


def keras_run(callback: keras.callbacks.Callback | None, steps: int, num_classes: int) -> float:
    """Returns the seconds per step in the last epoch of `fit`."""
    keras.utils.set_random_seed(0)
    model = mlp(num_classes)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compiled = {"jit_compile": keras.backend.backend() != "torch"}
    model.compile(keras.optimizers.SGD(0.01), loss, **compiled)
    x, y, ids = data(steps, num_classes)
    clock = Clock(steps)
    callbacks = [clock] if callback is None else [clock, callback]
    inputs = {"image": x, "sample_id": ids.astype("int32")}
    model.fit(inputs, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=callbacks)
    return clock.per_step[0]


def torch_run(loop: PlainLoop, steps: int, num_classes: int) -> float:
    """Returns the seconds per step in the last epoch of a loop that contains nothing but the training steps."""
    keras.utils.set_random_seed(0)
    weights = [torch.tensor(keras.ops.convert_to_numpy(w)) for w in mlp(num_classes).weights]
    layers: list[torch.nn.Module] = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        layer = torch.nn.Linear(*kernel.shape)
        layer.weight.data, layer.bias.data = kernel.T.contiguous(), bias
        layers += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    x, y, ids = (torch.tensor(array) for array in data(steps, num_classes))
    y = y.long()
    for epoch in range(EPOCHS):
        for step in range(steps):
            if step == WARM_UP:
                start = time.perf_counter()
            rows = slice(step * BATCH, (step + 1) * BATCH)
            optimizer.zero_grad()
            loss = loop.loss(model(x[rows]), y[rows], ids[rows], epoch)
            loss.backward()
            optimizer.step()
    return (time.perf_counter() - start) / (steps - WARM_UP)


def check(name: str, num_classes: int) -> None:
    loop, callback = (make(num_classes) for make in METHODS[name])
    torch_run(loop, 2 * WARM_UP, num_classes)
    keras_run(callback, 2 * WARM_UP, num_classes)
    np.testing.assert_allclose(callback.memory.numpy(), loop.table.numpy(), rtol=1e-3, atol=1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=440, help="steps per epoch; the first 40 are not measured")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--classes", default="10,100")
    arguments = parser.parse_args()
    print("| method | classes | loop | plain (ms/step) | with the method | its cost (ms/step) | range |")
    print("|---|---|---|---|---|---|---|")
    for name, (loop, callback) in METHODS.items():
        for classes in map(int, arguments.classes.split(",")):
            check(name, classes)
            rounds = [
                [
                    torch_run(PlainLoop(classes), arguments.steps, classes),
                    torch_run(loop(classes), arguments.steps, classes),
                    keras_run(None, arguments.steps, classes),
                    keras_run(callback(classes), arguments.steps, classes),
                ]
                for _ in range(arguments.rounds)
            ]
            times = 1e3 * np.array(rounds)
            sides = {"PyTorch by hand": times[:, :2], f"fit, {keras.backend.backend()}": times[:, 2:]}
            for side, (plain, method) in ((side, part.T) for side, part in sides.items()):
                cost = method - plain
                print(
                    f"| {name} | {classes} | {side} | {np.median(plain):.2f} | {np.median(method):.2f} "
                    f"| {np.median(cost):.2f} | {cost.min():.2f} to {cost.max():.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
