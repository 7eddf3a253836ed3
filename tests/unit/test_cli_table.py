"""Rows of a CSV output: which columns there are, and what stands in them."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest

from gearshift.cli.rows import BadLine
from gearshift.cli.table import CsvTable
from gearshift.facts import Failure


def failure(item: Any, error: BaseException | None = None) -> Failure:
    return Failure(0, item, error or ValueError('bad, "very"'), attempts=2)


def rows(*parts: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(b"".join(parts).decode())))


def test_text_items_have_one_column_and_scalars_another() -> None:
    table = CsvTable()
    assert rows(table.value("a", 1), table.value("b,c", None), table.value("d", True)) == [
        ["item", "value", "error_type", "error_message", "attempts"],
        ["a", "1", "", "", ""],
        ["b,c", "", "", "", ""],
        ["d", "true", "", "", ""],
    ]


def test_keys_of_items_and_values_are_columns() -> None:
    table = CsvTable()
    assert rows(
        table.value({"name": "x", "n": "1"}, {"name": "X", "total": 1.5}),
        table.value({"name": "y", "n": "2"}, {"total": [1, "a"]}),
        table.failure({"name": "z", "n": "3"}, failure(None)),
    ) == [
        ["name", "n", "value.name", "total", "error_type", "error_message", "attempts"],
        ["x", "1", "X", "1.5", "", "", ""],
        ["y", "2", "", '[1, "a"]', "", "", ""],
        ["z", "3", "", "", "ValueError", 'bad, "very"', "2"],
    ]


def test_dataclasses_are_dicts() -> None:
    @dataclass
    class Point:
        x: int
        y: int

    assert rows(CsvTable().value(("p",), Point(1, 2)))[1][:3] == ["p", "1", "2"]


def test_failures_before_any_value_wait_for_the_columns() -> None:
    table = CsvTable()
    assert table.failure("a", failure("a")) == b""
    assert table.state is None
    assert [row[0] for row in rows(table.value("b", {"k": 1}))] == ["item", "a", "b"]
    assert table.end() == b""


def test_failures_alone_are_written_at_the_end() -> None:
    table = CsvTable()
    table.failure("a", failure("a"))
    assert rows(table.end()) == [
        ["item", "value", "error_type", "error_message", "attempts"],
        ["a", "", "ValueError", 'bad, "very"', "2"],
    ]


def test_thousands_of_failures_do_not_wait() -> None:
    table = CsvTable()
    written = b"".join(table.failure("a", failure("a")) for _ in range(1500))
    assert len(rows(written)) == 1501


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"k": 1, "more": 2}, "the value has 'more'"),
        (5, "the value is '5'"),
        (object(), "not JSON"),
    ],
)
def test_value_that_does_not_fit_is_its_items_failure(value: Any, words: str) -> None:
    table = CsvTable()
    table.value("a", {"k": 1})
    with pytest.raises(TypeError, match=words):
        table.value("b", value)
    assert rows(table.failure("b", failure("b")))[0][0] == "b"


def test_item_of_other_keys_does_not_fit() -> None:
    table = CsvTable()
    table.value({"a": 1}, 1)
    with pytest.raises(TypeError, match="the item has 'b'"):
        table.value({"a": 1, "b": 2}, 1)
    assert rows(table.failure({"a": 1, "b": 2}, failure(None)))[0][:1] == ["1"]


def test_bad_line_stands_in_the_first_column() -> None:
    table = CsvTable()
    table.value({"a": "1", "b": "2"}, 1)
    assert rows(table.failure(BadLine("x;y", "why"), failure(None)))[0][:2] == ["x;y", ""]


def test_bare_values_have_no_other_columns() -> None:
    table = CsvTable(bare=True)
    assert table.failure("a", failure("a")) == b""
    assert rows(table.value("b", {"k": 1}), table.value("c", {"k": 2}), table.end()) == [
        ["k"],
        ["1"],
        ["2"],
    ]


def test_odd_bytes_of_a_name_come_back() -> None:
    assert b"caf\xe9" in CsvTable().value("caf\udce9", 1)


def test_columns_are_restored() -> None:
    table, later = CsvTable(), CsvTable()
    table.value({"a": 1}, {"b": 2})
    later.restore(table.state)
    assert rows(later.value({"a": 3}, {"b": 4})) == [["3", "4", "", "", ""]]
