"""The server that downloaders are tried on: its kinds, its traps, and that it leaves nothing."""

from __future__ import annotations

import gzip
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPMessage, IncompleteRead
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

import pytest

from gearshift.testing.servers import Server, Stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gearshift.testing.servers import Kind

PATIENCE_SECONDS = 20
BROKEN = "broken"


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: HTTPMessage
    body: bytes


def get(url: str, method: str = "GET", **headers: str) -> Got:
    """Ask on a connection of its own; names of headers have `_` for `-`."""
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)) as connection:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, headers=fields)
        with connection.getresponse() as answer:
            return Got(answer.status, answer.headers, answer.read())


def outcome(url: str) -> int | bytes | str:
    """Return the body of a 200, else the status, else that it broke off."""
    try:
        got = get(url)
    except (OSError, HTTPException):
        return BROKEN
    return got.body if got.status == 200 else got.status


def connected(server: Server) -> socket.socket:
    parts = urlsplit(server.url(0))
    return socket.create_connection((parts.hostname or "", parts.port or 0), PATIENCE_SECONDS)


def read_to_end(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65_536), b""))


@pytest.fixture(scope="module")
def fast() -> Iterator[Server]:
    with Server("fast", files=4, size=24_000, robots="User-agent: *\nDisallow: /files/1") as server:
        yield server


@pytest.fixture(scope="module")
def big() -> Iterator[Server]:
    with Server("big", files=2, size=3_000_001) as server:
        yield server


# Files


def test_files_come_whole_on_one_connection(fast: Server) -> None:
    parts = urlsplit(fast.url(0))
    with closing(HTTPConnection(parts.netloc, timeout=PATIENCE_SECONDS)) as connection:
        for index in range(fast.files):
            connection.request("GET", urlsplit(fast.url(index)).path)
            assert connection.getresponse().read() == fast.body(index)


def test_files_differ_and_have_their_size(fast: Server, big: Server) -> None:
    for server in (fast, big):
        bodies = [server.body(index) for index in range(server.files)]
        assert [len(body) for body in bodies] == [server.size] * server.files
        assert len(set(bodies)) == server.files


@pytest.mark.parametrize("kind", ["fast", "big"])
@pytest.mark.parametrize("size", [0, 1, 3, 65_521, 65_522])
def test_small_and_odd_sizes_come_whole(kind: Kind, size: int) -> None:
    with Server(kind, files=2, size=size) as server:
        assert get(server.url(1)).body == server.body(1)


def test_big_files_come_whole_and_differ_at_each_offset(big: Server) -> None:
    body = get(big.url(1)).body
    assert body == big.body(1)
    assert len({body[at : at + 32] for at in range(0, 65_521, 64)}) == 1024


