"""Warnings of the package."""


class NoEffectWarning(UserWarning):
    """Warns that a method was active but had no effect, for example because no sample of an epoch had an id."""
