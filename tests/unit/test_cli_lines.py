"""Lines as they come: at once where they are there, and known not to be where they are not."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gearshift.cli.lines import Items, LineReader
from gearshift.cli.problems import Broken

if TYPE_CHECKING:
    from collections.abc import Iterator


class Pipe:
    """A pipe with a name of its own."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.reader = LineReader(str(path))
        self._fd = os.open(path, os.O_RDWR)  # both ends: nothing waits for the other one

    def write(self, data: bytes) -> None:
        os.write(self._fd, data)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Pipe]:
    pipe = Pipe(tmp_path / "pipe")
    yield pipe
    pipe.reader._close()


def test_silent_pipe_has_nothing_available(pipe: Pipe) -> None:
    assert pipe.reader.available() == 0
    assert pipe.reader.fileno() >= 0
    pipe.write(b"half a ")
    assert pipe.reader.available() == 0
    pipe.write(b"line\nand another\nand")
    assert pipe.reader.available() == 2
    assert list(islice(pipe.reader, 2)) == ["half a line", "and another"]
    assert pipe.reader.available() == 0
    pipe.close()


def test_end_of_a_pipe_is_known(pipe: Pipe) -> None:
    pipe.write(b"last")
    assert pipe.reader.available() == 0
    pipe.close()
    assert pipe.reader.available() == 1
    assert list(pipe.reader) == ["last"]
    assert pipe.reader.available() is None
    assert pipe.reader.fileno() == -1
    assert list(pipe.reader) == []


def test_something_is_done_before_a_wait_only(pipe: Pipe) -> None:
    waits: list[int] = []

    def about_to_wait() -> None:
        waits.append(len(waits))
        pipe.write(b"b\nc\n")

    Items([pipe.reader]).call_before_waiting(about_to_wait)
    pipe.write(b"a\n")
    assert next(pipe.reader) == "a"
    assert waits == []
    assert list(islice(pipe.reader, 2)) == ["b", "c"]
    assert waits == [0]
    assert pipe.reader.available() == 0
    assert waits == [0, 1]
    assert pipe.reader.available() == 2
    pipe.close()


def test_endless_pipe_is_read_as_asked_for(pipe: Pipe) -> None:
    for _ in range(3):
        pipe.write(b"yes\n" * 1000)
        assert list(islice(pipe.reader, 1000)) == ["yes"] * 1000
        assert pipe.reader.available() == 0
    pipe.close()


def test_long_line_is_one_item(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b"x" * 1_000_000 + b"\nshort")
    first, second = LineReader(str(tmp_path / "long.txt"))
    assert (len(first), second) == (1_000_000, "short")


def test_file_is_never_waited_for(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\nb\n")
    reader = LineReader(str(tmp_path / "list.txt"))
    reader.before_waiting = pytest.fail
    assert reader.available() == 2
    assert reader.fileno() == -1
    assert list(reader) == ["a", "b"]


def test_file_that_vanished_is_an_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(Broken, match=r"reading .*gone failed: No such file or directory"):
        next(LineReader(str(tmp_path / "gone")))


def test_file_that_cannot_be_read_is_an_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="failed: Is a directory"):
        next(LineReader(str(tmp_path)))


def test_file_of_a_run_that_was_cut_short_is_closed(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\nb\n")
    reader = LineReader(str(tmp_path / "list.txt"))
    assert next(reader) == "a"
    del reader
    links = Path("/proc/self/fd").iterdir()
    assert tmp_path not in [Path(os.path.realpath(link)).parent for link in links]


def test_parts_follow_one_another(pipe: Pipe) -> None:
    items = Items([["a", "b"], [], pipe.reader, ["z"]])
    assert items.available() == 2
    assert items.fileno() == -1
    assert list(islice(items, 2)) == ["a", "b"]
    assert items.available() == 0
    assert items.fileno() == pipe.reader.fileno()
    pipe.write(b"c\nd\n")
    assert items.available() == 2
    assert list(islice(items, 2)) == ["c", "d"]
    pipe.close()
    assert items.available() == 1
    assert list(items) == ["z"]
    assert items.available() == 1
    assert list(items) == []
