"""A finished tour: its values, and the table that shows them in a terminal.

Apart from the job, which measures and finds the words: here nothing is computed or
decided. A row has several lines, so that the call and its reason have nearly all of
the terminal's width, and a call stays whole at 80 columns.

rich is imported when a table is shown: a job that fills in the values does without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Group", "Machine", "Row", "Tour", "show_tour"]

_SMALL = 0.1  # below it two digits behind the point may be none that matter
_LEAST_WIDTH = 20  # columns for words: in a narrower window the terminal itself breaks the lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the tour was measured on.

    Attributes:
        python: Version of Python, such as "3.11.7".
        implementation: Which Python, such as "CPython".
        gil: Whether its threads take turns.
        cores: Cores that this process may use.
        system: Operating system and processor family.
    """

    python: str
    implementation: str
    gil: bool
    cores: int
    system: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured call.

    Attributes:
        call: The call, to paste after the group's setup.
        seconds: How long it took.
        speedup: Seconds of the group's first row over these.
        engine: Name of the engine that ran it.
        workers: Workers of that engine.
        reasons: Why it took that long, a sentence each.
        chapter: What the chapter says of it, or "".
    """

    call: str
    seconds: float
    speedup: float
    engine: str
    workers: int
    reasons: tuple[str, ...]
    chapter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Calls that do the same work.

    Attributes:
        title: What the work is.
        setup: Lines to paste before a call of the group.
        rows: The calls; the first one is what the others are compared with.
        notes: How it was measured, where that is not plain.
        wrong: Results that are not what they must be, a sentence each.
    """

    title: str
    setup: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """A finished tour.

    Attributes:
        machine: What it was measured on.
        quick: It was the short one.
        groups: The groups, in the chapter's order.
        seconds: How long all of it took.
    """

    machine: Machine
    quick: bool
    groups: tuple[Group, ...]
    seconds: float


def show_tour(tour: Tour, console: Console) -> None:
    """Print a tour as one table: a ruled heading per group, a row of lines per call.

    Args:
        tour: The finished tour.
        console: Where to; its width and colours are kept to.
    """
    from rich.rule import Rule
    from rich.text import Text

    command = "gearshift tour --quick" if tour.quick else "gearshift tour"
    _print(console, f'{command}: "Speed It Up!", measured here in {tour.seconds:.0f} s', "bold")
    _print(console, _machine(tour.machine))
    _print(console, "To paste a call: `import gearshift as gs`, then the lines under its heading.")
    console.print()
    _print(console, f"{'seconds':>7}  {'speed-up':>8}  call, and why it took so long", "bold")
    for group in tour.groups:
        console.print(Rule(Text(group.title, "bold"), align="left", style="dim"))
        for line in group.setup:
            _print(console, line, "cyan")
        for note in group.notes:
            _print(console, f"({note})", "dim")
        for row in group.rows:
            _print_row(console, row)
        for sentence in group.wrong:
            _print(console, f"WRONG: {sentence}", "bold red")
        console.print()


def _machine(machine: Machine) -> str:
    """Return the machine's facts as one line."""
    lock = "with the GIL" if machine.gil else "without a GIL"
    cores = "1 core" if machine.cores == 1 else f"{machine.cores} cores"
    return f"{machine.implementation} {machine.python} {lock}, {cores} usable, {machine.system}"


def _print_row(console: Console, row: Row) -> None:
    """Print a row: numbers and call, then why and the chapter's figure, beside the numbers."""
    numbers = f"{_number(row.seconds, 2):>7}  {_number(row.speedup, 1):>7}x  "
    _print(console, row.call, "bold", first=numbers)
    for reason in row.reasons:
        _print(console, reason, first=" " * len(numbers))
    if row.chapter:
        _print(console, f"The chapter: {row.chapter}", "italic", first=" " * len(numbers))


def _number(value: float, digits: int) -> str:
    """Return a number with so many digits behind the point, and a small one with two that matter."""
    return f"{value:.{digits}f}" if value >= _SMALL else f"{value:.2g}"


def _print(console: Console, line: str, style: str = "", *, first: str = "") -> None:
    """Print a line, continued under its own beginning where the terminal ends.

    By hand and not in a rich table: that one fills every line with blanks, which then
    stand in files and in what people copy.
    """
    from rich.text import Text

    line = _encodable(line, console.encoding)
    indent = " " * len(first)
    width = max(console.width - len(first), _LEAST_WIDTH)
    hang = "  " if line.startswith("- ") else ""
    for place, part in enumerate(wrap(line, width, subsequent_indent=hang, break_on_hyphens=False)):
        console.print(Text.assemble(indent if place else first, (part, style)), soft_wrap=True)


def _encodable(line: str, encoding: str) -> str:
    """Return a line that a terminal or file with this encoding can hold."""
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        return line.replace("\N{MICRO SIGN}", "u").encode(encoding, "replace").decode(encoding)
    return line
