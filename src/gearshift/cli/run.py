"""`gearshift run TARGET [INPUT...]`: one function over many inputs, from the shell.

Puts the parts together: target (the function), inputs (the items), desk and records
(outcome to line), output (lines to their place), bar (how far it is), interrupts. An
outcome that the run has given out is written exactly once, whatever comes in between.

Status: 0 all well; 1 items failed, or the run broke; 2 wrong use; 130 Ctrl-C, 143 SIGTERM,
141 when the reader of standard output went away, as for other tools.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli import settings
from gearshift.cli.interrupts import Interrupts, leave
from gearshift.cli.problems import Broken, WrongUse, why

if TYPE_CHECKING:
    from gearshift.cli.bar import Bar
    from gearshift.cli.course import End
    from gearshift.cli.inputs import Inputs
    from gearshift.cli.output import Sink

__all__ = ["run"]

_WIDEST = 100  # longer lines of text are hard to read
_READER_GONE = 141  # 128 + SIGPIPE

_EXAMPLES = """\b
Examples:
  gearshift run hashing.py:digest --glob 'photos/**/*.jpg' -o digests.jsonl
  gearshift run mypackage.tools:fetch --lines urls.txt --retries 3 --limit 9/s
  find . -name '*.log' | gearshift run scan.py:errors - | jq .value

Items are text (str), one call each: arguments first, then lines, then files. An item
is written as {"item": ..., "value": ...}, or {"item": ..., "error": {"type": ...,
"message": ..., "attempts": ...}} where it failed. What the function prints goes to
standard error. Exit status: 0 all well, 1 some items failed, 2 wrong use, 130 Ctrl-C.
"""


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for, beside the options of the run."""

    target: str
    arguments: tuple[str, ...]
    lists: tuple[str, ...]
    patterns: tuple[str, ...]
    output: str | None
    bare: bool
    fail_fast: bool
    quiet: bool


@dataclass(frozen=True, slots=True)
class _Screen:
    """What standard output and error are, before anything is redirected.

    Attributes:
        shows_bar: A person watches standard error.
        is_shared: The lines go to the same terminal.
    """

    shows_bar: bool
    is_shared: bool

    @classmethod
    def of(cls, request: _Request) -> _Screen:
        """Look at them; rich is imported only where there is a terminal."""
        if request.quiet or not sys.stderr.isatty():
            return cls(shows_bar=False, is_shared=False)
        from gearshift.cli.bar import is_same_terminal, is_terminal

        to_stdout = request.output in {None, "-"}
        return cls(shows_bar=is_terminal(), is_shared=to_stdout and is_same_terminal())

    def bar(self, total: int | None) -> Bar | None:
        """Return a bar, not drawn yet, where somebody would see it."""
        if not self.shows_bar:
            return None
        from gearshift.cli.bar import Bar

        return Bar(total)


@click.command(epilog=_EXAMPLES)
@click.argument("target")
@click.argument("arguments", metavar="[INPUT]...", nargs=-1)
@click.option(
    "--lines", "lists", metavar="FILE", multiple=True, help="An item a line; - is standard input."
)
@click.option(
    "--glob",
    "patterns",
    metavar="PATTERN",
    multiple=True,
    help="Files, sorted; ** for any folders.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Instead of standard output; there only once it is whole.",
)
@click.option(
    "--values", "bare", is_flag=True, help="The values alone; failures go to standard error."
)
@click.option("--unordered", is_flag=True, help="Each line as soon as it is ready.")
@click.option(
    "--on",
    default="auto",
    show_default=True,
    metavar="ENGINE",
    help="serial, threads, processes or asyncio; auto chooses.",
)
@click.option(
    "--workers", type=int, metavar="N", help="Tasks at once, instead of what the engine finds best."
)
@click.option("--chunksize", type=int, metavar="N", help="Items sent together.")
@click.option(
    "--buffersize", type=int, metavar="N", help="Items between reading and writing at most."
)
@click.option(
    "--retries", type=int, default=0, metavar="N", help="Try a failed item again, up to N times."
)
@click.option(
    "--task-timeout",
    "--timeout",
    type=settings.seconds,
    metavar="TIME",
    help="For each item: 90, 1.5s, 10m.",
)
@click.option(
    "--limit", type=settings.rate, metavar="RATE", help="Starts in a time: 100/s, 100/10s, 5/m."
)
@click.option("--seed", type=int, metavar="N", help="For gearshift.item_seed() in the function.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, and no paragraph at the end.")
def run(
    target: str,
    arguments: tuple[str, ...],
    lists: tuple[str, ...],
    patterns: tuple[str, ...],
    output: str | None,
    *,
    bare: bool,
    fail_fast: bool,
    quiet: bool,
    unordered: bool,
    **options: Any,
) -> None:
    """Run TARGET over every INPUT and write a JSON line for each.

    TARGET is package.module:function or path/to/file.py:function. INPUT is an item as it
    stands; - reads items from standard input, one a line.
    """
    request = _Request(target, arguments, lists, patterns, output, bare, fail_fast, quiet)
    with Interrupts() as interrupts:
        try:
            status, is_over = _execute(request, {**options, "ordered": not unordered}, interrupts)
        except KeyboardInterrupt:
            status, is_over = interrupts.status, False
        if not is_over:
            leave(status)
    click.get_current_context().exit(status)


