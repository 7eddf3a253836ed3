"""Outcomes -> lines, counted: what `gearshift run` does with each item.

Apart from the command so that it can be tried without a run. A value that JSON cannot
hold is a failure of its item, here and nowhere else, since the run counted it a success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gearshift.cli.records import failure_line, failure_text, value_line
from gearshift.facts import Failure

if TYPE_CHECKING:
    from gearshift.cli.bar import Bar
    from gearshift.cli.writer import LineWriter

__all__ = ["CannotWriteError", "Desk"]


class CannotWriteError(Exception):
    """The place for the lines failed; apart from errors of the run, which may look alike.

    Attributes:
        error: What the system said.
    """

    def __init__(self, error: OSError) -> None:
        """Keep the system's error."""
        super().__init__(error)
        self.error = error


class Desk:
    """Writes each outcome.

    Attributes:
        written: Items with a line (or, among bare values, a word on standard error).
        failed: Those of them that failed.
        unwritten: Those of the failed whose value is not JSON.
        first_failure: The first failure in a line, or nothing.
    """

    def __init__(self, writer: LineWriter, bar: Bar | None, *, bare: bool) -> None:
        """Begin with nothing written.

        Args:
            writer: Takes the lines.
            bar: Takes the counts, where there is one.
            bare: Write the values only, and failures to standard error.
        """
        self._writer = writer
        self._bar = bar
        self._bare = bare
        self.written: int = 0
        self.failed: int = 0
        self.unwritten: int = 0
        self.first_failure: str = ""

    def take(self, index: int, item: str, outcome: Any) -> bool:
        """Write one outcome.

        Args:
            index: The item's place among the inputs.
            item: The item.
            outcome: Its value, or its `Failure`.

        Returns:
            Whether the item failed.

        Raises:
            CannotWriteError: The reader is gone, or the disk is full.
        """
        failed = isinstance(outcome, Failure)
        if not failed:
            try:
                line = value_line(item, outcome, bare=self._bare)
            except Exception as error:
                outcome = Failure(index, item, error)
                self.unwritten += 1
                failed = True
        if failed:
            self._fail(item, outcome)
        else:
            self._add(line)
        self.written += 1
        if self._bar is not None:
            self._bar.count(failed=failed)
        return failed

    def flush(self) -> None:
        """Pass all lines on.

        Raises:
            CannotWriteError: The reader is gone, or the disk is full.
        """
        try:
            self._writer.flush()
        except OSError as error:
            raise CannotWriteError(error) from None

    def _fail(self, item: str, failure: Failure) -> None:
        self.failed += 1
        text = failure_text(failure) if self._bare or not self.first_failure else ""
        self.first_failure = self.first_failure or text
        if not self._bare:
            self._add(failure_line(item, failure))
        elif self._bar is not None:
            self._bar.above(f"{text}\n".encode("utf-8", "backslashreplace"))
        else:
            click.echo(text, err=True)

    def _add(self, line: bytes) -> None:
        try:
            self._writer.add(line)
        except OSError as error:
            raise CannotWriteError(error) from None
