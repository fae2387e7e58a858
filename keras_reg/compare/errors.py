"""The error for an invalid argument, file or dataset. The command line prints one line and exits with code 2."""

from __future__ import annotations


class InputError(ValueError):
    """Reports an argument, file or dataset that cannot be used. The message says what to change."""


def format_error(error: BaseException) -> str:
    """Returns the message of an error on one line, or the name of its class if it has no message."""
    return " ".join(str(error).split()) or type(error).__name__
