"""The options that say where the items come from: the same for every command that has items.

Apart from `inputs`, which reads them, so that this needs nothing but click.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["input_options"]

_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--lines",
        "lists",
        metavar="FILE",
        multiple=True,
        help="An item a line; - is standard input.",
    ),
    click.option(
        "--jsonl",
        "jsons",
        metavar="FILE",
        multiple=True,
        help="A JSON value a line; an object is keywords.",
    ),
    click.option(
        "--csv",
        "tables",
        metavar="FILE",
        multiple=True,
        help="A row is keywords, named by the header.",
    ),
    click.option(
        "--strict", is_flag=True, help="Stop at a line that cannot be read, with exit status 2."
    ),
    click.option(
        "--glob",
        "patterns",
        metavar="PATTERN",
        multiple=True,
        help="Files, sorted; ** for any folders.",
    ),
)


def input_options(command: Any) -> Any:
    """Add the options to a command; it gets `lists`, `jsons`, `tables`, `strict` and `patterns`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