def _execute(
    request: _Request, options: dict[str, Any], interrupts: Interrupts
) -> tuple[int, bool]:
    """Do what was asked for; return the exit status, and whether no task runs any more.

    Raises:
        ClickException: It could not begin, or its output could not be put in place.
    """
    from gearshift.cli.inputs import gather
    from gearshift.cli.output import open_sink, plug_closed_streams, refuse_input_as_output

    plug_closed_streams()
    inputs = gather(request.arguments, request.lists, request.patterns)
    refuse_input_as_output(request.output, inputs.files)
    screen = _Screen.of(request)
    whole = False
    with open_sink(request.output) as sink:
        try:
            end = _run_through(request, options, inputs, sink, screen, interrupts)
            whole = end.cause == "whole"
        finally:
            note = _closed(sink, request, whole=whole)
    if not request.quiet and end.cause != "reader gone" and not isinstance(end.problem, WrongUse):
        _conclude(end, interrupts, inputs.total, bare=request.bare)
    if note:
        click.echo(note, err=True)
    if end.problem is not None:
        end.problem.show()
        return end.problem.exit_code, end.is_over
    by_cause = {"reader gone": _READER_GONE, "interrupted": interrupts.status}
    return by_cause.get(end.cause, 1 if end.desk.failed else 0), end.is_over


def _run_through(
    request: _Request,
    options: dict[str, Any],
    inputs: Inputs,
    sink: Sink,
    screen: _Screen,
    interrupts: Interrupts,
) -> End:
    """Put the parts together, and let the run take its course.

    Raises:
        WrongUse: There is no such function, or an option's value cannot be.
    """
    # All of ours first: what the target's folder holds may be called like something of these.
    from gearshift._api.map import run_map
    from gearshift.cli.course import follow, passing_on
    from gearshift.cli.target import load_target
    from gearshift.cli.writer import LineWriter

    function = load_target(request.target)
    bar = screen.bar(inputs.total)
    write = bar.above if bar is not None and screen.is_shared else sink.write
    writer = LineWriter(write, patient=sink.patient)
    if not isinstance(inputs.items, list):
        inputs.items.call_before_waiting(passing_on(writer, interrupts))
    try:
        run = run_map(
            function, (inputs.items,), errors="return", pairs=True, total=inputs.total, **options
        )
    except (TypeError, ValueError) as error:
        raise WrongUse(str(error)) from None
    return follow(run, writer, interrupts, bar=bar, bare=request.bare, fail_fast=request.fail_fast)


def _written(count: int, total: int | None) -> str:
    """Say how many items have their line."""
    of_all = f" of {total:,}" if total is not None else ""
    items = "item" if (count if total is None else total) == 1 else "items"
    return f"{count:,}{of_all} {items} {'was' if count == 1 else 'were'} written"


def _closed(sink: Sink, request: _Request, *, whole: bool) -> str:
    """End the output; return what is to be said about it.

    Raises:
        Broken: It could not be put in its place.
    """
    try:
        return sink.close(whole=whole)
    except OSError as error:
        raise Broken(
            f"writing {request.output or 'standard output'} failed: {why(error)}."
        ) from None


def _conclude(end: End, interrupts: Interrupts, total: int | None, *, bare: bool) -> None:
    """Say at the end what was done, in one paragraph on standard error."""
    from gearshift.reports.terminal import closing

    first = "" if bare else end.desk.first_failure  # they have all been shown
    text = closing(end.report, unwritten=end.desk.unwritten, first_failure=first)
    if end.cause != "whole":
        what = {
            "interrupted": f"Stopped by {interrupts.name}",
            "first failure": "Stopped at the first failure",
        }.get(end.cause, "Broken off")
        text = f"{what}: {_written(end.desk.written, total)}. {text}"
    if sys.stderr.isatty():
        import shutil
        import textwrap

        width = min(shutil.get_terminal_size().columns, _WIDEST)
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    click.echo(text, err=True)
