"""A finished run -> the paragraph that closes it on a terminal.

Pure text: it measures nothing, and says of the figures only what they are. `speedup` is
the time that workers spent in the function over wall time. One worker alone would have
needed no more than that time, and less where they waited for each other (for the GIL, a
disk, a server): so it is an upper bound, and called one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gearshift.units import counted, duration

if TYPE_CHECKING:
    from gearshift.facts import Report

__all__ = ["closing"]

_PLAIN = 100.0  # a rate from which on the part behind the point says nothing
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
        parts.append(f"{counted(report.retried, 'attempt was a retry', 'attempts were retries')}.")
    if report.abandoned:
        went = "{} went on after time was up, and what came of it was dropped."
        parts.append(went.format(counted(report.abandoned, "task", "tasks")))
    if report.reasons:
        parts.append(f"Why {report.engine}: {_sentences(report.reasons)}")
    if report.items > 1:
        parts.append(_speedup(report))
    return " ".join(parts)


def _outcome(report: Report, unwritten: int) -> str:
    """Say how many items, where, how long and how well."""
    items = counted(report.items, "item", "items")
    workers = counted(report.workers, "worker", "workers")
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
    return f"{number:,.0f}" if number >= _PLAIN else f"{number:.3g}"


def _speedup(report: Report) -> str:
    """Say what the workers gained, at most: waiting for each other counts as work, too."""
    gained = f"at most {report.speedup:.3g}" if report.speedup >= _NOTABLE else "none"
    spent = f"{duration(report.busy_seconds)} in the function within {duration(report.seconds)}"
    return f"Speed-up over one worker: {gained} ({spent})."


def _sentences(texts: tuple[str, ...]) -> str:
    """Join sentences, each with its full stop."""
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts)
