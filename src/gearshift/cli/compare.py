"""`gearshift compare TARGET [INPUT...]`: the same items on every engine, side by side.

Target and inputs are read as `gearshift run` reads them. Where standard output has the table
it has nothing else: what the function prints goes to standard error then, as does what is
said before and during the runs.

Status: 0 all well; 1 results differ; 2 wrong use; 130 Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli import settings
from gearshift.cli.asked import input_options, items_at_hand
from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from gearshift.trials import Comparison

__all__ = ["compare"]

_WIDEST = 120  # longer lines of text are hard to read

_EXAMPLES = """\b
Examples:
  gearshift compare hashing.py:digest --glob 'photos/**/*.jpg'
  gearshift compare crunch.py:crunch 100000 200000 300000 --on serial,threads:4,processes
  gearshift compare convert.py:row --csv orders.csv --export md -o engines.md

Every run is a real one: what the function does, it does each time. How often each item will
be run at most is said first. `gearshift run --help` has what TARGET and INPUT may be.

Exit status: 0 all well, 1 results differ between engines, 2 wrong use, 130 Ctrl-C.
"""


@click.command(epilog=_EXAMPLES)
@click.argument("target")
@click.argument("arguments", metavar="[INPUT]...", nargs=-1)
@input_options
@click.option(
    "--on",
    "engines",
    multiple=True,
    metavar="ENGINES",
    help="Such as serial,threads:8; all that can run it if not said.",
)
@click.option("--workers", type=int, metavar="N", help="Tasks at once, where --on does not say.")
@click.option("--seed", type=int, metavar="N", help="For gearshift.item_seed() in the function.")
@click.option(
    "--rounds",
    type=int,
    default=5,
    show_default=True,
    metavar="N",
    help="How often each engine runs the items at most.",
)
@click.option(
    "--seconds",
    type=settings.seconds_or_none,
    default="30s",
    show_default=True,
    metavar="TIME",
    help="Begin no further round that would end later.",
)
@click.option(
    "--export", "form", type=click.Choice(["md", "json"]), help="Markdown or JSON, not a table."
)
@click.option("-o", "--output", metavar="FILE", help="Instead of standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing before and during the runs.")
def compare(target: str, **given: Any) -> None:
    """Run TARGET over every INPUT on every engine, for real, and say which one to use.

    TARGET is package.module:function or path/to/file.py:function. INPUT is an item as it
    stands; - reads items from standard input, one a line.
    """
    from gearshift.cli.output import (
        open_sink,
        plug_closed_streams,
        refuse_input_as_output,
    )

    plug_closed_streams()
    items, star, files = _items(given)
    refuse_input_as_output(given["output"], files)
    form = _form(given["form"], given["output"])
    width = _width() if form is None and given["output"] in {None, "-"} else None
    with open_sink(given["output"]) as sink:
        whole = False
        try:
            comparison = _compared(target, items, given, star=star)
            sink.write(_text(comparison, form, width).encode("utf-8", "backslashreplace"))
            whole = True
        finally:
            sink.close(whole=whole)
    click.get_current_context().exit(0 if comparison.agree else 1)


def _items(given: dict[str, Any]) -> tuple[list[Any], bool, tuple[str, ...]]:
    """Return the items, whether they are starred, and the files that they come from."""
    from gearshift._api.entrants import MOST_ITEMS

    cure = (
        "and every engine is to run them all: give fewer, "
        "such as by: head -n 1000 FILE | gearshift compare TARGET -"
    )
    return items_at_hand(given, MOST_ITEMS, cure)


def _compared(target: str, items: list[Any], given: dict[str, Any], *, star: bool) -> Comparison:
    """Run it on all engines.

    Raises:
        WrongUse: There is no such function or engine, or there are no items.
    """
    # All of ours first: what the target's folder holds may be called like something of these.
    from gearshift._api.compare import compare as compare_engines
    from gearshift.cli.target import load_target

    function = load_target(target)
    names = [name.strip() for text in given["engines"] for name in text.split(",")]
    quiet = given["quiet"]
    try:
        return compare_engines(
            function,
            items,
            on=[name for name in names if name] or None,
            workers=given["workers"],
            star=star,
            seed=given["seed"],
            rounds=given["rounds"],
            seconds=given["seconds"],
            say=False if quiet else _say,
            status=None if quiet else _show_status,
        )
    except (TypeError, ValueError) as error:
        raise WrongUse(str(error)) from None
    finally:
        _show_status("")


def _form(wanted: str | None, output: str | None) -> str | None:
    """Return "md", "json", or None for a plain table; a file's ending says it, too."""
    ending = os.path.splitext(output or "")[1].lower()  # noqa: PTH122 - text
    return wanted or {".md": "md", ".json": "json"}.get(ending)


def _width() -> int | None:
    """Return the columns of the terminal that standard output is, or None where it is none."""
    if not sys.stdout.isatty():
        return None
    return min(shutil.get_terminal_size().columns, _WIDEST)


def _text(comparison: Comparison, form: str | None, width: int | None) -> str:
    """Return what is written.

    Args:
        comparison: The finished comparison.
        form: "md", "json", or None for a table.
        width: Columns of the terminal that it goes to, or None.
    """
    from gearshift.reports.comparison import as_json, as_markdown, show_comparison

    if form is not None:
        return as_json(comparison) if form == "json" else as_markdown(comparison)
    if width is None:
        return f"{comparison}\n"
    from io import StringIO

    from rich.console import Console

    file = StringIO()
    console = Console(file=file, force_terminal=True, width=width, highlight=False, markup=False)
    show_comparison(comparison, console)
    return file.getvalue()


def _say(text: str) -> None:
    if sys.stderr.isatty():
        width = min(shutil.get_terminal_size().columns, _WIDEST)
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    click.echo(text, err=True)


def _show_status(words: str) -> None:
    """Replace the status line; only a terminal has one."""
    if sys.stderr.isatty():
        # By hand: rich's status line has a thread, beside which workers could not be forked.
        sys.stderr.write(f"\r\x1b[2K{words[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()
