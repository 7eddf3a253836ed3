"""`gearshift run TARGET [INPUT...]`: one function over many inputs, from the shell.

Puts the parts together: target (the function), inputs (the items), desk and records
(outcome to line), output (lines to their place), bar (how far it is), interrupts. An
outcome that the run has given out is written exactly once, whatever comes in between.

Status: 0 all well; 1 items failed, or the run broke; 2 wrong use; 130 Ctrl-C, 143 SIGTERM,
141 when the reader of standard output went away, as for other tools.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli import settings
from gearshift.cli.asked import input_options
from gearshift.cli.interrupts import Interrupts, leave
from gearshift.cli.problems import Broken, WrongUse, why

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from gearshift.cli.bar import Bar
    from gearshift.cli.course import End
    from gearshift.cli.inputs import Inputs
    from gearshift.cli.output import Sink
    from gearshift.cli.records import JsonRecords
    from gearshift.cli.table import CsvTable

__all__ = ["run"]

_WIDEST = 100  # longer lines of text are hard to read
_READER_GONE = 141  # 128 + SIGPIPE

_EXAMPLES = """\b
Examples:
  gearshift run hashing.py:digest --glob 'photos/**/*.jpg' -o digests.jsonl
  gearshift run mypackage.tools:fetch --lines urls.txt --retries 3 --limit 9/s
  find . -name '*.log' | gearshift run scan.py:errors - | jq .value
  gearshift run convert.py:row --csv orders.csv.gz -o converted.csv

