"""Ten pictures from a server that takes its time: the tour's example of waiting.

Apart from the rest because it owns a thread: the server's event loop. The loop alone
writes the counters, other threads only read them. Nothing leaves this machine, and a
proxy that the environment names is not asked.

    fetch, fetch_async --socket--> 127.0.0.1 --event loop in a thread--> _answer, after the delay
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
import zlib
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

__all__ = ["PictureServer", "fetch", "fetch_async", "picture"]

_HOST = "127.0.0.1"
_PATIENCE_SECONDS = 30.0  # a fetch that takes longer has no server: say so instead of hanging
_SIDE_PIXELS = 32
_REQUEST = re.compile(rb"GET /(\d{1,9})\.png HTTP/1\.[01]\r\n")


def fetch(url: str) -> bytes:
    """Return what stands at a URL, blocking this thread while it waits.

    Args:
        url: An `http` address with a port.

    Returns:
        The body of the answer.

    Raises:
        OSError: The server cannot be reached, or it answered something else than 200.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        if answer.status != HTTPStatus.OK:
            raise OSError(f"{url} answered {answer.status}: is it one of `PictureServer.urls`?")
        return answer.read()
    finally:
        connection.close()


async def fetch_async(url: str) -> bytes:
    """Return what stands at a URL, giving the event loop to others while it waits.

    Args:
        url: An `http` address with a port, whose server closes the connection after its answer.

    Returns:
        The body of the answer.

    Raises:
        OSError: The server cannot be reached, or it answered something else than 200.
    """
    parts = urlsplit(url)
    async with asyncio.timeout(_PATIENCE_SECONDS):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close"
            writer.write(f"{request}\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        finally:
            writer.close()
            with suppress(OSError):  # the other side may be gone already: we have its answer
                await writer.wait_closed()
    status = head.decode("latin-1").split()[1:2]
    if status != [str(HTTPStatus.OK.value)]:
        raise OSError(f"{url} answered {''.join(status)}: is it one of `PictureServer.urls`?")
    return body


def picture(number: int) -> bytes:
    """Return a small PNG, another one for each number and the same one on every call.

    Args:
        number: Which picture, 0 or more.

    Returns:
        The file's bytes: 32 by 32 pixels, eight bits each of red, green and blue.
    """
    red = 37 * number % 256
    rows = b"".join(
        b"\0" + bytes(byte for column in range(_SIDE_PIXELS) for byte in (red, 8 * row, 8 * column))
        for row in range(_SIDE_PIXELS)
    )  # the zero at the head of a row: no filter
    header = struct.pack(">IIBBBBB", _SIDE_PIXELS, _SIDE_PIXELS, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_part(kind, data) for kind, data in parts)


class PictureServer:
    """A local server of pictures that answers each request after a delay.

    It runs from construction to `close`, or to the end of a `with` block.

    Args:
        delay_seconds: Time from a request to its answer.
        sleep: Waits that long, on the server's loop.

    Attributes:
        delay_seconds: The same; may be changed while it runs.
        peak: Most requests that waited at the same time since `reset_peak`.
        served: Requests answered with a picture.

    Example:
        >>> with PictureServer(delay_seconds=0) as server:
        ...     fetch(server.urls(2)[1]) == picture(1)
        True
    """

    def __init__(
        self,
        delay_seconds: float = 0.1,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._sleep = sleep
        self.delay_seconds = delay_seconds
        self.peak: int = 0
        self.served: int = 0
        self._waiting = 0
        self._listening = socket.create_server((_HOST, 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        # A daemon, so that a second Ctrl-C during close() still ends the program.
        self._thread = threading.Thread(target=self._run, name="tour-pictures", daemon=True)
        self._thread.start()

    def urls(self, count: int) -> list[str]:
        """Return the addresses of the first `count` pictures."""
        return [f"http://{_HOST}:{self.port}/{number}.png" for number in range(count)]

    def reset_peak(self) -> None:
        """Begin to count the requests that wait at the same time anew."""
        self.peak = self._waiting

    def close(self) -> None:
        """Stop the server and its thread; unanswered requests are dropped. May be called again."""
        with suppress(RuntimeError):  # closed before: its loop is gone
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the server, which runs already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.close()

    def _run(self) -> None:
        """Be the server's thread: run its loop, and leave no task, socket or loop behind."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Answer until told to stop; the runner cancels the requests that still wait."""
        server = await asyncio.start_server(self._answer, sock=self._listening)
        try:
            await self._stop.wait()
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request with a picture after the delay, and close the connection."""
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            asked = _REQUEST.match(request)
            if not asked:
                writer.write(
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            await self._delay()
            body = picture(int(asked[1]))
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: {len(body)}\r\n"
            self.served += 1
            writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
            await writer.drain()
        except asyncio.CancelledError:
            pass  # the server closes; Python 3.11 logs a traceback if this leaves the task
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # the client left, or speaks something else than HTTP: its own business
        finally:
            writer.close()

    async def _delay(self) -> None:
        """Wait the delay, and count who else waits meanwhile."""
        self._waiting += 1
        self.peak = max(self.peak, self._waiting)
        try:
            await self._sleep(self.delay_seconds)
        finally:
            self._waiting -= 1


def _png_part(kind: bytes, data: bytes) -> bytes:
    """Return one part of a PNG file: length, kind, data, checksum of the two."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
