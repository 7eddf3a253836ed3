"""A finished run -> the paragraph that closes it on a terminal.

Pure text: it measures nothing, and says of the figures only what they are. `speedup` is
the time that workers spent in the function over wall time. One worker alone would have
needed no more than that time, and less where they waited for each other (for the GIL, a
disk, a server): so it is an upper bound, and called one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift.facts import Report

__all__ = ["closing", "duration"]

_HOUR = 3600.0
_SHORT = 100.0  # seconds from which on minutes are easier to read
_NOTABLE = 1.05  # below it, one worker would have been about as fast


def closing(report: Report, *, unwritten: int = 0, first_failure: str = "") -> str:
    """Return the closing paragraph.

    Args:
        report: What the run did.
        unwritten: Items that had a value which could not be written.
        first_failure: What the first failure said, in a line.

    Returns:
        One paragraph, unwrapped.
    """
    if not report.items:
        return f"0 items in {duration(report.seconds)}: nothing ran."
    parts = [_outcome(report, unwritten)]
    if report.replayed:
        of_them = (
            "All of them" if report.replayed == report.items else f"{report.replayed:,} of them"
        )
        parts.append(f"{of_them} came from the journal, and were not run again.")
    if first_failure:
        parts.append(f"The first: {first_failure.rstrip('.')}.")
    if report.retried:
        parts.append(f"{_counted(report.retried, 'attempt was a retry', 'attempts were retries')}.")
    if report.abandoned:
        went = "{} went on after time was up, and what came of it was dropped."
        parts.append(went.format(_counted(report.abandoned, "task", "tasks")))
    if report.reasons:
        parts.append(f"Why {report.engine}: {_sentences(report.reasons)}")
    if report.items > 1:
        parts.append(_speedup(report))
    return " ".join(parts)


def duration(seconds: float) -> str:
    """Return seconds as people say them, with three digits at most."""
    if seconds >= _HOUR:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // 60)} min"
    if seconds >= _SHORT:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds >= 1:
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms"


def _outcome(report: Report, unwritten: int) -> str:
    """Say how many items, where, how long and how well."""
    items = _counted(report.items, "item", "items")
    workers = _counted(report.workers, "worker", "workers")
    pace = f" ({_rate(report.items / report.seconds)} a second)" if _has_pace(report) else ""
    failed = report.failed + unwritten
    if not failed:
        well = "all succeeded" if report.items > 1 else "it succeeded"
    else:
        well = f"{report.items - failed:,} succeeded, {failed:,} failed"
    where = f"on {report.engine} with {workers}"
    return f"{items} in {duration(report.seconds)}{pace} {where}: {well}."


def _has_pace(report: Report) -> bool:
    """Say whether items a second is a number worth telling."""
    return report.items > 1 and report.seconds > 0


def _rate(number: float) -> str:
    """Return a number with three digits that count."""
    return f"{number:,.0f}" if number >= _SHORT else f"{number:.3g}"


def _speedup(report: Report) -> str:
    """Say what the workers gained, at most: waiting for each other counts as work, too."""
    gained = f"at most {report.speedup:.3g}" if report.speedup >= _NOTABLE else "none"
    spent = f"{duration(report.busy_seconds)} in the function within {duration(report.seconds)}"
    return f"Speed-up over one worker: {gained} ({spent})."


def _sentences(texts: tuple[str, ...]) -> str:
    """Join sentences, each with its full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts)


def _counted(number: int, one: str, many: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many}"
