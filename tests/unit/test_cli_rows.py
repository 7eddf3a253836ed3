"""JSON lines and rows of CSV files: what an item is, and what becomes of a line that is none."""

from __future__ import annotations

import csv
import gzip
import io
import os
import pickle
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.cli.inputs import gather
from gearshift.cli.lines import LineReader
from gearshift.cli.problems import Broken, WrongUse
from gearshift.cli.rows import BadLine, BadLineError, CsvRows, JsonLines, RecordReader, shown

if TYPE_CHECKING:
    from pathlib import Path


def json_items(text: str, *, strict: bool = False) -> list[Any]:
    parser = JsonLines("f.jsonl", strict=strict)
    return [item for line in text.split("\n") for item in parser.feed(line)]


def csv_items(text: str, *, strict: bool = False) -> list[Any]:
    parser = CsvRows("f.csv", strict=strict)
    lines = text.split("\n")
    return [item for line in lines for item in parser.feed(line)] + parser.end()


def whys(items: list[Any]) -> list[str]:
    return [item.why for item in items if isinstance(item, BadLine)]


def test_json_object_is_keywords_and_anything_else_one_argument() -> None:
    text = '{"a": 1}\n[1, 2]\n"x"\n\n4\nnull\n   \ntrue'
    assert json_items(text) == [{"a": 1}, ([1, 2],), ("x",), (4,), (None,), (True,)]


def test_bad_json_is_named_by_line_and_column_and_the_rest_goes_on() -> None:
    items = json_items('1\n{"a": }\n3\n{"b"')
    assert [shown(item) for item in items] == [1, '{"a": }', 3, '{"b"']
    assert whys(items) == [
        "f.jsonl, line 2, column 7: Expecting value",
        "f.jsonl, line 4, column 5: Expecting ':' delimiter",
    ]


def test_json_without_end_is_bad_too() -> None:
    assert "f.jsonl, line 1, column 1: " in whys(json_items("[" * 100_000))[0]
    assert "f.jsonl, line 1, column 1: " in whys(json_items("1" * 10_000))[0]


def test_bad_line_raises_where_it_would_be_an_argument_also_elsewhere() -> None:
    (item,) = json_items("{")
    with pytest.raises(BadLineError, match=r"f\.jsonl, line 1"):
        print(*pickle.loads(pickle.dumps(item)))
    assert not issubclass(BadLineError, Exception)


def test_row_is_keywords_of_text() -> None:
    text = 'name,price\nscrew,0.5\n"bolt, ""long""",2\n\n"two\nlines",\n'
    assert csv_items(text) == [
        {"name": "screw", "price": "0.5"},
        {"name": 'bolt, "long"', "price": "2"},
        {"name": "two\nlines", "price": ""},
    ]


def test_quote_inside_an_unquoted_cell_is_a_quote() -> None:
    assert csv_items('a,b\n5" disk,1\nx,y') == [{"a": '5" disk', "b": "1"}, {"a": "x", "b": "y"}]


def test_bad_rows_are_named_by_line_and_cell() -> None:
    items = csv_items('a,b\n1\n1,2,3\n"x"y,2\n"p\nq",3\n4,5')
    assert whys(items) == [
        "f.csv, line 2, cell 2: 1 cells in this row, and 2 in the header",
        "f.csv, line 3, cell 3: 3 cells in this row, and 2 in the header",
        "f.csv, line 4: ',' expected after '\"'",
    ]
    assert items[-2:] == [{"a": "p\nq", "b": "3"}, {"a": "4", "b": "5"}]


def test_quote_that_never_closes_costs_its_line_only() -> None:
    items = csv_items('a,b\n"x,1\n' + "2,3\n" * 50)
    assert whys(items) == ["f.csv, line 2: a quote opens here and never closes"]
    assert items[1:] == [{"a": "2", "b": "3"}] * 50


def test_quote_that_never_closes_does_not_eat_a_long_file() -> None:
    parser = CsvRows("f.csv", strict=False)
    parser.feed("a,b")
    assert parser.feed('"x,1') == []
    items = [item for _ in range(30_000) for item in parser.feed("2,3")]
    assert len(items) == 30_001
    assert isinstance(items[0], BadLine)


