"""Outcomes -> lines, counted: what `gearshift run` does with each item.

Apart from the command so that it can be tried without a run. A value that JSON cannot
hold is a failure of its item, here and nowhere else, since the run counted it a success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gearshift.cli.records import JsonRecords, failure_text
from gearshift.cli.rows import BadLineError
from gearshift.facts import LEFT, Failure

if TYPE_CHECKING:
    from gearshift.cli.bar import Bar
    from gearshift.cli.table import CsvTable
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
        skip: Items, from the first on, whose lines are there already.
        left: Items that were not run, and have no line.
    """

    def __init__(
        self,
        writer: LineWriter,
        bar: Bar | None,
        *,
        bare: bool,
        records: JsonRecords | CsvTable | None = None,
        quiet: bool = False,
    ) -> None:
        """Begin with nothing written.

        Args:
            writer: Takes the lines.
            bar: Takes what is said to people, where there is one.
            bare: Write the values only, and failures to standard error.
            records: Makes lines; JSON if not said.
            quiet: Say nothing but what failed.
        """
        self.quiet = quiet
        self._writer = writer
        self._records = records if records is not None else JsonRecords(bare=bare)
        self._bar = bar
        self._bare = bare
        self.written: int = 0
        self.failed: int = 0
        self.unwritten: int = 0
        self.first_failure: str = ""
        self.skip: int = 0
        self.left: int = 0

    def take(self, index: int, item: Any, outcome: Any) -> bool:
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
        if outcome is LEFT:
            self.left += 1
            return False
        if index < self.skip:
            self.written += 1
            return False
        failed = isinstance(outcome, Failure)
        if not failed:
            try:
                line = self._records.value(item, outcome)
            except Exception as error:
                outcome = Failure(index, item, error)
                self.unwritten += 1
                failed = True
        if failed:
            self._fail(item, outcome)
        else:
            self._add(line)
        self.written += 1
        return failed

    def flush(self) -> None:
        """Pass all lines on.

        Raises:
            CannotWriteError: The reader is gone, or the disk is full.
        """
        self._add(self._records.end())
        try:
            self._writer.flush()
        except OSError as error:
            raise CannotWriteError(error) from None

    def say(self, text: str) -> None:
        """Tell people something, above the bar where there is one."""
        if self._bar is not None:
            self._bar.above(f"{text}\n".encode("utf-8", "backslashreplace"))
        else:
            click.echo(text, err=True)

    def _fail(self, item: Any, failure: Failure) -> None:
        self.failed += 1
        is_told = self._bare or isinstance(failure.exception, BadLineError)
        text = failure_text(failure) if is_told or not self.first_failure else ""
        self.first_failure = self.first_failure or text
        self._add(self._records.failure(item, failure))
        if is_told:
            self.say(text)

    def _add(self, line: bytes) -> None:
        if not line:
            return
        try:
            self._writer.add(line)
        except OSError as error:
            raise CannotWriteError(error) from None
