"""Item and outcome -> a row of a CSV file (RFC 4180, but for line feeds as line ends).

The first value fixes the columns: those of the item (its keys, or `item`), those of the value
(its keys, or `value`), then `error_type`, `error_message`, `attempts`. Rows of items that
failed before any value came wait for it. Pure: no file, no clock.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from gearshift.cli.records import encoded
from gearshift.cli.rows import shown
from gearshift.facts import message_of, type_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.facts import Failure

__all__ = ["CsvTable"]

_ERROR_COLUMNS = ("error_type", "error_message", "attempts")
_MOST_HELD = 1000
_SCALARS = (str, int, bool, type(None))


class CsvTable:
    """Makes rows, header first."""

    def __init__(self, *, bare: bool = False) -> None:
        """Begin without columns.

        Args:
            bare: The values alone, and no row for a failure.
        """
        self._bare = bare
        self._of_item: list[str] = []
        self._of_value: list[str] = []
        self._held: list[tuple[Any, Failure]] = []
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")

    @property
    def state(self) -> Any:
        """The columns, as plain values; nothing before they are fixed."""
        return [self._of_item, self._of_value] if self._of_value else None

    def restore(self, state: Any) -> None:
        """Go on with a table whose header is written."""
        if state:
            self._of_item, self._of_value = state

    def value(self, item: Any, value: Any) -> bytes:
        """Return the row of a value, and the rows that waited for it.

        Raises:
            TypeError: It is of a type that JSON does not have, or does not fit the columns.
            ValueError: It holds a number that JSON does not have, or has no end.
        """
        if type(value) not in _SCALARS:
            value = json.loads(encoded(value))
        if not self._of_value:
            self._fix(item, value)
        cells = self._value_cells(value)
        if not self._bare:
            cells = [*self._item_cells(item, strict=True), *cells, "", "", ""]
        self._writer.writerow(cells)
        return self._taken()

    def failure(self, item: Any, failure: Failure) -> bytes:
        """Return the row of an item that has no value, or nothing yet."""
        if not self._of_value and len(self._held) < _MOST_HELD:
            self._held.append((item, failure))
            return b""
        if not self._of_value:
            self._fix(item, None)
        self._fail(item, failure)
        return self._taken()

    def end(self) -> bytes:
        """Return what still waits."""
        if self._held:
            self._fix(self._held[0][0], None)
        return self._taken()

    def _fix(self, item: Any, value: Any) -> None:
        """Choose the columns, write the header and what waited for it."""
        item = shown(item)
        self._of_item = list(item) if isinstance(item, dict) else ["item"]
        taken = {*self._of_item, *_ERROR_COLUMNS} if not self._bare else set()
        keys = list(value) if isinstance(value, dict) and value else []
        self._of_value = keys or ["value"]
        names = [f"value.{name}" if name in taken else name for name in self._of_value]
        self._writer.writerow(names if self._bare else [*self._of_item, *names, *_ERROR_COLUMNS])
        if not keys:
            self._of_value = [""]  # no key: the value itself
        held, self._held = self._held, []
        for each, failure in held:
            self._fail(each, failure)

    def _fail(self, item: Any, failure: Failure) -> None:
        if self._bare:
            return
        exception = failure.exception
        cells = [""] * len(self._of_value)
        told = [type_name(exception), message_of(exception), str(failure.attempts)]
        self._writer.writerow([*self._item_cells(item, strict=False), *cells, *told])

    def _item_cells(self, item: Any, *, strict: bool) -> list[str]:
        item = shown(item)
        if not isinstance(item, dict):
            return [_cell(item), *[""] * (len(self._of_item) - 1)]
        if self._of_item == ["item"] and "item" not in item:
            return [_cell(item)]
        _check(item, self._of_item, "item", strict=strict)
        return [_cell(item.get(name)) for name in self._of_item]

    def _value_cells(self, value: Any) -> list[str]:
        if self._of_value == [""]:
            return [_cell(value)]
        if not isinstance(value, dict):
            raise TypeError(
                f"the value is {_cell(value)!r}, and the columns are the keys of the first value: "
                "return a dict for every item, or write .jsonl"
            )
        _check(value, self._of_value, "value", strict=True)
        return [_cell(value.get(name)) for name in self._of_value]

    def _taken(self) -> bytes:
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return text.encode("utf-8", "surrogateescape")


def _check(row: dict[str, Any], columns: Sequence[str], what: str, *, strict: bool) -> None:
    """Refuse what has no column.

    Raises:
        TypeError: There is such a thing.
    """
    extra = next((name for name in row if name not in columns), None)
    if extra is not None and strict:
        raise TypeError(
            f"the {what} has {extra!r}, which the first one did not, so there is no column for it: "
            "give all of them the same keys, or write .jsonl"
        )


def _cell(value: Any) -> str:
    """Return text as it is, nothing for None, and JSON for the rest."""
    if value is None:
        return ""
    return value if isinstance(value, str) else encoded(value)
