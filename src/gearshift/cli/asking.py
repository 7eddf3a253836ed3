"""What commands that run a function over inputs have in common: the options that name the inputs."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Asked", "asked_for", "input_options"]

F = TypeVar("F", bound="Callable[..., Any]")

MOST_ITEMS = 1_000_000  # that are held at once

_OPTIONS = (
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


def input_options(command: F) -> F:
    """Add the options that name inputs, in the order in which the help lists them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Asked(NamedTuple):
    """A function and all its items.

    Attributes:
        function: What the target names.
        items: All of them, at hand.
        star: Each item is a dict of keywords or a tuple of one argument.
    """

    function: Callable[..., Any]
    items: list[Any]
    star: bool


def asked_for(target: str, given: dict[str, Any]) -> Asked:
    """Return the function and the items that a command line names; takes its options out of `given`.

    Raises:
        WrongUse: There is no such function, nothing to read, or more than can be held.
    """
    from gearshift.cli.inputs import gather
    from gearshift.cli.target import load_target

    names = ("arguments", "lists", "patterns", "jsons", "tables", "strict")
    ours = {name: given.pop(name) for name in names}
    inputs = gather(ours.pop("arguments"), ours.pop("lists"), ours.pop("patterns"), **ours)
    items = list(islice(inputs.items, MOST_ITEMS + 1))
    if len(items) > MOST_ITEMS:
        raise WrongUse(
            f"more than {MOST_ITEMS:,} inputs: give fewer, they all have to be known at once."
        )
    return Asked(load_target(target), items, inputs.star)
