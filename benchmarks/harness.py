"""What the benchmarks share: rows with floors and goals, candidates in turns, the page."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: the median of some rounds, and what it should be."""

    part: str
    name: str
    unit: str
    median: float
    least: float
    most: float
    floor: float | None = None
    goal: float | None = None
    note: str = ""
    more_is_better: bool = False
    detail: Mapping[str, Any] = field(default_factory=dict)  # for the JSON alone

    @property
    def verdict(self) -> str:
        """Whether the figure reaches its goal or its floor, or neither."""
        if self.floor is None or self.goal is None:
            return ""
        sign = -1 if self.more_is_better else 1
        if sign * self.median <= sign * self.goal:
            return "PASS, goal reached"
        reaches_floor = sign * self.median <= sign * self.floor
        return "PASS, short of the goal" if reaches_floor else "SHORT of the floor"


def rounds_of(candidates: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Let candidates take turns, each once before the rounds that count."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(-1, rounds):
        for name, measure in candidates.items():
            taken = measure()
            if number >= 0:
                seconds[name].append(taken)
    return seconds


def row(part: str, name: str, unit: str, values: Sequence[float], **more: Any) -> Row:
    """Return the row of some rounds."""
    return Row(
        part=part,
        name=name,
        unit=unit,
        median=statistics.median(values),
        least=min(values),
        most=max(values),
        **more,
    )


def run(
    title: str,
    about: str | None,
    parts: Mapping[str, Callable[[bool], list[Row]]],
    optional: Sequence[str],
    argv: Sequence[str],
) -> None:
    """Measure the parts asked for, print the rows, and save them if asked.

    Args:
        title: Of the page.
        about: The help.
        parts: By name, what measures one; told whether to be quick.
        optional: Peers that may be missing.
        argv: The command line.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="all if none is named")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and items; too few for a claim"
    )
    parser.add_argument(
        "--save",
        metavar="NAME",
        help="write results/NAME.json and results/NAME.md; parts that are not measured stay as they are",
    )
    options = parser.parse_args(argv)
    rows: list[Row] = []
    for name in options.parts or parts:
        print(f"measuring {name} ...", file=sys.stderr)
        rows += parts[name](options.quick)
    print(_page(title, rows, optional, quick=options.quick))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{options.save}.json"
        facts = {**_machine(), "quick": options.quick}
        rows = _with_kept(rows, file, facts, list(parts))
        saved = [{**asdict(each), "verdict": each.verdict} for each in rows]
        file.write_text(json.dumps({**facts, "rows": saved}, indent=1) + "\n", encoding="utf-8")
        text = _page(title, rows, optional, quick=options.quick)
        file.with_suffix(".md").write_text(text, encoding="utf-8")


def _with_kept(
    rows: Sequence[Row], file: Path, facts: Mapping[str, Any], parts: Sequence[str]
) -> list[Row]:
    """Return the rows with those of the parts that were not measured now, if the file has them of such a machine."""
    measured = {each.part for each in rows}
    kept: list[Row] = []
    if file.exists():
        before = json.loads(file.read_text(encoding="utf-8"))
        if all(before.get(name) == value for name, value in facts.items()):
            kept = [
                Row(**{name: value for name, value in each.items() if name != "verdict"})
                for each in before["rows"]
                if each["part"] not in measured
            ]
    return sorted([*rows, *kept], key=lambda each: parts.index(each.part))


TABLE_HEAD = ("| | median | unit | floor | goal | | |", "|---|---|---|---|---|---|---|")


def _page(title: str, rows: Sequence[Row], optional: Sequence[str], *, quick: bool) -> str:
    """Return the rows as a Markdown page."""
    machine = _machine()
    absent = [name for name in optional if not is_installed(name)]
    lines = [
        f"# {title}",
        "",
        (
            f"{machine['cores']} cores, {machine['system']}, {machine['python']}. Medians; least and "
            "most in brackets. Ratios of rows of one run are what counts: the machine's speed changes."
        ),
    ]
    if quick:
        lines += ["", "A quick run: too few rounds for a claim."]
    if absent:
        lines += ["", f"Not installed, so not measured: {', '.join(absent)}."]
    for part in dict.fromkeys(each.part for each in rows):
        lines += ["", f"## {part.capitalize()}", "", *TABLE_HEAD]
        lines += [_line(each) for each in rows if each.part == part]
    return "\n".join(lines) + "\n"


def _line(each: Row) -> str:
    spread = "" if each.least == each.most else f" ({_number(each.least)} to {_number(each.most)})"
    wanted = ["" if number is None else _number(number) for number in (each.floor, each.goal)]
    cells = [
        each.name,
        f"{_number(each.median)}{spread}",
        each.unit,
        *wanted,
        each.verdict,
        each.note,
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _machine() -> dict[str, Any]:
    """Say what the figures depend on, and nothing that names the machine."""
    return {
        "cores": cores(),
        "system": platform.system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def is_installed(name: str) -> bool:
    return find_spec(name) is not None
