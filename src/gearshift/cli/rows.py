"""Lines -> the function's arguments: JSON lines, rows of a CSV file, text beside them.

Items are as `star=True` of `gs.map` takes them: a dict is keywords, a tuple of one is one
argument. A line that is neither is an item too, a `BadLine`: its task fails at once with
the place of the fault, so the item has its line in the output like any other.
Apart from `lines`, which knows nothing of what a line means.
"""

from __future__ import annotations

import csv
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gearshift.cli.lines import LineReader

__all__ = [
    "BadLine",
    "BadLineError",
    "CsvRows",
    "JsonLines",
    "Parser",
    "RecordReader",
    "Texts",
    "shown",
]

_MOST_LINES = 10_000  # of one row: a quote that opens and never closes must not eat the file
_UNFINISHED = "unexpected end of data"  # what the csv module says inside of quotes
_SHOWN_CHARACTERS = 60

Item = Any  # dict, tuple of one, or BadLine


class BadLineError(BaseException):
    """A line of the inputs cannot be read; no Exception, since a retry would read the same."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no item; to be taken apart into arguments, which raises.

    Attributes:
        text: The line.
        why: File, line, column and fault.
    """

    text: str
    why: str

    def __iter__(self) -> Iterator[Any]:
        """Raise: there are no arguments in it.

        Raises:
            BadLineError: Always.
        """
        raise BadLineError(self.why)


class Parser(Protocol):
    """Makes items of lines."""

    def feed(self, line: str) -> list[Item]:
        """Take the next line; return the items that are complete."""
        ...

    def end(self) -> list[Item]:
        """Return what is left after the last line."""
        ...


class RecordReader:
    """Iterates over the items of a file; tells how many are there, as its lines do."""

    def __init__(self, lines: LineReader, parser: Parser) -> None:
        """Begin with the first line.

        Args:
            lines: The lines.
            parser: What makes items of them.
        """
        self._lines = lines
        self._parser = parser
        self._items: deque[Item] = deque()
        self._has_ended = False
        self._error: WrongUse | None = None  # raised after the items before it

    @property
    def before_waiting(self) -> Callable[[], object]:
        """What is called before a line is waited for."""
        return self._lines.before_waiting

    @before_waiting.setter
    def before_waiting(self, callback: Callable[[], object]) -> None:
        self._lines.before_waiting = callback

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        while not self._items:
            self._check()
            if self._has_ended:
                raise StopIteration
            for line in self._lines:
                self._feed(line)
                break
            else:
                self._end()
        return self._items.popleft()

    def fileno(self) -> int:
        """Return the descriptor to wait for, or -1 where none can be waited for."""
        return self._lines.fileno()

    def available(self) -> int | None:
        """Return how many items can be taken without waiting, or None after the last.

        Raises:
            Broken: Reading failed.
            WrongUse: A line is bad, and that is not to be borne.
        """
        while not self._items:
            self._check()
            if self._has_ended:
                return None
            count = self._lines.available()
            if count is None:
                self._end()
            elif count == 0:
                return 0
            else:
                for _ in range(count):
                    self._feed(next(self._lines))
        return len(self._items)

    def _feed(self, line: str) -> None:
        if self._error is None:
            try:
                self._items.extend(self._parser.feed(line))
            except WrongUse as error:
                self._error = error

    def _end(self) -> None:
        self._has_ended = True
        if self._error is None:
            try:
                self._items.extend(self._parser.end())
            except WrongUse as error:
                self._error = error

    def _check(self) -> None:
        """Raise what came after the items that were given."""
        if self._error is not None:
            raise self._error


class Texts:
    """A line is an item, as text."""

    def feed(self, line: str) -> list[Item]:
        """Return the line."""
        return [(line,)]

    def end(self) -> list[Item]:
        """Return nothing."""
        return []