Items are text (str), one call each: arguments first, then lines, then files. A JSON object
of --jsonl and a row of --csv are keywords of the function (a row's cells are text), any
other JSON value is its argument. An item is written as {"item": ..., "value": ...}, or
{"item": ..., "error": {"type": ..., "message": ..., "attempts": ...}} where it failed; in
CSV as its columns, the value's, then error_type, error_message, attempts. What the function
prints goes to standard error.

Ctrl-C begins nothing more, and gives what runs --grace seconds; a second one ends it at once.
Exit status: 0 all well, 1 some items failed, 2 wrong use, 130 Ctrl-C, 143 SIGTERM.
"""


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for, beside the options of the run."""

    target: str
    arguments: tuple[str, ...]
    lists: tuple[str, ...]
    jsons: tuple[str, ...]
    tables: tuple[str, ...]
    patterns: tuple[str, ...]
    strict: bool
    output: str | None
    format: str | None
    bare: bool
    fail_fast: bool
    grace: float
    journal: str | None
    report: str | None
    resume: bool
    resume_failed: bool
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

    def bar(self) -> Bar | None:
        """Return a bar, not drawn yet, where somebody would see it."""
        if not self.shows_bar:
            return None
        from gearshift.cli.bar import Bar

        return Bar()


@click.command(epilog=_EXAMPLES)
@click.argument("target", required=False)
@click.argument("arguments", metavar="[INPUT]...", nargs=-1)
@input_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Instead of standard output; there only once it is whole.",
)
@click.option(
    "--format",
    type=click.Choice(["jsonl", "csv"]),
    help="Of the output; else its ending says, .jsonl or .csv.",
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
@click.option(
    "--memory-limit",
    type=settings.memory,
    metavar="MEMORY",
    help="Start less while more is in use: 80%, 6G.",
)
@click.option(
    "--journal", metavar="FILE", help="Keep what is done, so that --resume can go on; needs -o."
)
@click.option("--report", metavar="FILE", help="Write what the run did, as JSON, at its end.")
@click.option("--resume", is_flag=True, help="Run what the journal does not have, and what failed.")
@click.option("--resume-failed", is_flag=True, help="Run what failed, and nothing else.")
@click.option("--show", is_flag=True, help="Print what the journal has, and run nothing.")
@click.option("--seed", type=int, metavar="N", help="For gearshift.item_seed() in the function.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first failure.")
@click.option(
    "--grace",
    type=settings.seconds_or_none,
    default="5s",
    show_default=True,
    metavar="TIME",
    help="After Ctrl-C, for what runs; 0 for none.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, and no paragraph at the end.")
def run(
    target: str | None,
    *,
    unordered: bool,
    show: bool,
    **given: Any,
) -> None:
    """Run TARGET over every INPUT and write a JSON line for each.

    TARGET is package.module:function or path/to/file.py:function. INPUT is an item as it
    stands; - reads items from standard input, one a line.
    """
    if show:
        from gearshift.cli.resume import show as show_journal

        show_journal(given["journal"])
        return
    ours = {name: given.pop(name) for name in _Request.__slots__ if name != "target"}
    request = _Request(_needed(target), **ours)
    with Interrupts() as interrupts:
        try:
            status, is_over = _execute(request, {**given, "ordered": not unordered}, interrupts)
        except KeyboardInterrupt:
            status, is_over = interrupts.status, False
        if not is_over:
            leave(status)
    click.get_current_context().exit(status)


def _needed(target: str | None) -> str:
    """Return the target, which `--show` alone can do without.

    Raises:
        UsageError: There is none.
    """
    if target is None:
        raise click.UsageError("Missing argument 'TARGET'.")
    return target


def _execute(
    request: _Request, options: dict[str, Any], interrupts: Interrupts
) -> tuple[int, bool]:
    """Do what was asked for; return the exit status, and whether no task runs any more.

    Raises:
        ClickException: It could not begin, or its output could not be put in place.
    """
    from gearshift.cli.inputs import gather
    from gearshift.cli.output import format_of, plug_closed_streams, refuse_input_as_output
    from gearshift.cli.resume import how_to_go_on, open_journal

    plug_closed_streams()
    format_of(request.output, request.format)
    _check_report(request)
    inputs = gather(
        request.arguments,
        request.lists,
        request.patterns,
        jsons=request.jsons,
        tables=request.tables,
        strict=request.strict,
    )
    refuse_input_as_output(request.output, inputs.files)
    if request.output not in {None, "-"}:
        refuse_input_as_output(f"{request.output}.part", inputs.files)
    screen = _Screen.of(request)
    journal = open_journal(
        request.journal,
        output=request.output,
        resume=request.resume,
        failed_only=request.resume_failed,
    )
    whole = False
    options["journal"] = journal
    with _opened(request, options) as sink:
        try:
            end = _run_through(request, options, inputs, sink, screen, interrupts)
            whole = end.cause == "whole"
        finally:
            note = _closed(sink, request, whole=whole)
    if not request.quiet and end.cause != "reader gone" and not isinstance(end.problem, WrongUse):
        _conclude(end, interrupts, inputs.total, bare=request.bare)
    if request.report is not None:
        from gearshift.cli.output import write_whole

        write_whole(request.report, f"{json.dumps(end.report.as_dict(), indent=2)}\n".encode())
    if note:
        click.echo(note, err=True)
    is_wrong = isinstance(end.problem, WrongUse)
    if journal is not None and not is_wrong and (not whole or end.desk.left or end.desk.failed):
        click.echo(how_to_go_on(), err=True)
    if end.problem is not None:
        end.problem.show()
        return end.problem.exit_code, end.is_over
    by_cause = {"reader gone": _READER_GONE, "interrupted": interrupts.status}
    return by_cause.get(end.cause, 1 if end.desk.failed else 0), end.is_over


def _check_report(request: _Request) -> None:
    """Refuse a report that would write over something else.

    Raises:
        WrongUse: It would.
    """
    if request.report is not None and request.report in {"-", request.output, request.journal}:
        raise WrongUse(f"--report {request.report}: give it a file of its own.")


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
    from gearshift.cli.desk import Desk
    from gearshift.cli.target import load_target
    from gearshift.cli.writer import LineWriter

    function = load_target(request.target)
    bar = screen.bar()
    write = bar.above if bar is not None and screen.is_shared else sink.write
    writer = LineWriter(write, patient=sink.patient)
    if not isinstance(inputs.items, list):
        inputs.items.call_before_waiting(passing_on(writer, interrupts))
    records = _records(request)
    desk = Desk(writer, bar, bare=request.bare, records=records, quiet=request.quiet)
    if options["journal"] is not None:
        from gearshift.cli.resume import JournalSink

        assert isinstance(sink, JournalSink)
        sink.attach(options["journal"], desk, records)
    try:
        run = run_map(
            function,
            (inputs.items,),
            errors="return",
            pairs=True,
            star=inputs.star,
            total=inputs.total,
            progress=None if bar is None else bar.show,
            **options,
        )
    except (TypeError, ValueError) as error:
        raise WrongUse(str(error)) from None
    return follow(
        run,
        writer,
        interrupts,
        bar=bar,
        bare=request.bare,
        fail_fast=request.fail_fast,
        grace=request.grace,
        desk=desk,
    )


def _opened(request: _Request, options: dict[str, Any]) -> AbstractContextManager[Sink]:
    """Return the place for the lines."""
    from gearshift.cli.output import format_of, open_sink

    if options["journal"] is None:
        return open_sink(request.output)
    from gearshift.cli.resume import JournalSink

    form = format_of(request.output, request.format)
    in_order = options["ordered"] and not request.bare
    return nullcontext(JournalSink(str(request.output), in_order=in_order, form=form))


def _records(request: _Request) -> JsonRecords | CsvTable:
    """Return what makes lines of outcomes."""
    from gearshift.cli.output import format_of
    from gearshift.cli.records import JsonRecords
    from gearshift.cli.table import CsvTable

    is_csv = format_of(request.output, request.format) == "csv"
    return CsvTable(bare=request.bare) if is_csv else JsonRecords(bare=request.bare)


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
