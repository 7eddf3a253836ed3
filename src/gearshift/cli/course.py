"""The course of a run on the command line: from the first outcome to whatever ends it.

Apart from the command so that every end is in one place: all done, the first failure with
`--fail-fast`, Ctrl-C, a reader that went away, a full disk, a run that broke. Whichever it
is, each outcome that the run gave out has been written once, and nothing was swallowed.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from gearshift.cli.desk import CannotWriteError, Desk
from gearshift.cli.problems import Broken, WrongUse, why
from gearshift.errors import (
    GearshiftError,
    JournalInUseError,
    JournalMismatchError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gearshift._run.run import Run
    from gearshift.cli.bar import Bar
    from gearshift.cli.interrupts import Interrupts
    from gearshift.cli.writer import LineWriter
    from gearshift.facts import Report

__all__ = ["Cause", "End", "follow", "passing_on"]


Cause = Literal["whole", "first failure", "interrupted", "reader gone", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a run ended.

    Attributes:
        cause: What ended it; `whole` means that every item has its line.
        is_over: No task runs any more.
        desk: What was written.
        report: What the run did.
        problem: What broke, or None.
    """

    cause: Cause
    is_over: bool
    desk: Desk
    report: Report
    problem: click.ClickException | None = None


def follow(
    run: Run[Any],
    writer: LineWriter,
    interrupts: Interrupts,
    *,
    bar: Bar | None = None,
    bare: bool = False,
    fail_fast: bool = False,
    grace: float = 0.0,
    desk: Desk | None = None,
) -> End:
    """Write what the run gives, to its end or until something ends it.

    A run that was cut short is not closed: that would wait for tasks whose outcomes nobody
    takes any more.

    Args:
        run: The run, started with `errors="return"` and `pairs=True`.
        writer: Takes the lines.
        interrupts: Holds signals back while a line is on its way.
        bar: Shows how far it is.
        bare: Write the values only.
        fail_fast: Stop at the first failure.
        grace: Seconds that running tasks have after an interrupt.
        desk: Makes lines of outcomes; one of JSON if not said.

    Returns:
        How it ended, interrupts and errors included.
    """
    desk = desk if desk is not None else Desk(writer, bar, bare=bare)
    cause: Cause = "interrupted"
    problem = None
    try:
        with bar or nullcontext():
            cause, problem = _written(run, desk, interrupts, fail_fast=fail_fast, grace=grace)
    except KeyboardInterrupt:  # a second one, while the first was being honoured
        pass
    finally:
        interrupts.held = False
    report = run.report
    is_over = cause == "whole" and not report.abandoned
    if is_over:
        run.close()
    return End(cause=cause, is_over=is_over, desk=desk, report=report, problem=problem)


def passing_on(writer: LineWriter, interrupts: Interrupts) -> Callable[[], None]:
    """Return what to call before an item is waited for: the lines do not wait with us."""

    def pass_on() -> None:
        interrupts.held = True
        try:
            writer.flush()
        except OSError as error:
            raise CannotWriteError(error) from None
        interrupts.release()

    return pass_on


def _written(
    run: Run[Any], desk: Desk, interrupts: Interrupts, *, fail_fast: bool, grace: float
) -> tuple[Cause, click.ClickException | None]:
    """Write until something ends it; say what."""
    problem: click.ClickException | None = None
    try:
        cause = _all(run, desk, interrupts, fail_fast=fail_fast, grace=grace)
    except CannotWriteError as error:
        gone = isinstance(error.error, BrokenPipeError)
        cause = "reader gone" if gone else "broken"
        problem = None if gone else Broken(f"writing the output failed: {why(error.error)}.")
    except (GearshiftError, click.ClickException) as error:
        cause, problem = "broken", _problem(error)
    if cause in {"first failure", "reader gone"} or isinstance(problem, Broken):
        for _ in _ended(run):
            pass  # it came too late
    return cause, problem


def _problem(error: GearshiftError | click.ClickException) -> click.ClickException:
    """Return what to print for an error that ended the run."""
    if isinstance(error, click.ClickException):  # an input that could not be read to its end
        return error
    if isinstance(error, UnsupportedError | JournalMismatchError | JournalInUseError):
        return WrongUse(str(error))
    return Broken(f"{type(error).__name__}: {error}")


def _all(
    run: Run[Any], desk: Desk, interrupts: Interrupts, *, fail_fast: bool, grace: float
) -> Cause:
    """Write the outcomes; say why there are no more."""
    cause: Cause = "whole"
    try:
        for index, item, outcome in run:
            interrupts.held = True
            failed = desk.take(index, item, outcome)
            if failed and fail_fast:
                cause = "first failure"
                break
            interrupts.release()
    except KeyboardInterrupt:
        cause = "interrupted"
        if grace and not desk.quiet:
            desk.say(
                f"{interrupts.name}: nothing more is begun; what runs has {grace:g} s. Once more ends it now."
            )
        for index, item, outcome in _ended(run, grace):
            interrupts.held = True
            desk.take(index, item, outcome)
            interrupts.release()
    finally:
        interrupts.held = True
        desk.flush()
        interrupts.release()
    return cause


def _ended(run: Run[Any], grace: float = 0.0) -> Iterator[Any]:
    """Begin nothing more, and yield what has settled, or does so in time."""
    run.cancel(grace=grace)
    with suppress(GearshiftError):  # cancelled, closed; or workers that got the signal, too
        yield from run
