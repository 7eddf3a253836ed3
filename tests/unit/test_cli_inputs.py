"""Where items come from: order, laziness, totals, and what is refused."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

import pytest

from gearshift.cli import inputs as cli_inputs
from gearshift.cli.inputs import gather
from gearshift.cli.problems import Broken, WrongUse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return put


def refusal(arguments: list[str], lists: list[str], patterns: list[str]) -> str:
    with pytest.raises(WrongUse) as refused:
        gather(arguments, lists, patterns)
    return refused.value.message


def test_kinds_come_in_order(folder: Path, stdin: Callable[[bytes], None]) -> None:
    stdin(b"from stdin\n")
    (folder / "list.txt").write_text("line 1\nline 2\n", "utf-8")
    (folder / "b.dat").touch()
    (folder / "a.dat").touch()
    found = gather(["first", "-", "last"], ["list.txt"], ["*.dat"])
    assert list(found.items) == [
        "first",
        "from stdin",
        "last",
        "line 1",
        "line 2",
        "a.dat",
        "b.dat",
    ]
    assert found.total is None


def test_total_is_known_but_for_standard_input(folder: Path) -> None:
    (folder / "list.txt").write_text("line 1\nline 2", "utf-8")
    (folder / "empty.txt").touch()
    assert gather(["a", "b"], [], []).total == 2
    assert gather(["a"], ["list.txt", "empty.txt"], ["*.txt"]).total == 5
    assert gather([], ["-"], []).total is None


def test_long_list_is_not_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_inputs, "_COUNTED_BYTES", 3)
    (folder / "list.txt").write_text("1\n2\n", "utf-8")
    found = gather([], ["list.txt"], [])
    assert found.total is None
    assert list(found.items) == ["1", "2"]


def test_items_at_hand_are_a_list(folder: Path) -> None:
    (folder / "a.dat").touch()
    assert gather(["a"], [], ["*.dat"]).items == ["a", "a.dat"]


@pytest.mark.parametrize(
    ("data", "items"),
    [
        (b"", []),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\n\nb\n\n", ["a", "", "b", ""]),
        (b" a \n", [" a "]),
        (b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n", ["a", "\ufeffb"]),
        ("Zürich\n".encode(), ["Zürich"]),
        (b"\xff.txt\n", ["\udcff.txt"]),
        (b"a\rb\x0cc\xe2\x80\xa8d\n", ["a\rb\x0cc\u2028d"]),
    ],
)
def test_line_is_an_item(folder: Path, data: bytes, items: list[str]) -> None:
    (folder / "list.txt").write_bytes(data)
    found = gather([], ["list.txt"], [])
    assert list(found.items) == items
    assert found.total == len(items)


def test_line_that_is_not_utf8_still_opens_its_file(folder: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    (folder / name).write_text("content", "utf-8")
    (folder / "list.txt").write_bytes(b"\xff.txt\n")
    (item,) = gather([], ["list.txt"], []).items
    assert (folder / item).read_text("utf-8") == "content"


def test_pattern_finds_files_at_any_depth_sorted(folder: Path) -> None:
    for name in ("z.py", "a/y.py", "a/b/x.py", "a/b/no.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "folder.py").mkdir()
    assert list(gather([], [], ["**/*.py"]).items) == ["a/b/x.py", "a/y.py", "z.py"]
    assert list(gather([], [], ["./*.py"]).items) == ["./z.py"]
    assert list(gather([], [], ["a/*/"]).items) == ["a/b/"]


def test_nothing_to_read_is_refused() -> None:
    assert "no inputs: give them as arguments" in refusal([], [], [])


@pytest.mark.parametrize(("arguments", "lists"), [(["-", "-"], []), (["-"], ["-"])])
def test_standard_input_twice_is_refused(arguments: list[str], lists: list[str]) -> None:
    assert "standard input (-) can be read only once" in refusal(arguments, lists, [])


def test_missing_list_is_named_with_a_close_one(folder: Path) -> None:
    (folder / "urls.txt").touch()
    assert refusal([], ["url.txt"], []) == (
        "--lines url.txt: No such file or directory. Did you mean 'urls.txt'?"
    )
    assert "There is no folder 'no'." in refusal([], ["no/urls.txt"], [])


def test_folder_as_a_list_is_refused(folder: Path) -> None:
    (folder / "urls").mkdir()
    assert refusal([], ["urls"], []).endswith("for its files say --glob 'urls/*'.")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_list_that_may_not_be_read_is_refused(folder: Path) -> None:
    (folder / "urls.txt").touch(mode=0)
    assert "you may not read it" in refusal([], ["urls.txt"], [])


def test_pattern_without_a_match_is_refused_with_its_cure(folder: Path) -> None:
    (folder / "a.py").mkdir()
    assert refusal([], [], ["*.txt"]) == "--glob '*.txt' matches no file."
    assert "end it with a slash" in refusal([], [], ["*.py"])
    assert "as a part of its own" in refusal([], [], ["src/**.py"])


def test_list_that_vanishes_is_an_error_of_the_run(folder: Path) -> None:
    (folder / "urls.txt").write_text("a\n", "utf-8")
    found = gather([], ["urls.txt"], [])
    (folder / "urls.txt").unlink()
    with pytest.raises(Broken, match=r"reading urls\.txt failed: No such file"):
        list(found.items)
