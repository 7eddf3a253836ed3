"""Item and outcome -> a line of JSON: every line valid, whatever comes."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.cli.records import failure_line, failure_text, value_line
from gearshift.errors import RemoteError
from gearshift.facts import Failure

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ANY_TEXT = st.text(st.characters() | st.characters(categories=["Cs"]))


@dataclass
class Point:
    x: int
    at: Path


@given(ANY_TEXT, JSON_VALUES)
def test_line_reads_back_as_it_was(item: str, value: Any) -> None:
    line = value_line(item, value)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back = json.loads(line)
    assert back["value"] == value
    # two surrogates that happen to be a pair read back as the character they stand for
    pair = item.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert back["item"] == pair


@given(ANY_TEXT)
def test_bare_line_is_the_value_alone(value: str) -> None:
    assert json.loads(value_line("item", [value], bare=True)) == [
        value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Path("a/b"), "a/b"),
        (PurePosixPath("a"), "a"),
        (datetime(2024, 5, 6, 7, 8, tzinfo=UTC), "2024-05-06T07:08:00+00:00"),
        (date(2024, 5, 6), "2024-05-06"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (Point(1, Path("a")), {"x": 1, "at": "a"}),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({3, 1}), [1, 3]),
        ((1, [Point(1, Path("a"))]), [1, [{"x": 1, "at": "a"}]]),
        ({1: "a"}, {"1": "a"}),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ("Zürich", "Zürich"),
    ],
)
def test_value_with_a_plain_form_is_written(value: object, written: object) -> None:
    assert json.loads(value_line("i", value))["value"] == written


def test_text_stays_readable() -> None:
    assert value_line("Zürich", "€") == '{"item": "Zürich", "value": "€"}\n'.encode()


def test_set_that_has_no_order_is_written() -> None:
    assert sorted(json.loads(value_line("i", {"a", 1}, bare=True)), key=str) == [1, "a"]


def test_name_that_is_not_utf8_is_written_as_json() -> None:
    line = value_line("\udcff\\.txt", None)
    assert line == b'{"item": "\\udcff\\\\.txt", "value": null}\n'
    assert json.loads(line)["item"] == "\udcff\\.txt"


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (b"a", TypeError, r"the value is not JSON, it holds bytes: return text, such as value\.d"),
        ([bytearray(b"a")], TypeError, "it holds bytearray: return text"),
        (1j, TypeError, "it holds complex: return text, numbers, lists, dicts or a dataclass"),
        (object(), TypeError, "it holds object"),
        (Point, TypeError, "it holds type"),
        (range(3), TypeError, r"it holds range: return list\(value\)"),
        (ValueError("x"), TypeError, "it holds ValueError"),
        (json.JSONDecoder(), TypeError, r"it holds json\.decoder\.JSONDecoder"),
        ({(1, 2): 3}, TypeError, "keys must be str, .* not tuple: make the keys str"),
        (math.nan, ValueError, "holds nan or an infinity.*return None instead"),
        ([-math.inf], ValueError, "holds nan or an infinity"),
        (ENDLESS, ValueError, "contains itself"),
        pytest.param(DEEP, ValueError, "nested too deep", id="deep"),
        pytest.param(10**5000, ValueError, "4300 digits", id="huge"),
    ],
)
def test_value_that_is_not_json_is_named_with_its_cure(
    value: object, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        value_line("i", value)


def test_array_gets_the_cure_of_its_library() -> None:
    class Array:
        def tolist(self) -> list[int]:
            return [1]

    with pytest.raises(TypeError, match=r"return value\.tolist\(\)"):
        value_line("i", Array())


def test_failure_is_written_with_type_message_and_attempts() -> None:
    line = failure_line("a", Failure(0, "a", FileNotFoundError(2, "No such file", "a"), attempts=3))
    assert json.loads(line) == {
        "item": "a",
        "error": {
            "type": "FileNotFoundError",
            "message": "[Errno 2] No such file: 'a'",
            "attempts": 3,
        },
    }


def test_exception_left_in_its_worker_is_written_as_itself() -> None:
    line = failure_line("a", Failure(0, "a", RemoteError("mymod.Lost.Cause", "why")))
    assert json.loads(line)["error"] == {"type": "Cause", "message": "why", "attempts": 1}


def test_exception_that_cannot_speak_is_still_written() -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    line = failure_line("a", Failure(0, "a", MuteError()))
    assert "cannot be shown" in json.loads(line)["error"]["message"]


@pytest.mark.parametrize(("attempts", "end"), [(1, "two lines"), (3, "two lines (3 attempts)")])
def test_failure_for_people_is_one_line(attempts: int, end: str) -> None:
    failure = Failure(0, "a\n\udcff", ValueError("two\n  lines"), attempts=attempts)
    assert failure_text(failure) == f"'a\\n\\udcff' failed: ValueError: {end}"
