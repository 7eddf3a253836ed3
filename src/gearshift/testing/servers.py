"""A web server on the loopback to try downloaders on: fast, slow, big or flaky.

    with Server("flaky", files=999) as server:
        download(server.urls)

Apart from the checks of engines: it knows nothing of gearshift, and it runs in a process
of its own, or a client in Python would share one interpreter with it. In one file, and so a
long one: that process is `python -m gearshift.testing.servers`, which says its port in its
first line, answers `stats` on its stdin, and ends when its stdin does, so with whoever
started it.

    request --> _Connection --> _Site.ready: an answer made beforehand --------> write
                           `--> _Site.answer: steps (bytes, seconds, _End) --> _step, write

One thread and its loop own all of it. Invariant: what a file holds follows from its index and
the size alone, and what goes wrong with it from its index and the number of the request for
it, so that whatever fails once fails again.

Every kind also has `/redirect/N` (N redirects, then file 0), `/loop` (leads to itself),
`/gzip` and `/gzip-bomb` (compressed though nobody asked; 1 MB that become 1 GB),
`/disposition?name=N` (that file name, as it is but for percent signs; `?value=V` for the whole
Content-Disposition), `/status/NNN`, `/trickle` (1,000,000 bytes, one a second), `/noai`, and
`/robots.txt`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import Enum
from functools import lru_cache, partial
from hashlib import shake_128
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast, get_args
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["Kind", "Server", "Stats"]

Kind = Literal["fast", "slow", "big", "flaky"]
"""How a server treats its files; see `Server`."""

_HOST = "127.0.0.1"
_BACKLOG = 4096  # hundreds of connections come at once; the system lowers it to its limit
_STOP_SECONDS = 5.0  # it ends within milliseconds

_READ_BYTES = 65_536
_END = b"\r\n\r\n"
_BLOCK_BYTES = 65_521  # a prime: a range put in the wrong place is seen in any power of two
_BLOCKS = 4  # a write of 256 KB costs no more calls than the socket's buffer asks for
_TURN_BYTES = 1_000_000  # then the other connections have their turn
_PREBUILT_BYTES = 256_000_000  # files of more bytes in all are made while they are sent

_REQUEST = re.compile(rb"(GET|HEAD) (?:http://[^/ ]+)?(/\S*) HTTP/1\.([01])(?=\r\n|\Z)")
_ODD = re.compile(rb"\r\n(?:connection: *close|(?:if-)?range:)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_RANGE = re.compile(rb"\r\nrange: *bytes=(\d*)-(\d*)(?=\r\n|\Z)", re.IGNORECASE)
_IF_RANGE = re.compile(rb"\r\nif-range: *([^\r]*)", re.IGNORECASE)

_MODIFIED = b"Thu, 01 Jan 2026 00:00:00 GMT"
_BODY = b"gearshift sent this, whatever you asked for\n" * 20
_RESET_SECONDS = 0.005  # the client has read the head by then
_ENDLESS_SECONDS = 0.05
_TRICKLE_BYTES, _TRICKLE_SECONDS = 1_000_000, 1.0
_BOMB_PIECES, _BOMB_PIECE_BYTES = 1_000, 1_000_000
_BOMB_CRC = 0x63F45742  # zlib.crc32 of a billion zeros

_FAULTS = (  # its name, how many files of a hundred have it, which requests it strikes
    ("503", 8, 1),
    ("503 twice", 2, 2),
    ("reset", 5, 1),
    ("truncated", 2, 1),
    ("429", 3, 1),
    ("unsized", 3, 0),
    ("unsized, cut", 2, 1),
    ("chunked", 4, 0),
    ("chunked, cut", 1, 1),
)
_FAULT_OF = tuple(name for name, share, _ in _FAULTS for _ in range(share))
_STRIKES = {name: requests for name, _, requests in _FAULTS}


class _End(Enum):
    """How a connection ends after an answer."""

    CLOSE = "close"
    RESET = "reset"


_Steps = Iterator[bytes | memoryview | float | _End]  # seconds to wait are floats


@dataclass(frozen=True, slots=True)
class Stats:
    """What a server has seen so far.

    Attributes:
        requests: Requests answered, or begun to be.
        connections: Connections accepted.
        peak_connections: The most that were open at once.
    """

    requests: int
    connections: int
    peak_connections: int


class Server:
    """A server in a process of its own, from entering a `with` to leaving it.

    Attributes:
        kind: How it treats its files.
        files: How many there are.
        size: Bytes of each.
        endless: The index of the file that has no end, or None.
    """

    def __init__(
        self,
        kind: Kind = "fast",
        *,
        files: int = 100,
        size: int = 24_000,
        delay: float = 0.2,
        robots: str | None = None,
    ) -> None:
        """Describe a server; it starts with its `with` statement.

        Args:
            kind: "fast" answers from memory. "slow" waits before each answer, for any number
                of them at once. "big" makes files while it sends them. "flaky" has of a
                hundred files 8 that answer 503 once and 2 twice, 5 reset and 2 truncated
                amid the body once, 3 with 429 and `Retry-After: 1` once, 5 without a length
                (2 of them cut short once), 5 in chunks (1 of them cut short once), and one
                file in all that never ends. All know Range, If-Range, ETag and Last-Modified.
            files: Number of files, at least 1.
            size: Bytes of each file.
            delay: Seconds before each answer of a slow server.
            robots: The text of `/robots.txt`; without one the answer is 404.

        Raises:
            ValueError: An argument has no meaning here; the text says which have.
        """
        if kind not in get_args(Kind):
            raise ValueError(f"kind={kind!r} is none of {', '.join(get_args(Kind))}: choose one")
        if files < 1 or size < 0:
            raise ValueError(f"files={files}, size={size}: give at least one file of 0 bytes")
        if not 0 <= delay < float("inf"):
            raise ValueError(f"delay={delay!r} is no time to wait: give seconds, 0 or more")
        self.kind: Kind = kind
        self.files = files
        self.size = size
        self.endless: int | None = files // 2 if kind == "flaky" else None
        self._delay = delay
        self._robots = robots
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", __name__, self.kind]
        command += [f"--files={self.files}", f"--size={self.size}", f"--delay={self._delay}"]
        if self._robots is not None:
            command.append(f"--robots={self._robots}")
        self._process = subprocess.Popen(  # noqa: S603 - this file, with numbers
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            self._port = int(self._line())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def urls(self) -> list[str]:
        """The address of every file, in the order of their indexes."""
        return [self.url(index) for index in range(self.files)]

    @property
    def pid(self) -> int:
        """The number of the server's process.

        Raises:
            RuntimeError: It is not running.
        """
        return self._running().pid

    def url(self, index: int) -> str:
        """Return the address of a file.

        Args:
            index: Which file, from 0.

        Returns:
            An absolute URL; its last part is a name of its own, such as `7.bin`.

        Raises:
            IndexError: There is no such file.
        """
        if not 0 <= index < self.files:
            raise IndexError(f"index={index}: there are files 0 to {self.files - 1}")
        return self.at(_path(index))

    def at(self, path: str) -> str:
        """Return the address of a path, such as `/loop`.

        Args:
            path: From the first slash on, quoted where need be.

        Returns:
            An absolute URL.

        Raises:
            RuntimeError: The server is not running.
        """
        self._running()
        return f"http://{_HOST}:{self._port}{path}"

    def body(self, index: int) -> bytes:
        """Return what a file holds, whether the server runs or not.

        Args:
            index: Which file; the endless one holds this, had it an end.

        Returns:
            Its bytes, other ones for each index.
        """
        block = _block(index, self.size)
        return (block * (self.size // len(block) + 1))[: self.size] if block else b""

    def fault(self, index: int) -> str:
        """Say what goes wrong with a file of a flaky server, for messages of tests.

        Args:
            index: Which file.

        Returns:
            Such as "503", "unsized, cut" or "endless"; "" if nothing does.
        """
        return _fault(index, self.files) if self.kind == "flaky" else ""

    def stats(self) -> Stats:
        """Ask the server what it has seen; not from several threads at once.

        Returns:
            The counts up to now.

        Raises:
            RuntimeError: The server is not running.
        """
        stdin = self._running().stdin
        assert stdin is not None
        with suppress(BrokenPipeError):  # `_line` says so
            stdin.write(b"stats\n")
        return Stats(**json.loads(self._line()))

    def requests(self) -> int:
        """Return how many requests the server has had.

        Returns:
            Their number, for files and for other paths.
        """
        return self.stats().requests

    def close(self) -> None:
        """End the server and wait for it; `with` does so by itself."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdout, suppress(OSError), process.stdin:
            process.stdin.write(b"stop\n")  # a forked worker of ours may hold the pipe open
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running: use it inside `with Server(...):`")
        return self._process

    def _line(self) -> bytes:
        process = self._running()
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise RuntimeError(
                f"the server (pid {process.pid}) ended with {process.wait(_STOP_SECONDS)} instead "
                "of answering: see what it wrote to stderr"
            )
        return line


