"""The options that say where the items come from: the same for every command that has items.

Apart from `inputs`, which reads them and is imported when it is needed, so that this needs nothing but click.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["input_options", "items_at_hand"]

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


def items_at_hand(
    given: Mapping[str, Any], most: int, cure: str
) -> tuple[list[Any], bool, tuple[str, ...]]:
    """Return all the items that the options name, whether they are starred, and the files that they come from.

    Args:
        given: The options, and `arguments`.
        most: How many there may be.
        cure: What to do where there are more.

    Raises:
        WrongUse: There are too many, or they cannot be read.
    """
    from gearshift.cli.inputs import gather

    inputs = gather(
        given["arguments"],
        given["lists"],
        given["patterns"],
        jsons=given["jsons"],
        tables=given["tables"],
        strict=given["strict"],
    )
    items = list(islice(inputs.items, most + 1))
    if len(items) > most:
        raise WrongUse(f"there are more than {most:,} items, {cure}")
    return items, inputs.star, inputs.files
