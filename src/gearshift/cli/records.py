"""Item and outcome -> a line of JSON.

Pure: no file, no clock. Every line is valid JSON in UTF-8 whatever the function returned
or the item is named; what JSON cannot hold is an error with its cure, never a guess.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from gearshift.cli.rows import shown
from gearshift.facts import message_of, type_name

if TYPE_CHECKING:
    from datetime import date, time

    from gearshift.facts import Failure

__all__ = [
    "JsonRecords",
    "encoded",
    "failure_line",
    "failure_text",
    "value_line",
]


class JsonRecords:
    """A line of JSON for each outcome."""

    def __init__(self, *, bare: bool = False) -> None:
        """Begin.

        Args:
            bare: The values alone, and no line for a failure.
        """
        self._bare = bare
        self.state: Any = None

    def restore(self, state: Any) -> None:
        """Go on: lines do not depend on those before them."""

    def value(self, item: Any, value: Any) -> bytes:
        """Return the line of a value; see `value_line`."""
        return value_line(item, value, bare=self._bare)

    def failure(self, item: Any, failure: Failure) -> bytes:
        """Return the line of an item that has no value."""
        return b"" if self._bare else failure_line(item, failure)

    def end(self) -> bytes:
        """Return nothing: nothing waits."""
        return b""


def value_line(item: Any, value: Any, *, bare: bool = False) -> bytes:
    """Return the line of an item that has a value.

    Args:
        item: The item.
        value: What the function returned for it.
        bare: The value only.

    Returns:
        One line, its end included.

    Raises:
        TypeError: The value, or a part of it, is of a type that JSON does not have.
        ValueError: It is a number that JSON does not have, or nested without end.
    """
    text = encoded(value)
    return _line(text if bare else f'{{"item": {_ENCODER.encode(shown(item))}, "value": {text}}}')


def failure_line(item: Any, failure: Failure) -> bytes:
    """Return the line of an item that has none."""
    error = {
        "type": type_name(failure.exception),
        "message": message_of(failure.exception),
        "attempts": failure.attempts,
    }
    return _line(_ENCODER.encode({"item": shown(item), "error": error}))


def failure_text(failure: Failure) -> str:
    """Return a failure in one line for people."""
    often = f" ({failure.attempts} attempts)" if failure.attempts > 1 else ""
    said = " ".join(message_of(failure.exception).split())
    return f"{shown(failure.item)!r} failed: {type_name(failure.exception)}: {said}{often}"


def _line(text: str) -> bytes:
    """Return the text in UTF-8.

    Only surrogates have no UTF-8. They stand inside JSON strings, where a backslash
    escape is what JSON writes for them, too.
    """
    return f"{text}\n".encode("utf-8", "backslashreplace")


def encoded(value: Any) -> str:
    """Return the value as JSON.

    Raises:
        TypeError: It holds a type that JSON does not have.
        ValueError: It holds a number that JSON does not have, or has no end.
    """
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        raise ValueError("the value is nested too deep for JSON: flatten it") from None
    except TypeError as error:
        if not str(error).startswith("keys must be"):
            raise
        raise TypeError(f"the value is not JSON, {error}: make the keys str") from None
    except ValueError as error:
        if str(error).startswith("Out of range float"):
            raise ValueError(
                "the value holds nan or an infinity, which JSON does not have: return None instead"
            ) from None
        if str(error).startswith("Circular reference"):
            raise ValueError(
                "the value contains itself, which JSON cannot: break the circle"
            ) from None
        raise


def _plain(value: Any) -> Any:
    """Return what JSON has in place of a value that it does not have.

    Raises:
        TypeError: There is no such thing.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    if isinstance(value, AbstractSet):
        return _in_order(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, _iso_types()):
        return value.isoformat()
    if isinstance(value, _text_types()):
        return str(value)
    kind = type(value)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    raise TypeError(f"the value is not JSON, it holds {name}: {_cure(value)}")


def _iso_types() -> tuple[type[date | time], ...]:
    """Return the types of which JSON gets the ISO 8601 form; loaded late, few values need them."""
    from datetime import date, time

    return date, time


def _text_types() -> tuple[type, ...]:
    """Return the types of which JSON gets the text."""
    from decimal import Decimal
    from pathlib import PurePath
    from uuid import UUID

    return PurePath, UUID, Decimal


def _in_order(values: AbstractSet[Any]) -> list[Any]:
    """Return a set as a list, sorted where it can be: the same on every run."""
    try:
        return sorted(values)
    except TypeError:
        return list(values)


def _cure(value: Any) -> str:
    """Say what to return instead."""
    if isinstance(value, bytes | bytearray | memoryview):
        return "return text, such as value.decode(), value.hex() or base64"
    if hasattr(value, "tolist"):
        return "return value.tolist()"
    if hasattr(value, "__iter__"):
        return "return list(value)"
    return "return text, numbers, lists, dicts or a dataclass"


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain)
