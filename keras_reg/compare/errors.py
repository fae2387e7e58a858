"""The one error that a wrong argument, file or data set raises: one line, exit code 2 on the command line."""

from __future__ import annotations


class InputError(ValueError):
    """What the caller gave cannot be used; the message says what, and what to do."""


def one_line(error: BaseException) -> str:
    """The message of an error on one line, with its class where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