def test_client_that_does_not_read_holds_nobody_up(big: Server) -> None:
    with connected(big) as idle:
        idle.sendall(b"GET /files/0.bin HTTP/1.1\r\n\r\n")
        assert get(big.url(1)).body == big.body(1)
        idle.sendall(b"GET /files/1.bin HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert read_to_end(idle).endswith(big.body(1))


def test_head_comes_without_body(fast: Server, big: Server) -> None:
    for server in (fast, big):
        got = get(server.url(0), "HEAD")
        assert got.headers["Content-Length"] == str(server.size)
        assert got.body == b""


@pytest.mark.parametrize(
    "end", [b"HTTP/1.0\r\n\r\n", b"HTTP/1.1\r\nconnection:close\r\n\r\n"], ids=["1.0", "close"]
)
def test_connection_closes_when_asked_to(fast: Server, end: bytes) -> None:
    with connected(fast) as sock:
        sock.sendall(b"GET /files/2.bin " + end)
        assert read_to_end(sock).endswith(b"\r\n\r\n" + fast.body(2))


def test_requests_may_come_together_or_in_pieces(fast: Server) -> None:
    with connected(fast) as sock:
        sock.sendall(b"GET /files/0.bin HTTP/1.1\r\n\r\nGET /files/1.bin HTTP/1.1\r\nHo")
        sock.sendall(b"st: x\r\n\r\nGET /files/2.bin HTTP/1.0\r\n\r")
        sock.sendall(b"\n")
        got = read_to_end(sock)
    places = [got.index(fast.body(index)) for index in range(3)]
    assert places == sorted(places)
    assert got.count(b"HTTP/1.1 200 OK\r\n") == 3


@pytest.mark.parametrize("request_text", [b"POST / HTTP/1.1", b"nonsense", b"GET nowhere HTTP/1.1"])
def test_request_that_is_none_gets_400_and_the_end(fast: Server, request_text: bytes) -> None:
    with connected(fast) as sock:
        sock.sendall(request_text + b"\r\n\r\n")
        assert read_to_end(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("path", ["/", "/files/4.bin", "/files/1", "/nothing", "/redirect/x"])
def test_path_that_is_none_is_not_found(fast: Server, path: str) -> None:
    assert get(fast.at(path)).status == 404


# Ranges


@pytest.mark.parametrize(
    ("span", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-", 100_000, 3_000_001),
        ("bytes=65520-200000", 65_520, 200_001),
        ("bytes=2999999-9999999", 2_999_999, 3_000_001),
        ("bytes=-7", 2_999_994, 3_000_001),
    ],
)
def test_range_comes_alone(big: Server, span: str, start: int, stop: int) -> None:
    got = get(big.url(0), Range=span)
    assert got.status == 206
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{big.size}"
    assert got.body == big.body(0)[start:stop]


def test_small_files_have_ranges_too(fast: Server) -> None:
    got = get(fast.url(0), range="bytes=10-19")
    assert (got.status, got.body) == (206, fast.body(0)[10:20])


@pytest.mark.parametrize("span", ["bytes=-", "bytes=0-1,5-6", "lines=1-2"])
def test_range_that_is_none_of_ours_gets_the_whole(fast: Server, span: str) -> None:
    assert get(fast.url(0), Range=span).status == 200


def test_range_beyond_the_end_is_refused(fast: Server) -> None:
    got = get(fast.url(0), Range="bytes=24000-")
    assert (got.status, got.headers["Content-Range"]) == (416, "bytes */24000")


@pytest.mark.parametrize("field", ["ETag", "Last-Modified"])
def test_if_range_asks_for_the_same_file(big: Server, field: str) -> None:
    mark = get(big.url(0), "HEAD").headers[field]
    assert get(big.url(0), Range="bytes=5-9", If_Range=mark).status == 206
    assert get(big.url(0), Range="bytes=5-9", If_Range='"another"').body == big.body(0)


# Slow


def test_slow_answers_come_late_but_at_once() -> None:
    with Server("slow", files=20, size=100, delay=0.05) as server:
        socks = [connected(server) for _ in range(20)]
        begin = time.monotonic()
        for index, sock in enumerate(socks):
            sock.sendall(b"GET /files/%d.bin HTTP/1.0\r\n\r\n" % index)
        for index, sock in enumerate(socks):
            with sock:
                assert read_to_end(sock).endswith(server.body(index))
        assert 0.05 <= time.monotonic() - begin < 20 * 0.05
        assert server.stats() == Stats(requests=20, connections=20, peak_connections=20)


# Flaky


def test_faults_have_their_share() -> None:
    server = Server("flaky", files=1000)
    counts = Counter(server.fault(index) for index in range(1000))
    assert counts == {
        "": 700,
        "503": 79,  # one of them is the endless one
        "503 twice": 20,
        "reset": 50,
        "truncated": 20,
        "429": 30,
        "unsized": 30,
        "unsized, cut": 20,
        "chunked": 40,
        "chunked, cut": 10,
        "endless": 1,
    }


def test_each_fault_strikes_as_often_as_it_says() -> None:
    with Server("flaky", files=100, size=1000) as server:
        assert server.endless == 50
        first = {server.fault(index): index for index in range(100)}
        first.pop("endless")
        got = {
            fault: tuple(outcome(server.url(index)) for _ in range(3))
            for fault, index in first.items()
        }
        whole = {fault: server.body(index) for fault, index in first.items()}
    strikes: dict[str, tuple[int | bytes | str, ...]] = {
        "": (),
        "503": (503,),
        "503 twice": (503, 503),
        "429": (429,),
        "reset": (BROKEN,),
        "truncated": (BROKEN,),
        "unsized": (),
        "unsized, cut": (whole["unsized, cut"][:500],),
        "chunked": (),
        "chunked, cut": (BROKEN,),
    }
    for fault, wanted in strikes.items():
        assert got[fault] == wanted + (whole[fault],) * (3 - len(wanted)), fault


@pytest.mark.slow
def test_each_file_is_right_at_the_third_request_at_the_latest() -> None:
    with Server("flaky", files=200, size=1000) as server:
        for index in set(range(200)) - {server.endless}:
            tries = [outcome(server.url(index)) for _ in range(3)]
            assert tries[2] == server.body(index), server.fault(index)


def test_faults_look_on_the_wire_as_they_should() -> None:
    with Server("flaky", files=100, size=1000) as server:
        index = {server.fault(index): index for index in range(100)}
        assert get(server.url(index["429"])).headers["Retry-After"] == "1"
        with pytest.raises(IncompleteRead):
            get(server.url(index["truncated"]))
        with pytest.raises(ConnectionResetError):
            get(server.url(index["reset"]))
        with pytest.raises(IncompleteRead):
            get(server.url(index["chunked, cut"]))
        assert get(server.url(index["chunked"])).headers["Transfer-Encoding"] == "chunked"
        unsized = get(server.url(index["unsized"])).headers
        assert unsized["Content-Length"] is unsized["Transfer-Encoding"] is None


def test_endless_file_goes_on() -> None:
    with Server("flaky", files=3, size=1000) as server, connected(server) as sock:
        assert server.endless == 1
        sock.sendall(b"GET /files/1.bin HTTP/1.1\r\n\r\n")
        lines = sock.makefile("rb")
        with lines:
            assert lines.readline() == b"HTTP/1.1 200 OK\r\n"
            head = b"".join(iter(lines.readline, b"\r\n"))
            assert b"Content-Length" not in head
            for _ in range(2):
                assert len(lines.read(int(lines.readline(), 16))) > 0
                assert lines.readline() == b"\r\n"


# Traps


def test_redirects_lead_to_a_file_after_as_many_as_asked(fast: Server) -> None:
    path, hops = "/redirect/3", 0
    while (got := get(fast.at(path))).status == 302:
        path, hops = got.headers["Location"], hops + 1
    assert (hops, got.body) == (3, fast.body(0))
    assert get(fast.at("/redirect/0")).body == fast.body(0)


def test_loop_leads_to_itself(fast: Server) -> None:
    got = get(fast.at("/loop"))
    assert (got.status, got.headers["Location"]) == (302, "/loop")


def test_gzip_comes_though_nobody_asked(fast: Server) -> None:
    got = get(fast.at("/gzip"), Accept_Encoding="identity")
    assert got.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(got.body).startswith(b"gearshift")


def test_bomb_is_small_on_the_wire(fast: Server) -> None:
    got = get(fast.at("/gzip-bomb"))
    assert got.headers["Content-Encoding"] == "gzip"
    assert len(got.body) < 1_500_000
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert inflate.decompress(got.body, 3_000_000) == bytes(3_000_000)


@pytest.mark.slow
def test_bomb_is_a_whole_gzip_of_a_billion_zeros(fast: Server) -> None:
    rest = get(fast.at("/gzip-bomb")).body
    inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
    size = 0
    while not inflate.eof:
        size += len(inflate.decompress(rest, 16_000_000))
        rest = inflate.unconsumed_tail
    assert size == 1_000_000_000
    assert inflate.unused_data == b""


@pytest.mark.parametrize("name", ["a.png", "../../etc/passwd", "a\x00b", "é\n", 'a"; x="b', "%2e"])
def test_disposition_has_the_name_as_it_is(fast: Server, name: str) -> None:
    with connected(fast) as sock:
        sock.sendall(f"GET /disposition?name={quote(name)} HTTP/1.0\r\n\r\n".encode())
        head = read_to_end(sock).partition(b"\r\n\r\n")[0]
    assert head.endswith(f'\r\nContent-Disposition: attachment; filename="{name}"'.encode())


def test_disposition_may_be_given_whole(fast: Server) -> None:
    value = "attachment; filename*=UTF-8''..%2fx"
    got = get(fast.at(f"/disposition?value={quote(value)}"))
    assert got.headers["Content-Disposition"] == value


@pytest.mark.parametrize("status", [200, 204, 304, 403, 451, 500, 503, 599])
def test_status_is_the_one_asked_for(fast: Server, status: int) -> None:
    got = get(fast.at(f"/status/{status}"))
    assert got.status == status
    assert bool(got.body) == (status not in {204, 304})


@pytest.mark.parametrize("status", ["99", "100", "1000", "x", "²00"])
def test_status_that_is_none_is_not_found(fast: Server, status: str) -> None:
    assert get(fast.at(f"/status/{quote(status)}")).status == 404


def test_trickle_promises_much_and_begins(fast: Server) -> None:
    with connected(fast) as sock:
        sock.sendall(b"GET /trickle HTTP/1.1\r\n\r\n")
        with sock.makefile("rb") as lines:
            head = b"".join(iter(lines.readline, b"\r\n"))
            assert b"Content-Length: 1000000\r\n" in head
            assert lines.read(1) == b"."


def test_robots_are_told_what_was_given(fast: Server, big: Server) -> None:
    assert get(fast.at("/robots.txt")).body == b"User-agent: *\nDisallow: /files/1"
    assert get(big.at("/robots.txt")).status == 404


def test_noai_says_so(fast: Server) -> None:
    assert get(fast.at("/noai")).headers["X-Robots-Tag"] == "noai"


# Its process


def test_it_ends_with_its_block() -> None:
    with Server() as server, connected(server) as sock:
        pid = server.pid
        server.close()
        assert sock.recv(1) == b""
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_with_a_block_that_raises() -> None:
    pids = []

    def raises() -> None:
        with Server() as server:
            pids.append(server.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        raises()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.slow
def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "from gearshift.testing.servers import Server\n"
        "with Server() as server: print(server.url(0), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        parts = urlsplit(parent.stdout.readline().strip())
        address = (parts.hostname or "", parts.port or 0)
        with socket.create_connection(address, PATIENCE_SECONDS) as sock:
            parent.kill()
            assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


def test_interrupt_from_the_keyboard_is_left_to_the_parent() -> None:
    with Server() as server:
        os.kill(server.pid, signal.SIGINT)
        assert get(server.url(0)).body == server.body(0)


def test_stats_count_what_was_asked(fast: Server) -> None:
    before = fast.requests()
    get(fast.url(0))
    get(fast.at("/nothing"))
    assert fast.requests() == before + 2


def test_server_that_was_killed_says_so() -> None:
    with Server() as server:
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=re.escape("ended with -9 instead of answering")):
            server.stats()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "quick"}, "kind='quick' is none of fast, slow, big, flaky"),
        ({"files": 0}, "files=0, size=24000: give at least one file"),
        ({"size": -1}, "files=100, size=-1: give at least"),
        ({"delay": -1.0}, "delay=-1.0 is no time to wait"),
        ({"delay": float("nan")}, "delay=nan is no time to wait"),
    ],
)
def test_argument_without_meaning_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Server(**options)  # type: ignore[arg-type]  # that is what is tested


def test_server_outside_its_block_says_what_to_do() -> None:
    server = Server(files=2)
    with pytest.raises(RuntimeError, match=re.escape("use it inside `with Server(...):`")):
        server.url(0)
    with pytest.raises(IndexError, match=re.escape("index=2: there are files 0 to 1")):
        server.url(2)
    assert len(server.body(1)) == 24_000
