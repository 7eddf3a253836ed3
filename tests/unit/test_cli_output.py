"""Where the lines go: whole files only, and lines only."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from gearshift.cli.output import open_sink, refuse_input_as_output
from gearshift.cli.problems import WrongUse

if TYPE_CHECKING:
    from pathlib import Path

LINE = b'{"item": 1}\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_when_it_is_whole(folder: Path) -> None:
    out = folder / "out.jsonl"
    out.write_bytes(b"before\n")
    with open_sink("out.jsonl") as sink:
        sink.write(LINE)
        assert out.read_bytes() == b"before\n"
        sink.write(LINE)
        assert sink.close(whole=True) == ""
    assert out.read_bytes() == LINE * 2
    assert names(folder) == ["out.jsonl"]


def test_whole_file_without_lines_is_a_file(folder: Path) -> None:
    with open_sink("out.jsonl") as sink:
        sink.close(whole=True)
    assert (folder / "out.jsonl").read_bytes() == b""


def test_file_cut_short_has_another_name(folder: Path) -> None:
    out = folder / "out.jsonl"
    out.write_bytes(b"before\n")
    (folder / "out.jsonl.part").write_bytes(b"an older one\n")
    with open_sink("out.jsonl") as sink:
        sink.write(LINE)
        assert sink.close(whole=False) == "The lines so far are in out.jsonl.part."
    assert out.read_bytes() == b"before\n"
    assert (folder / "out.jsonl.part").read_bytes() == LINE


def test_file_cut_short_before_its_first_line_leaves_nothing(folder: Path) -> None:
    with open_sink("out.jsonl") as sink:
        assert sink.close(whole=False) == ""
    assert names(folder) == []


def test_line_that_a_full_disk_cut_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = os.write

    def half(fd: int, data: bytes) -> int:
        if len(data) < len(LINE):
            raise OSError(28, "No space left on device")
        return written(fd, data[: len(data) // 2])

    with open_sink("out.jsonl") as sink:
        sink.write(LINE)
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            sink.write(LINE)
        monkeypatch.undo()
        sink.close(whole=False)
    assert (folder / "out.jsonl.part").read_bytes() == LINE


def test_rights_of_the_file_stay(folder: Path) -> None:
    out = folder / "out.jsonl"
    out.touch()
    out.chmod(0o640)
    with open_sink("out.jsonl") as sink:
        sink.close(whole=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o640


def test_new_file_gets_the_usual_rights(folder: Path) -> None:
    (folder / "usual").touch()
    with open_sink("out.jsonl") as sink:
        sink.close(whole=True)
    assert (folder / "out.jsonl").stat().st_mode == (folder / "usual").stat().st_mode


def test_link_stays_a_link(folder: Path) -> None:
    (folder / "real.jsonl").touch()
    (folder / "link.jsonl").symlink_to("real.jsonl")
    with open_sink("link.jsonl") as sink:
        sink.write(LINE)
        sink.close(whole=True)
    assert (folder / "link.jsonl").is_symlink()
    assert (folder / "real.jsonl").read_bytes() == LINE


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no/out.jsonl", "cannot write no/out.jsonl: No such file or directory. Make its folder"),
        (".", "cannot write .: Is a directory"),
        ("", "cannot write : "),
    ],
)
def test_place_that_cannot_be_written_is_named(path: str, words: str) -> None:
    with pytest.raises(WrongUse) as refused, open_sink(path):
        pass
    assert words in refused.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes every file")
def test_file_that_may_not_be_written_stays(folder: Path) -> None:
    (folder / "out.jsonl").touch(mode=0o400)
    with pytest.raises(WrongUse, match="Permission denied"), open_sink("out.jsonl"):
        pass


def test_device_is_written_as_it_is() -> None:
    with open_sink(os.devnull) as sink:
        sink.write(LINE)
        assert sink.close(whole=False) == ""


@pytest.mark.parametrize("path", [None, "-"])
def test_standard_output_carries_lines_only(
    path: str | None, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", os.fdopen(1, "w", closefd=False))
    with open_sink(path) as sink:
        print("from the function")
        os.write(1, b"from a worker\n")
        sink.write(b'"line"\n')
        sink.close(whole=True)
    print("afterwards", flush=True)
    out, err = capfd.readouterr()
    assert out == '"line"\nafterwards\n'
    assert sorted(err.splitlines()) == ["from a worker", "from the function"]


def test_closed_standard_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(WrongUse, match="standard output is closed: say -o FILE"), open_sink(None):
        pass


def test_input_is_not_written_over(folder: Path) -> None:
    (folder / "urls.txt").touch()
    (folder / "other.txt").touch()
    (folder / "same.txt").hardlink_to(folder / "urls.txt")
    refuse_input_as_output("urls.txt", ("other.txt", "no.txt", "a\0b"))
    refuse_input_as_output("new.txt", ("other.txt",))
    with pytest.raises(WrongUse, match=r"-o urls\.txt is also the input 'same\.txt'"):
        refuse_input_as_output("urls.txt", ("other.txt", "same.txt"))


def test_standard_input_is_not_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "urls.txt").touch()
    with (folder / "urls.txt").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(WrongUse, match=r"-o urls\.txt is also standard input"):
            refuse_input_as_output("urls.txt", ())


def test_redirected_output_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "out.jsonl").open("w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(WrongUse, match=r"standard output is also the input 'out\.jsonl'"):
            refuse_input_as_output(None, ("out.jsonl",))
