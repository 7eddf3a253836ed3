"""What the command line refuses, and in which words.

Apart from the rest because every part of the command refuses something. A problem is
printed as one message without a traceback; its exit status says whose fault it is.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Broken", "WrongUse", "did_you_mean", "why"]


class WrongUse(click.ClickException):
    """The command cannot begin as it was written: exit status 2."""

    exit_code = 2


class Broken(click.ClickException):
    """The run began and could not end: exit status 1."""

    exit_code = 1


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return a sentence with the closest of `names`, a space before it, or nothing."""
    close = get_close_matches(name, sorted(names), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def why(error: OSError) -> str:
    """Return what the system said, without the number and the path."""
    return error.strerror or str(error)
