"""What the package warns of. For every room."""


class NoEffectWarning(UserWarning):
    """A method was switched on and changed nothing, for example because no sample of an epoch had an id."""
