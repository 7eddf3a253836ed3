"""`gearshift turtle`: the options, and the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from gearshift.jobs.turtle import Standing

__all__ = ["turtle"]


@click.command(short_help="Drive a turtle with the arrow keys, while numbers are factored.")
@click.option(
    "--speed",
    type=click.IntRange(0, 10),
    default=3,
    show_default=True,
    help="Of the turtle, from 1 (slow) to 10; 0 jumps.",
)
@click.option("--width", type=click.IntRange(min=100), default=800, show_default=True)
@click.option("--height", type=click.IntRange(min=100), default=600, show_default=True)
@click.option("--print", "is_printed", is_flag=True, help="Print where it ended, as JSON.")
def turtle(*, speed: int, width: int, height: int, is_printed: bool) -> None:
    """Drive a turtle with the arrow keys: a book chapter's example of event-driven programs.

    Up moves it by 50, Left and Right turn it by 30 degrees. "p" factors 400 numbers in the
    background, with the progress in the title bar; the turtle moves meanwhile. "q", or
    closing the window, ends it.

    Exits with 2 if no window can be opened, for want of a display or of tkinter.
    """
    standing = _drive(speed, width, height)
    if is_printed:
        import dataclasses
        import json

        click.echo(json.dumps(dataclasses.asdict(standing)))


def _drive(speed: int, width: int, height: int) -> Standing:
    """Open the window, and wait until it is closed.

    Raises:
        WrongUse: It cannot be opened.
    """
    from gearshift.jobs.turtle import NoWindowError, drive

    try:
        return drive(speed=speed, width=width, height=height)
    except NoWindowError as error:
        raise WrongUse(str(error)) from None
