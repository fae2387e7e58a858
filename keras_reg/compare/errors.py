"""The error for an invalid argument, file or data set. On the command line, it is one line with exit code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Reports an argument, file or data set that cannot be used. The message says what to change."""


def format_error(error: BaseException) -> str:
    """Returns the message of an error on one line, or the name of its class if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
