"""The picture server and the two ways to fetch from it."""

from __future__ import annotations

import asyncio
import socket
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from gearshift.jobs.tour.pictures import PictureServer, fetch, fetch_async, picture

PATIENCE_SECONDS = 20


class Gate:
    """A `sleep` for the server that lasts until the test opens it."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.arrived = threading.Semaphore(0)
        self._opened = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def sleep(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.asked.append(seconds)
        self.arrived.release()
        await self._opened.wait()

    def open(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._opened.set)


def parts(png: bytes) -> dict[bytes, bytes]:
    """Return a PNG's parts, having checked its signature, lengths and checksums."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = {}, 8
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert int.from_bytes(png[at + 8 + length : at + 12 + length], "big") == zlib.crc32(
            kind + data
        )
        found[kind] = data
        at += 12 + length
    return found


def test_picture_is_a_whole_png() -> None:
    found = parts(picture(3))
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    assert found[b"IHDR"] == (32).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    assert len(zlib.decompress(found[b"IDAT"])) == 32 * (1 + 3 * 32)


def test_pictures_differ_and_stay_the_same() -> None:
    assert len({picture(number) for number in range(10)}) == 10
    assert picture(7) == picture(7)


def test_both_ways_fetch_the_picture_that_was_asked_for() -> None:
    with PictureServer(delay_seconds=0) as server:
        urls = server.urls(3)
        assert [fetch(url) for url in urls] == [picture(number) for number in range(3)]
        assert asyncio.run(fetch_async(urls[2])) == picture(2)
        assert server.served == 4


def test_server_answers_only_after_the_delay_and_counts_who_waits() -> None:
    gate = Gate()
    with (
        PictureServer(delay_seconds=0.25, sleep=gate.sleep) as server,
        ThreadPoolExecutor(3) as pool,
    ):
        try:
            answers = [pool.submit(fetch, url) for url in server.urls(3)]
            assert all(gate.arrived.acquire(timeout=PATIENCE_SECONDS) for _ in range(3))
            assert (server.peak, server.served) == (3, 0)
            assert not any(answer.done() for answer in answers)
        finally:
            gate.open()
        assert [answer.result(PATIENCE_SECONDS) for answer in answers] == [
            picture(number) for number in range(3)
        ]
        assert gate.asked == [0.25] * 3


def test_peak_begins_anew_after_a_reset() -> None:
    with PictureServer(delay_seconds=0) as server:
        fetch(server.urls(1)[0])
        assert server.peak == 1
        server.reset_peak()
        assert server.peak == 0


def test_peak_is_one_when_pictures_are_fetched_one_after_another() -> None:
    with PictureServer(delay_seconds=0) as server:
        for url in server.urls(5):
            fetch(url)
        assert server.peak == 1


@pytest.mark.parametrize("path", ["/", "/one.png", "/-1.png", "/1.jpg", "/1234567890.png"])
def test_unknown_address_is_an_error_that_names_it(path: str) -> None:
    with PictureServer(delay_seconds=0) as server:
        url = f"http://127.0.0.1:{server.port}{path}"
        with pytest.raises(OSError, match="404"):
            fetch(url)
        with pytest.raises(OSError, match="404"):
            asyncio.run(fetch_async(url))


def test_server_outlives_a_client_that_leaves_and_one_that_talks_nonsense() -> None:
    with PictureServer(delay_seconds=0) as server:
        for nonsense in (b"", b"GET", b"\r\n\r\n", b"x" * 100_000):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(nonsense)
        assert fetch(server.urls(1)[0]) == picture(0)


def test_close_drops_unanswered_requests_and_leaves_no_thread_and_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    server = PictureServer(delay_seconds=0.25, sleep=gate.sleep)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(fetch, server.urls(1)[0])
        assert gate.arrived.acquire(timeout=PATIENCE_SECONDS)
        server.close()
        with pytest.raises(OSError, match=r"(?i)closed|reset"):
            answer.result(PATIENCE_SECONDS)
    server.close()
    assert caplog.records == []
    assert not [thread for thread in threading.enumerate() if thread.name == "tour-pictures"]
    with pytest.raises(ConnectionError):
        fetch(server.urls(1)[0])
