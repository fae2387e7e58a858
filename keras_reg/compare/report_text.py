"""The words that pictures, page and terminal share."""

from __future__ import annotations

from keras_reg.compare.results import Comparison


def display_name(label: str, lines: bool = False) -> str:
    """The name of a variant for readers: `early_learning (strength=1, momentum=0.9)`."""
    name, *parameters = label.split(":")
    name = name.replace("_", " ")
    if not parameters:
        return name
    return f"{name}{chr(10) if lines else ' '}({', '.join(parameters)})"


def describe_noise(comparison: Comparison) -> str:
    """What was done to the labels, in a few words."""
    share = comparison.facts["wrong_labels_train"]
    kind = comparison.settings.noise.partition(":")[0]
    if kind == "none":
        return "labels as they are"
    name = f" ({kind})" if kind in ("symmetric", "asymmetric") else ""
    return f"{100 * share:.0f} % of the training labels wrong{name}"


def how_measured(comparison: Comparison) -> list[str]:
    """How the figures came about, one statement each."""
    facts, settings = comparison.facts, comparison.settings
    seeds = len(settings.seeds)
    interval = (
        f"Figures are means over {seeds} seeds with Student's 95 % interval; a gain is the mean of the differences "
        "to plain training with the same seed, which has the same data, the same wrong labels and the same initial "
        "weights."
        if seeds > 1
        else "There is one seed, so there are no intervals, and small differences mean nothing."
    )
    return [
        f"{facts['train']:,} training samples, {facts['validation']:,} for validation, {facts['test']:,} for the "
        f"test. Of the training labels {100 * facts['wrong_labels_train']:.1f} % are wrong, of the validation labels "
        f"{100 * facts['wrong_labels_validation']:.1f} %; the test labels are those of the data set, and nothing is "
        "chosen on them.",
        "A seed decides the split, the wrong labels, the initial weights and the order of the samples.",
        "“last” is the last epoch; “chosen” is the epoch with the highest accuracy on the noisy validation split "
        "(the first, if several are as good), which is what early stopping without clean labels could have had.",
        interval,
        "Calibration error: expected calibration error of the most probable class in 10 bins of equal width, each "
        "with its upper edge. NLL: mean negative log-likelihood in nats.",
        "Step time: how long an epoch trains, without scoring, over the same for plain training with the same seed "
        "(lower quartile of the epochs after the first, which other load on the machine disturbs little); median over "
        "seeds. Extra memory: computed, not measured.",
        "Wrong labels found and false alarms: of the wrong (right) training labels, the share that the method "
        "suspects; no method sees which labels are wrong.",
    ]
