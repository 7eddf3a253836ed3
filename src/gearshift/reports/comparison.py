"""A finished comparison -> a terminal's table, Markdown, JSON.

Only text: nothing is measured or decided here. rich is imported where a terminal is written
to, and nowhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from gearshift.trials import Comparison

__all__ = ["as_json", "as_markdown", "show_comparison"]


def show_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison; the trial to use is bold, results that differ are red.

    Args:
        comparison: The finished comparison.
        console: Where to; its width and colours are kept to.
    """
    from rich.table import Table
    from rich.text import Text

    console.print(Text(comparison.heading()))
    console.print()
    heads, *rows = comparison.table()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for trial, row in zip(comparison.trials, rows, strict=True):
        style = "bold" if trial.on == comparison.best else ""
        table.add_row(*map(Text, row), style="bold red" if trial.agrees is False else style)
    console.print(table)
    console.print()
    for line in comparison.lines():
        is_wrong = line.startswith("RESULTS DIFFER")
        console.print(Text(line, "bold red" if is_wrong else ""))


def as_markdown(comparison: Comparison) -> str:
    """Return a comparison as a Markdown table, with its words as a list."""
    heads, *rows = comparison.table()
    rule = [":--", *["--:"] * (len(heads) - 1)]
    best = [
        tuple(f"**{cell}**" for cell in row) if trial.on == comparison.best else row
        for trial, row in zip(comparison.trials, rows, strict=True)
    ]
    table = [_row(heads), _row(rule), *map(_row, best)]
    words = [f"- {_one_line(line)}" for line in comparison.lines()]
    return "\n".join([_one_line(comparison.heading()), "", *table, "", *words, ""])


def as_json(comparison: Comparison) -> str:
    """Return a comparison as JSON, indented, with a line end."""
    return f"{json.dumps(comparison.as_dict(), indent=2)}\n"


def _row(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _one_line(text: str) -> str:
    """Return text that Markdown takes for nothing else."""
    return " ".join(text.split()).replace("<", "&lt;").replace("_", "\\_").replace("*", "\\*")
