"""Answers that no good server gives: each costs its own record, and nothing wrong is stored."""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

import gearshift as gs
from gearshift.testing.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pycurl")

OK = b"HTTP/1.1 200 OK\r\n"


class Odd(socketserver.StreamRequestHandler):
    """Sends what the table has for a path: the next of it at each request, and the last for ever."""

    answers: ClassVar[dict[str, list[bytes]]] = {}
    times: ClassVar[Counter[str]] = Counter()
    heard: ClassVar[list[bytes]] = []

    def handle(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = self.request.recv(65536)
            if not data:
                return
            head += data
        self.heard.append(head)
        path = head.split()[1].decode()
        scripted = self.answers[path]
        answer = scripted[min(self.times[path], len(scripted) - 1)]
        self.times[path] += 1
        self.wfile.write(answer)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Odd, "answers", {})
    Odd.times.clear()
    Odd.heard.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def good() -> Iterator[Server]:
    with Server("fast", files=20, size=1000) as server:
        yield server


def fetched(urls: Any, into: Path, **options: Any) -> list[gs.DownloadRecord]:
    with gs.download(urls, into, **options) as run:
        return list(run)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 F\r\nLocation: http://caf\xe9.invalid/\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 204 N\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 304 N\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 204 N\r\n\r\n",
        b"HTTP/1.1 404 NF\r\nHTTP/1.1 200 OK: x\r\nContent-Length: 4\r\n\r\npage",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd",
        OK + b"Content-Encoding: klingon\r\nContent-Length: 4\r\n\r\nabcd",
        OK + b"X: " + b"y" * 1_000_000 + b"\r\nContent-Length: 1\r\n\r\nz",
        b"nonsense\r\n\r\n",
    ],
)
def test_odd_answer_fails_alone(odd: str, good: Server, tmp_path: Path, answer: bytes) -> None:
    Odd.answers["/odd"] = [answer]
    records = fetched([*good.urls[:10], f"{odd}/odd", *good.urls[10:]], tmp_path, retries=1)
    assert [record.ok for record in records] == [True] * 10 + [False] + [True] * 10
    assert records[10].error
    assert "odd" not in {each.name for each in tmp_path.iterdir()}


def unsized(body: bytes) -> bytes:
    return b"HTTP/1.0 200 OK\r\n\r\n" + body


@pytest.mark.parametrize(
    ("bodies", "stored"),
    [
        ([b"x" * 5000, b"x" * 2000, b"x" * 2000, b"x" * 5000], b"x" * 5000),
        ([b"", b"", b"x" * 5000, b"x" * 5000], b"x" * 5000),
        ([b"x" * 5000, b"x" * 5000], b"x" * 5000),
    ],
)
def test_answers_without_an_end_are_compared_with_the_longest(
    odd: str, tmp_path: Path, bodies: list[bytes], stored: bytes
) -> None:
    Odd.answers["/a"] = [unsized(body) for body in bodies]
    (record,) = fetched([f"{odd}/a"], tmp_path)
    assert (tmp_path / str(record.path)).read_bytes() == stored
    assert record.unverified is None
    assert len(Odd.heard) == len(bodies)


def test_answers_without_an_end_that_all_differ_are_said_to(odd: str, tmp_path: Path) -> None:
    Odd.answers["/a"] = [unsized(b"%04d" % number) for number in range(9)]
    (record,) = fetched([f"{odd}/a"], tmp_path)
    assert record.ok
    assert "differ" in str(record.unverified)


BROKEN = b'Content-Length: 6000000\r\nETag: "A"\r\n\r\n' + b"a" * 3_000_000


@pytest.mark.parametrize(
    "head",
    [
        b'Content-Range: bytes 3000000-5999999/6000000\r\nETag: "B"\r\n',
        b"Content-Range: bytes 3000000-5999999/6000000\r\n",
        b'Content-Range: bytes 3000000-3999999/6000000\r\nETag: "A"\r\n',
        b'Content-Range: bytes 3000000-3499999/3500000\r\nETag: "A"\r\n',
    ],
)
def test_part_of_another_file_is_not_the_rest_of_ours(
    odd: str, tmp_path: Path, head: bytes
) -> None:
    start, _, stop = head.split()[2].partition(b"/")[0].partition(b"-")
    rest = b"b" * (int(stop) - int(start) + 1)
    part = b"HTTP/1.1 206 P\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(rest) + rest
    whole = OK + b'Content-Length: 6000000\r\nETag: "B"\r\n\r\n' + b"b" * 6_000_000
    Odd.answers["/f"] = [OK + BROKEN, part, whole]
    (record,) = fetched([f"{odd}/f"], tmp_path)
    assert record.ok
    assert (tmp_path / "f").read_bytes() == b"b" * 6_000_000


