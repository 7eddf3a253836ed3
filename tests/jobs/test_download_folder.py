"""Files get their names whole, never over another, and leave nothing when they do not."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gearshift.jobs.download.folder import Folder, sha256_of

if TYPE_CHECKING:
    from pathlib import Path

WAYS = ["nameless", "hidden"]


def folder_of(path: Path, way: str) -> Folder:
    folder = Folder(path)
    if way == "hidden":
        folder._has_nameless = False
    return folder


def put(folder: Folder, name: str, data: bytes) -> str:
    file = folder.open_file()
    file.write(data)
    return folder.place(file, name.split("/"), hashlib.sha256(data).hexdigest())


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


@pytest.mark.parametrize("way", WAYS)
def test_file_has_its_name_when_it_is_placed_and_not_before(tmp_path: Path, way: str) -> None:
    folder = folder_of(tmp_path, way)
    file = folder.open_file()
    file.write(b"half")
    assert [name for name in names(tmp_path) if not name.startswith(".")] == []
    file.write(b" and half")
    digest = hashlib.sha256(b"half and half").hexdigest()
    assert folder.place(file, ["a.txt"], digest) == "a.txt"
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"half and half"
    assert sha256_of(tmp_path / "a.txt") == digest


@pytest.mark.parametrize("way", WAYS)
def test_name_that_is_taken_gets_a_number_unless_the_content_is_the_same(
    tmp_path: Path, way: str
) -> None:
    folder = folder_of(tmp_path, way)
    (tmp_path / "a.txt").write_bytes(b"theirs")
    assert put(folder, "a.txt", b"ours") == "a (2).txt"
    assert put(folder, "a.txt", b"theirs") == "a.txt"
    assert put(folder, "a.txt", b"other!") == "a (3).txt"
    assert put(folder, "a.txt", b"ours") == "a (2).txt"
    assert (tmp_path / "a.txt").read_bytes() == b"theirs"
    assert names(tmp_path) == ["a (2).txt", "a (3).txt", "a.txt"]


@pytest.mark.parametrize("way", WAYS)
def test_link_that_has_the_name_is_neither_followed_nor_replaced(tmp_path: Path, way: str) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    into = tmp_path / "into"
    folder = folder_of(into, way)
    (into / "a.txt").symlink_to(outside)
    assert put(folder, "a.txt", b"mine") == "a (2).txt"
    (into / "b.txt").symlink_to(tmp_path / "nowhere")
    assert put(folder, "b.txt", b"b") == "b (2).txt"
    assert outside.read_bytes() == b"mine"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("way", WAYS)
def test_many_threads_never_give_one_name_twice(tmp_path: Path, way: str) -> None:
    folder = folder_of(tmp_path, way)
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda number: put(folder, "x/a.jpg", b"%d" % number), range(200)))
    assert len(set(paths)) == 200
    for number, path in enumerate(paths):
        assert (tmp_path / path).read_bytes() == b"%d" % number


@pytest.mark.parametrize("way", WAYS)
def test_file_that_is_discarded_or_let_go_of_is_gone(tmp_path: Path, way: str) -> None:
    folder = folder_of(tmp_path, way)
    file = folder.open_file()
    file.write(b"x")
    file.discard()
    file.discard()
    dropped = folder.open_file()
    del dropped
    assert names(tmp_path) == []


def test_what_programs_that_are_gone_have_left_is_taken_away(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".gearshift-{ended.pid}-3.part").write_bytes(b"old")
    (tmp_path / f".gearshift-{os.getpid()}-3.part").write_bytes(b"of somebody")
    (tmp_path / ".gearshift-notes").write_bytes(b"theirs")
    Folder(tmp_path)
    assert names(tmp_path) == [f".gearshift-{os.getpid()}-3.part", ".gearshift-notes"]


def test_file_can_be_synced_to_the_disk_before_it_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path, fsync=True)
    assert put(folder, "a/b.txt", b"x") == "a/b.txt"


def test_size_says_whether_a_file_is_still_there(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    put(folder, "a.txt", b"four")
    assert folder.holds("a.txt", 4)
    assert not folder.holds("a.txt", 5)
    assert not folder.holds("b.txt", 4)


def test_folder_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        Folder(tmp_path / "file")


def test_file_may_be_cut_back(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    file = folder.open_file()
    file.write(b"abcdef")
    file.truncate(2)
    file.write(b"X")
    assert folder.place(file, ["a"], hashlib.sha256(b"abX").hexdigest()) == "a"
    assert (tmp_path / "a").read_bytes() == b"abX"


@pytest.mark.parametrize("way", WAYS)
def test_file_of_ours_is_replaced_and_a_strangers_is_not(tmp_path: Path, way: str) -> None:
    folder = folder_of(tmp_path, way)
    put(folder, "sub/a.txt", b"old")
    was = (tmp_path / "sub" / "a.txt").lstat()
    for data, is_done in ((b"new", True), (b"late", False)):
        file = folder.open_file()
        file.write(data)
        assert folder.replace(file, "sub/a.txt", was) is is_done
    assert (tmp_path / "sub" / "a.txt").read_bytes() == b"new"
    assert not folder.remove("sub/a.txt", was)
    assert folder.remove("sub/a.txt", (tmp_path / "sub" / "a.txt").lstat())
    assert not folder.remove("sub/a.txt", was)
    assert names(tmp_path) == ["sub"]
    assert names(tmp_path / "sub") == []