# What the files hold


def _path(index: int) -> str:
    return f"/files/{index}.bin"


def _block(index: int, size: int) -> bytes:
    """Return the block that a file repeats: its index, then noise that no zip makes smaller."""
    return (b"%d\n" % index + shake_128(b"%d" % index).digest(min(size, _BLOCK_BYTES)))[
        : min(size, _BLOCK_BYTES)
    ]


@lru_cache(maxsize=32)
def _blocks(index: int, size: int) -> tuple[int, memoryview]:
    block = _block(index, size)
    return len(block), memoryview(block * _BLOCKS)


def _pieces(index: int, size: int, start: int, stop: int) -> Iterator[memoryview]:
    """Yield the bytes of a file from `start` to `stop`."""
    period, blocks = _blocks(index, size)
    while start < stop:
        offset = start % period
        piece = blocks[offset : offset + stop - start]
        yield piece
        start += len(piece)


def _fault(index: int, files: int) -> str:
    if index == files // 2:
        return "endless"
    place = index * 37 % 100  # every hundred files in a row have their share
    return _FAULT_OF[place] if place < len(_FAULT_OF) else ""


def _bomb() -> bytes:
    """Return a billion zeros as gzip, without compressing more than a million.

    A full flush ends at a byte and forgets what came before, so the piece may be repeated.
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = squeeze.compress(bytes(_BOMB_PIECE_BYTES)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    length = _BOMB_PIECES * _BOMB_PIECE_BYTES
    head, last = b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\x03\0"
    return head + piece * _BOMB_PIECES + last + struct.pack("<II", _BOMB_CRC, length)


# Answers


def _head(status: int, *fields: bytes) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unheard Of"
    return b"\r\n".join([f"HTTP/1.1 {status} {phrase}".encode(), *fields, b"", b""])


def _whole(status: int, body: bytes, *fields: bytes) -> bytes:
    return _head(status, b"Content-Length: %d" % len(body), *fields) + body


def _refusal(status: int, *fields: bytes) -> bytes:
    return _whole(status, b"This is an error of the server, and no file.\n", *fields)


def _tag(index: int, size: int) -> bytes:
    return b'"%d-%d"' % (index, size)


def _file_head(index: int, size: int, status: int = 200, *fields: bytes) -> bytes:
    return _head(
        status,
        b"Content-Type: application/octet-stream",
        b"ETag: " + _tag(index, size),
        b"Last-Modified: " + _MODIFIED,
        b"Accept-Ranges: bytes",
        *fields,
    )


def _broken(index: int, size: int, end: _End) -> _Steps:
    """Promise a whole file, send half of it."""
    yield _file_head(index, size, 200, b"Content-Length: %d" % size)
    yield from _pieces(index, size, 0, size // 2)
    if end is _End.RESET:
        yield _RESET_SECONDS
    yield end


def _unsized(index: int, size: int, *, cut: bool) -> _Steps:
    """Send a file that ends with its connection."""
    yield _file_head(index, size, 200, b"Connection: close")
    yield from _pieces(index, size, 0, size // 2 if cut else size)
    yield _End.CLOSE


def _chunked(index: int, size: int, *, cut: bool) -> _Steps:
    """Send a file in chunks."""
    yield _file_head(index, size, 200, b"Transfer-Encoding: chunked")
    for piece in _pieces(index, size, 0, size // 2 if cut else size):
        yield b"%x\r\n%b\r\n" % (len(piece), bytes(piece))
    yield _End.CLOSE if cut else b"0\r\n\r\n"


def _endless() -> _Steps:
    yield _head(200, b"Transfer-Encoding: chunked")
    while True:
        yield b"%x\r\n%b\r\n" % (len(_BODY), _BODY)
        yield _ENDLESS_SECONDS


def _trickle() -> _Steps:
    yield _head(200, b"Content-Length: %d" % _TRICKLE_BYTES)
    for _ in range(_TRICKLE_BYTES):
        yield b"."
        yield _TRICKLE_SECONDS


def _late(seconds: float, steps: _Steps) -> _Steps:
    yield seconds
    yield from steps


def _only_head(steps: _Steps) -> _Steps:
    """Leave out the body: for HEAD."""
    for step in steps:
        if isinstance(step, bytes):
            yield step.partition(_END)[0] + _END
            return
        yield step


@dataclass(frozen=True, slots=True)
class _Request:
    """What matters of a request."""

    path: str
    query: str
    head_only: bool
    closes: bool
    first: bytes | None  # of a range as it was asked for; None if none was
    last: bytes
    if_range: bytes

    @classmethod
    def parse(cls, head: bytes) -> _Request | None:
        """Return the request that a head asks for, or None if that is none of ours."""
        line = _REQUEST.match(head)
        if line is None:
            return None
        method, target, minor = line.groups()
        path, _, query = target.decode("latin-1").partition("?")
        span, condition = _RANGE.search(head), _IF_RANGE.search(head)
        return cls(
            path=path,
            query=query,
            head_only=method == b"HEAD",
            closes=minor == b"0" or _CLOSES.search(head) is not None,
            first=span[1] if span else None,
            last=span[2] if span else b"",
            if_range=condition[1] if condition else b"",
        )

    def span(self, index: int, size: int) -> tuple[int, int] | None:
        """Return where to start and stop, or None if the whole file is to be sent."""
        if self.first is None or not (self.first or self.last):
            return None
        if self.if_range not in {b"", _MODIFIED, _tag(index, size)}:
            return None
        if not self.first:
            return max(0, size - int(self.last)), size
        return int(self.first), min(size, int(self.last) + 1) if self.last else size


class _Site:
    """The files and other paths, and what was asked for."""

    def __init__(
        self, kind: str, *, files: int, size: int, delay: float, robots: str | None
    ) -> None:
        self.kind = kind
        self.files = files
        self.size = size
        self.delay = delay
        self.robots = robots
        self.requests = self.connections = self.peak = 0
        self.open: set[_Connection] = set()
        self.view = memoryview(bytearray(_READ_BYTES))  # shared: a read is used up at once
        self._asked: Counter[int] = Counter()
        self._indexes = {_path(index): index for index in range(files)}
        self._extra: dict[str, Callable[[_Request], _Steps]] = {
            "disposition": self._disposition,
            "gzip": self._gzip,
            "gzip-bomb": self._gzip_bomb,
            "loop": partial(self._moved, "/loop"),
            "noai": self._noai,
            "redirect": self._redirect,
            "robots.txt": self._robots_text,
            "status": self._status,
            "trickle": lambda _: _trickle(),
        }
        self._prebuilt: dict[bytes, bytes] = {}
        if kind == "fast" and files * size <= _PREBUILT_BYTES:
            self._prebuilt = {
                b"GET %b HTTP/1.1" % path.encode(): b"".join(self._file(None, index))
                for path, index in self._indexes.items()
            }

    def stats(self) -> Stats:
        return Stats(self.requests, self.connections, self.peak)

    def ready(self, request: bytes) -> bytes | None:
        """Return the answer that was made beforehand, or None if it takes a closer look."""
        if request.find(_END) + len(_END) != len(request) or _ODD.search(request):
            return None
        return self._prebuilt.get(request[: request.index(b"\r\n")])

    def answer(self, request: _Request) -> _Steps:
        """Return the steps of an answer."""
        index = self._indexes.get(request.path)
        if index is None:
            name = request.path.split("/")[1]
            steps = self._extra.get(name, self._unknown)(request)
        elif self.kind == "flaky":
            steps = self._flaky(request, index)
        else:
            steps = self._file(request, index)
            if self.kind == "slow":
                steps = _late(self.delay, steps)
        return _only_head(steps) if request.head_only else steps

    def _file(self, request: _Request | None, index: int) -> Iterator[bytes | memoryview]:
        size = self.size
        span = request.span(index, size) if request else None
        start, stop = span or (0, size)
        fields = [b"Content-Length: %d" % (stop - start)]
        if span is not None and start >= stop:
            yield _refusal(416, b"Content-Range: bytes */%d" % size)
            return
        if span is not None:
            fields.append(b"Content-Range: bytes %d-%d/%d" % (start, stop - 1, size))
        yield _file_head(index, size, 200 if span is None else 206, *fields)
        yield from _pieces(index, size, start, stop)

    def _flaky(self, request: _Request, index: int) -> _Steps:
        self._asked[index] += 1
        fault = _fault(index, self.files)
        strikes = self._asked[index] <= _STRIKES.get(fault, 0)
        if fault == "endless":
            return _endless()
        if fault.startswith("unsized"):
            return _unsized(index, self.size, cut=strikes)
        if fault.startswith("chunked"):
            return _chunked(index, self.size, cut=strikes)
        if not strikes:
            return self._file(request, index)
        if fault in {"reset", "truncated"}:
            return _broken(index, self.size, _End.RESET if fault == "reset" else _End.CLOSE)
        fields = [b"Retry-After: 1"] if fault == "429" else []
        return iter([_refusal(int(fault[:3]), *fields)])

    def _unknown(self, _: _Request) -> _Steps:
        yield _refusal(404)

    def _moved(self, to: str, _: _Request) -> _Steps:
        yield _refusal(302, b"Location: " + to.encode("latin-1"))

    def _redirect(self, request: _Request) -> _Steps:
        number = request.path.rpartition("/")[2]
        if not number.isdecimal():
            return iter([_refusal(404)])
        if number == "0":
            return self._file(None, 0)
        to = _path(0) if number == "1" else f"/redirect/{int(number) - 1}"
        return self._moved(to, request)

    def _status(self, request: _Request) -> _Steps:
        number = request.path.rpartition("/")[2]
        if not re.fullmatch("[2-5][0-9][0-9]", number):
            yield _refusal(404)
        elif number in {"204", "304"}:
            yield _head(int(number))
        else:
            yield _refusal(int(number))

    def _disposition(self, request: _Request) -> _Steps:
        key, _, quoted = request.query.partition("=")
        value = unquote_to_bytes(quoted)
        if key == "name":
            value = b'attachment; filename="%b"' % value
        yield _whole(200, _BODY, b"Content-Disposition: " + value)

    def _gzip(self, _: _Request) -> _Steps:
        yield _whole(200, gzip.compress(_BODY), b"Content-Encoding: gzip")

    def _gzip_bomb(self, _: _Request) -> _Steps:
        yield _whole(200, _bomb(), b"Content-Encoding: gzip")

    def _noai(self, _: _Request) -> _Steps:
        yield _whole(200, _BODY, b"X-Robots-Tag: noai")

    def _robots_text(self, _: _Request) -> _Steps:
        if self.robots is None:
            yield _refusal(404)
        else:
            yield _whole(200, self.robots.encode(), b"Content-Type: text/plain; charset=utf-8")


class _Connection(asyncio.BufferedProtocol):
    """A client's connection: one answer after another, each step by step.

    `_steps` are what is left of the answer on its way, `_later` the call that goes on with it;
    neither is set while the client is at its turn.
    """

    def __init__(self, site: _Site, loop: asyncio.AbstractEventLoop) -> None:
        self._site = site
        self._loop = loop
        self._unread = b""
        self._steps: _Steps | None = None
        self._later: asyncio.Handle | None = None
        self._closes = self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        site = self._site
        site.open.add(self)
        site.connections += 1
        site.peak = max(site.peak, len(site.open))

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.open.discard(self)
        self._steps = None
        if self._later is not None:
            self._later.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._site.view

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._site.view[:nbytes])
        if self._steps is None and not self._unread:
            answer = self._site.ready(data)
            if answer is not None:
                self._site.requests += 1
                self.transport.write(answer)
                return
        self._unread += data
        if self._steps is None:
            self._begin()
            self._go_on()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._later is None and self._steps is not None:
            self._go_on()

    def _begin(self) -> None:
        """Begin the next answer, if its request is there."""
        head, end, rest = self._unread.partition(_END)
        if not end and len(head) < _READ_BYTES:
            return
        self._unread = rest
        self._site.requests += 1
        request = _Request.parse(head)
        if request is None:
            self._steps, self._closes = iter([_refusal(400)]), True
        else:
            self._steps, self._closes = self._site.answer(request), request.closes

    def _go_on(self) -> None:
        """Take steps until there is something to wait for."""
        self._later = None
        room = _TURN_BYTES
        while self._steps is not None and not self._paused:
            step = next(self._steps, None)
            if isinstance(step, bytes | memoryview):
                self.transport.write(step)
                room -= len(step)
                if room <= 0:
                    self._later = self._loop.call_soon(self._go_on)
                    return
            elif isinstance(step, int | float):
                self._later = self._loop.call_later(step, self._go_on)
                return
            else:
                self._end(step)

    def _end(self, end: _End | None) -> None:
        """End an answer, and the connection if that is due."""
        self._steps = None
        if end is _End.RESET:
            linger = struct.pack("ii", 1, 0)  # none: the system answers what is in flight by RST
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif end is _End.CLOSE or self._closes:
            self.transport.close()
        else:
            self._begin()  # some clients ask before they have their answer


async def _serve(site: _Site, port: int) -> None:
    """Serve until stdin ends or says so."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Connection(site, loop), _HOST, port, backlog=_BACKLOG
    )
    ended = loop.create_future()

    def listen() -> None:
        words = os.read(sys.stdin.fileno(), _READ_BYTES)
        for _ in range(words.count(b"stats\n")):
            print(json.dumps(asdict(site.stats())), flush=True)  # noqa: T201 - to our parent
        if (not words or b"stop\n" in words) and not ended.done():
            ended.set_result(None)

    try:
        loop.add_reader(sys.stdin.fileno(), listen)
    except PermissionError:
        sys.exit(
            "the end of stdin ends the server, so it must be a pipe or a terminal: give it one"
        )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - to our parent
    await ended
    loop.remove_reader(sys.stdin.fileno())
    server.close()
    for connection in tuple(site.open):
        connection.transport.abort()


def _main() -> None:
    about = "Serve files on the loopback until stdin ends; the first line is the port."
    parser = argparse.ArgumentParser(prog="python -m gearshift.testing.servers", description=about)
    parser.add_argument("kind", choices=get_args(Kind))
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--size", type=int, default=24_000, help="bytes of each file")
    parser.add_argument("--delay", type=float, default=0.2, help="seconds; for slow")
    parser.add_argument("--robots", help="the text of /robots.txt")
    parser.add_argument("--port", type=int, default=0, help="a free one by default")
    options = vars(parser.parse_args())
    port = options.pop("port")
    if not sys.stdin.isatty():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is our parent's, who ends us
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(_Site(**options), port))


if __name__ == "__main__":
    _main()