class JsonLines:
    """A line is a JSON value: an object is keywords, anything else the argument."""

    def __init__(self, path: str, *, strict: bool, option: str = "--jsonl") -> None:
        """Remember the file's name and its option for messages; `strict` makes a bad line an error."""
        self._fault = _Fault(path, option, strict=strict)
        self._number = 0

    def feed(self, line: str) -> list[Item]:
        """Return the value, or nothing of an empty line.

        Raises:
            WrongUse: It is not JSON, and that is not to be borne.
        """
        self._number += 1
        if not line.strip():
            return []
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            return [self._fault(line, self._number, error.colno, error.msg)]
        except (ValueError, RecursionError) as error:  # too many digits; nested too deep
            return [self._fault(line, self._number, 1, str(error))]
        return [value if isinstance(value, dict) else (value,)]

    def end(self) -> list[Item]:
        """Return nothing."""
        return []


class CsvRows:
    """A row is keywords, named by the header: RFC 4180, a quoted cell may hold line ends."""

    def __init__(self, path: str, *, strict: bool, option: str = "--csv") -> None:
        """Remember the file's name and its option for messages; `strict` makes a bad row an error."""
        self._path = path
        self._option = option
        self._fault = _Fault(path, option, strict=strict)
        self._names: list[str] = []
        self._number = 0
        self._held: list[str] = []  # of a row whose quotes are still open

    def feed(self, line: str) -> list[Item]:
        """Return the row that ends here, if one does.

        Raises:
            WrongUse: The header cannot be, or a row cannot and that is not to be borne.
        """
        self._number += 1
        self._held.append(line)
        if len(self._held) > 1 and '"' not in line and len(self._held) < _MOST_LINES:
            return []  # a row does not end where no quote closes
        return self._rows(is_last=len(self._held) >= _MOST_LINES)

    def end(self) -> list[Item]:
        """Return what is left: a row whose quotes never close, and the rows that it hid."""
        return self._rows(is_last=True) if self._held else []

    def _rows(self, *, is_last: bool) -> list[Item]:
        """Make what is held into a row; where it can never be one, its first line is bad."""
        held = self._held
        first = self._number - len(held) + 1
        try:
            cells = next(csv.reader(["\n".join(held)], strict=True), [])
        except csv.Error as error:
            if str(error) == _UNFINISHED and not is_last:
                return []
            self._held = []
            why = "a quote opens here and never closes" if str(error) == _UNFINISHED else str(error)
            bad = [self._bad(held[0], first, None, why)]
            self._number = first
            return bad + [item for line in held[1:] for item in self.feed(line)]
        self._held = []
        if not cells:
            return []
        if not self._names:
            self._names = self._header(cells)
            return []
        if len(cells) != len(self._names):
            column = min(len(cells), len(self._names)) + 1
            why = f"{len(cells)} cells in this row, and {len(self._names)} in the header"
            return [self._bad("\n".join(held), first, column, why)]
        return [dict(zip(self._names, cells, strict=True))]

    def _bad(self, text: str, number: int, column: int | None, why: str) -> BadLine:
        if not self._names:
            raise WrongUse(
                f"{self._option} {self._path}, line {number}: the header cannot be read: {why}."
            )
        return self._fault(text, number, column, why, unit="cell")

    def _header(self, cells: list[str]) -> list[str]:
        """Return the names.

        Raises:
            WrongUse: Two are the same, or one is empty.
        """
        twice = next((name for name in cells if cells.count(name) > 1), None)
        if twice is not None or "" in cells:
            what = "an empty name" if twice in {None, ""} else f"{twice!r} twice"
            raise WrongUse(
                f"{self._option} {self._path}, line {self._number}: the header has {what}: "
                "each column needs a name of its own."
            )
        return cells


class _Fault:
    """Makes a bad line of what is wrong with it."""

    def __init__(self, path: str, option: str, *, strict: bool) -> None:
        self._path = "standard input" if path == "-" else path
        self._option = option
        self._strict = strict

    def __call__(
        self, text: str, number: int, column: int | None, why: str, *, unit: str = "column"
    ) -> BadLine:
        place = "" if column is None else f", {unit} {column}"
        words = f"{self._path}, line {number}{place}: {why}"
        if self._strict:
            raise WrongUse(f"{self._option} {words}.")
        return BadLine(text, words)


def shown(item: Any) -> Any:
    """Return an item as it is written in the output: without the tuple around an argument."""
    if isinstance(item, BadLine):
        return item.text
    return item[0] if isinstance(item, tuple) and len(item) == 1 else item