@pytest.mark.parametrize(
    ("header", "words"),
    [("a,a", "has 'a' twice"), ("a,", "has an empty name"), ('"a', "cannot be read: a quote")],
)
def test_header_that_cannot_be_is_refused(header: str, words: str) -> None:
    with pytest.raises(WrongUse, match=rf"--csv f\.csv, line 1: the header.*{words}"):
        csv_items(header)


def test_strict_refuses_a_bad_line() -> None:
    with pytest.raises(WrongUse, match=r"--jsonl f\.jsonl, line 2, column 1: Expecting value"):
        json_items("1\nx", strict=True)
    with pytest.raises(WrongUse, match=r"--csv f\.csv, line 2, cell 2"):
        csv_items("a,b\n1", strict=True)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=2, max_size=2
    ).flatmap(lambda row: st.lists(st.just(row), min_size=1, max_size=3))
)
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b"], *rows])
    assert csv_items(buffer.getvalue()) == [dict(zip("ab", row, strict=True)) for row in rows]


def test_silent_pipe_gives_the_rows_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = RecordReader(LineReader(str(path)), CsvRows("pipe", strict=False))
    fd = os.open(path, os.O_RDWR)
    try:
        assert reader.available() == 0
        os.write(fd, b'a,b\n1,2\n"3\n')
        assert reader.available() == 1
        assert next(reader) == {"a": "1", "b": "2"}
        assert reader.available() == 0
        assert reader.fileno() >= 0
        os.write(fd, b'4",5\n')
        assert reader.available() == 1
        assert list(islice(reader, 1)) == [{"a": "3\n4", "b": "5"}]
    finally:
        os.close(fd)
    assert reader.available() is None
    assert list(reader) == []


def test_items_before_a_refused_line_are_given_first(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_text("1\n2\nx\n3\n")
    reader = RecordReader(LineReader(str(path)), JsonLines("f", strict=True))
    assert reader.available() == 2
    assert list(islice(reader, 2)) == [(1,), (2,)]
    for use in (reader.available, lambda: next(reader)):
        with pytest.raises(WrongUse, match="line 3"):
            use()


def test_all_kinds_are_gathered_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("line\n")
    (tmp_path / "j.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "c.csv").write_text("a\n2\n")
    inputs = gather(
        ["arg"],
        [str(tmp_path / "l.txt")],
        [f"{tmp_path}/*.csv"],
        jsons=[str(tmp_path / "j.jsonl")],
        tables=[str(tmp_path / "c.csv")],
    )
    assert inputs.star
    assert inputs.total == 5
    assert [*inputs.items] == [
        ("arg",),
        ("line",),
        {"a": 1},
        {"a": "2"},
        (str(tmp_path / "c.csv"),),
    ]


def test_rows_are_counted_where_lines_tell(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    assert gather([], [], [], tables=[str(path)]).total == 2
    path.write_text('a,b\n"1\n",2\n')
    assert gather([], [], [], tables=[str(path)]).total is None


def test_missing_file_is_named_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").touch()
    with pytest.raises(WrongUse, match=r"--csv .*row\.csv: No such file.*Did you mean 'rows\.csv'"):
        gather([], [], [], tables=[str(tmp_path / "row.csv")])


# gzip


def test_gzip_is_known_by_its_first_bytes_and_read_member_after_member(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n") + b"\0" * 5)
    assert list(LineReader(str(path))) == ["a", "bc", "d"]
    assert gather([], [str(path)], []).total is None


def test_gzip_comes_through_a_pipe_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = LineReader(str(path))
    fd = os.open(path, os.O_RDWR)
    data = gzip.compress(b"".join(b"line %d\n" % number for number in range(1000)))
    try:
        assert reader.available() == 0
        os.write(fd, data[:20])
        assert reader.available() == 0
        os.write(fd, data[20:])
        assert reader.available() == 1000
    finally:
        os.close(fd)
    assert list(reader)[-1] == "line 999"


@pytest.mark.parametrize("damage", ["early", "middle"])
def test_damaged_gzip_ends_the_run_with_a_word(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(os.urandom(200_000)))
    if damage == "early":
        del data[-100:]
    else:
        data[100_000:100_100] = b"\xff" * 100
    (tmp_path / "f.gz").write_bytes(data)
    with pytest.raises(Broken, match=r"f\.gz failed: its gzip data"):
        list(LineReader(str(tmp_path / "f.gz")))
