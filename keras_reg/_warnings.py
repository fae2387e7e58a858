"""Warnings of the package."""


class NoEffectWarning(UserWarning):
    """Warns that a method was switched on and changed nothing, for example because no sample of an epoch had an id."""
