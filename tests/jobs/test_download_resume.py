"""A large file whose connection breaks goes on where it was, and only if it is the same file."""

from __future__ import annotations

import hashlib
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pycurl")

SIZE = 5_000_000
CUT = 3_000_000
OLD = random.Random(1).randbytes(SIZE)
NEW = random.Random(2).randbytes(SIZE)


class Breaking(BaseHTTPRequestHandler):
    """The first answer breaks off; the next are told by `after`."""

    protocol_version = "HTTP/1.1"
    after: ClassVar[str] = "rest"
    tag: ClassVar[str | None] = '"one"'
    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.ranges.append(asked)
        number = len(self.ranges)
        if number == 1:
            self.whole(OLD, cut=CUT)
        elif asked is None or self.after == "whole":
            self.whole(NEW if self.after in {"whole", "shrunk", "elsewhere", "short"} else OLD)
        elif self.after == "busy" and number == 2:
            self.say(503, b"later")
        elif self.after == "shrunk":
            self.say(416, b"no such part")
        elif self.after == "twice" and number == 2:
            self.part(int(asked[6:-1]), SIZE, cut=1_000_000)
        elif self.after == "elsewhere":
            self.part(1000, SIZE)
        elif self.after == "short":
            self.part(int(asked[6:-1]), SIZE - 1000)
        else:
            assert self.headers.get("If-Range") == self.tag
            self.part(int(asked[6:-1]), SIZE)

    def say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def whole(self, body: bytes, *, cut: int | None = None) -> None:
        self.send_response(200)
        if self.tag is not None:
            self.send_header("ETag", self.tag)
        self.send_body(body, cut)

    def part(self, start: int, stop: int, *, cut: int | None = None) -> None:
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{SIZE}")
        if self.tag is not None:
            self.send_header("ETag", self.tag)
        self.send_body(OLD[start:stop], cut)

    def send_body(self, body: bytes, cut: int | None) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = cut is not None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Breaking.ranges.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Breaking) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/big.bin"
        server.shutdown()
        thread.join()


def fetched(url: str, into: Path, **options: Any) -> gs.DownloadRecord:
    with gs.download([url], into, **options) as run:
        (record,) = run
    return record


@pytest.mark.parametrize(
    ("after", "body", "requests", "resumed"),
    [
        ("rest", OLD, 2, 1),
        ("twice", OLD, 3, 2),
        ("busy", OLD, 3, 2),
        ("whole", NEW, 2, 1),
        ("shrunk", NEW, 3, 1),
        ("elsewhere", NEW, 3, 1),
        ("short", NEW, 3, 1),
    ],
)
def test_file_is_right_whatever_comes_after_the_break(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: str,
    body: bytes,
    requests: int,
    resumed: int,
) -> None:
    monkeypatch.setattr(Breaking, "after", after)
    record = fetched(url, tmp_path)
    assert record.error is None
    assert (record.bytes, record.sha256) == (SIZE, hashlib.sha256(body).hexdigest())
    assert (tmp_path / "big.bin").read_bytes() == body
    assert record.attempts == requests == len(Breaking.ranges)
    assert sum(asked is not None for asked in Breaking.ranges) == resumed
    assert {each.name for each in tmp_path.iterdir()} <= {"big.bin", ".gearshift.journal"} | {
        each.name for each in tmp_path.glob(".gearshift.journal*")
    }


def test_file_of_which_nothing_says_that_it_is_the_same_begins_again(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Breaking, "tag", None)
    record = fetched(url, tmp_path)
    assert record.sha256 == hashlib.sha256(OLD).hexdigest()
    assert Breaking.ranges == [None, None]


def test_size_is_bounded_over_both_parts(url: str, tmp_path: Path) -> None:
    record = fetched(url, tmp_path, max_size=SIZE - 1)
    assert not record.ok
    assert "max_size" in str(record.error)


def test_half_a_file_is_nowhere_when_no_attempt_is_left(url: str, tmp_path: Path) -> None:
    record = fetched(url, tmp_path, retries=0)
    assert not record.ok
    assert [each.name for each in tmp_path.iterdir() if "journal" not in each.name] == []
