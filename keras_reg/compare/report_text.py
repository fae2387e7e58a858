"""Texts that the pictures and the page share."""

from __future__ import annotations

from keras_reg.compare.results import Comparison


def format_label(label: str, lines: bool = False) -> str:
    """Returns the name of a variant for readers, such as `early learning (strength=1, momentum=0.9)`."""
    name, *parameters = label.split(":")
    name = name.replace("_", " ")
    if not parameters:
        return name
    return f"{name}{chr(10) if lines else ' '}({', '.join(parameters)})"


def describe_noise(comparison: Comparison) -> str:
    """Describes the label noise in a few words."""
    share = comparison.facts["wrong_labels_train"]
    kind = comparison.settings.noise.partition(":")[0]
    if kind == "none":
        return "no label noise"
    name = f" ({kind})" if kind in ("symmetric", "asymmetric") else ""
    return f"{100 * share:.0f} % wrong training labels{name}"


def describe_measurement(comparison: Comparison) -> list[str]:
    """Describes how the figures were computed, in one paragraph per topic."""
    facts, settings = comparison.facts, comparison.settings
    seeds = len(settings.seeds)
    interval = (
        f"Figures are means over {seeds} seeds with Student's 95 % interval. A gain is the mean of the differences "
        "from plain training with the same seed, which has the same data, wrong labels and initial weights."
        if seeds > 1
        else "There is one seed, so there are no intervals, and small differences are not significant."
    )
    return [
        "“plain” is training without a method, with cross-entropy on the same labels.",
        f"There are {facts['train']:,} samples for training, {facts['validation']:,} for validation and "
        f"{facts['test']:,} for the test. {100 * facts['wrong_labels_train']:.1f} % of the training labels and "
        f"{100 * facts['wrong_labels_validation']:.1f} % of the validation labels are wrong. The test labels are those "
        "of the dataset, and nothing is selected on them.",
        "A seed determines the split, the wrong labels, the initial weights and the order of the samples.",
        "“last” is the last epoch. “chosen” is the epoch with the highest accuracy on the noisy validation split, or "
        "the first of several such epochs. Early stopping without clean labels could have selected it.",
        interval,
        "Calibration error is the expected calibration error of the most probable class in 10 bins of equal width, "
        "which include their upper edges. NLL is the mean negative log-likelihood in nats.",
        "Step time is the training time of an epoch, without scoring, divided by that of plain training with the same "
        "seed. The time of a run is the lower quartile of the epochs after the first, since other load on the machine "
        "affects it little. The table shows the median over seeds. Extra memory is computed and not measured.",
        "“Wrong labels found” is the share of the wrong training labels that the method suspects. “False alarms” is "
        "the share of the correct training labels that it suspects. No method knows which labels are wrong.",
    ]