def test_halves_of_two_lines_with_one_url_are_kept_apart(odd: str, tmp_path: Path) -> None:
    rest = b"HTTP/1.1 206 P\r\nContent-Range: bytes 3000000-5999999/6000000\r\n"
    rest += b'ETag: "A"\r\nContent-Length: 3000000\r\n\r\n' + b"a" * 3_000_000
    Odd.answers["/f"] = [OK + BROKEN, OK + BROKEN, rest]
    lines = [{"url": f"{odd}/f", "name": name, "headers": {"X-User": name}} for name in "ab"]
    records = fetched(lines, tmp_path)
    assert all(record.ok for record in records)
    ranged = [head for head in Odd.heard if b"\r\nRange: " in head]
    assert sorted(head.split(b"X-User: ")[1][:1] for head in ranged) == [b"a", b"b"]


def test_two_urls_that_are_always_refused_do_not_slow_the_others(odd: str, tmp_path: Path) -> None:
    Odd.answers["/busy"] = [b"HTTP/1.1 503 B\r\nContent-Length: 0\r\n\r\n"]
    with Server("slow", files=60, delay=0.1) as slow:
        with gs.download([f"{odd}/busy", f"{odd}/busy", *slow.urls], tmp_path, retries=3) as run:
            records = list(run)
        assert slow.stats().peak_connections > 20
    assert [record.ok for record in records] == [False] * 2 + [True] * 60


def test_numbered_files_of_an_earlier_run_are_known(good: Server, tmp_path: Path) -> None:
    lines = [{"url": url, "name": "same.bin"} for url in good.urls]
    for _ in range(2):
        assert all(record.ok for record in fetched(lines, tmp_path, again=True))
        files = [each for each in tmp_path.iterdir() if not each.name.startswith(".")]
        assert len(files) == 20


def test_folder_is_where_it_was_when_the_program_goes_elsewhere(
    good: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "into").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with gs.download(good.urls, "into", connections=1) as run:
        for number, record in enumerate(run):
            assert record.ok
            if number == 0:
                os.chdir("elsewhere")
    assert len(list((tmp_path / "into").glob("*.bin"))) == 20
    assert not list((tmp_path / "elsewhere" / "into").iterdir())


@pytest.mark.parametrize(
    "headers",
    [
        {"A": "b\r\nEvil: 1"},
        {"A": "b\0"},
        {"Range": "bytes=0-1"},
        {"A:": "b"},
        {"A": None},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(tmp_path: Path, headers: Any) -> None:
    with pytest.raises(ValueError, match=r"header|name"):
        gs.download([], tmp_path, headers=headers)


def test_headers_are_sent_as_they_are(odd: str, tmp_path: Path) -> None:
    Odd.answers["/h"] = [OK + b"Content-Length: 1\r\n\r\nx"]
    (record,) = fetched([f"{odd}/h"], tmp_path, headers={"X-Name": "Zoë", "X-Empty": ""})
    assert record.ok
    assert "X-Name: Zoë".encode() in Odd.heard[0]
    assert b"X-Empty:" in Odd.heard[0]


@pytest.mark.slow
def test_csv_may_have_headers_and_a_report_is_not_its_list(odd: str, tmp_path: Path) -> None:
    Odd.answers["/h"] = [OK + b"Content-Length: 1\r\n\r\nx"]
    listed = tmp_path / "list.csv"
    listed.write_text(f'url,headers\n{odd}/h,"X-One: 1"\n{odd}/h,"{{""X-Two"": ""2""}}"\n')
    command = [sys.executable, "-m", "gearshift", "download", "--from", str(listed)]
    command += ["--into", str(tmp_path / "into")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(b"X-One: 1" in head for head in Odd.heard) == [False, True]
    assert sorted(b"X-Two: 2" in head for head in Odd.heard) == [False, True]
    done = subprocess.run(
        [*command, "--report", str(listed)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "that is the list itself" in done.stderr
    assert listed.read_text().startswith("url,headers")
