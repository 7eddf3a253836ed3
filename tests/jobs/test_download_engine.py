"""The engine of transfers, with a transfer of the test's own: what anybody could give to it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.testing.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

pycurl = pytest.importorskip("pycurl")

from gearshift.jobs.download.engine import CurlEngine  # noqa: E402 - it needs pycurl

WAIT_SECONDS = 20.0


class Body:
    """Gives the body of a URL; what `finish` returns is the value."""

    abandoned: int = 0

    def __init__(self, url: str) -> None:
        self.url = url
        self.setup: object = None
        self.place = url.split("/")[2]
        self.attempt = 1
        self.size = 0
        self.latency = 0.0
        self.is_refused = False
        self.pieces: list[bytes] = []
        self.problem = ""

    def begin(self, curl: Any, *, is_set_up: bool) -> None:
        assert not is_set_up
        curl.setopt(pycurl.URL, self.url)
        curl.setopt(pycurl.WRITEFUNCTION, self.pieces.append)
        curl.setopt(pycurl.NOSIGNAL, 1)

    def end(self, curl: Any, code: int, message: str) -> None:
        self.problem = message if code else ""
        self.size = sum(map(len, self.pieces))

    def is_overdue(self, seconds: float) -> bool:
        return False

    def finish(self) -> Any:
        if self.problem:
            raise OSError(self.problem)
        return b"".join(self.pieces)

    def abandon(self) -> None:
        Body.abandoned += 1


BODY: Any = Body  # to the run it is a function that gives bytes


class Twice(Body):
    """Goes on with a second transfer."""

    def finish(self) -> Any:
        return Body(self.url)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("fast", files=60, size=2000) as server:
        yield server


@pytest.fixture
def engine() -> Iterator[CurlEngine]:
    engine = CurlEngine()
    yield engine
    engine.shutdown()


@pytest.mark.parametrize("kind", [Body, Twice])
@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_values_come_in_order(
    server: Server, engine: CurlEngine, kind: Any, chunksize: int | None
) -> None:
    with gs.map(kind, server.urls, on=engine, chunksize=chunksize) as run:
        assert list(run) == [server.body(index) for index in range(60)]
    assert run.report.engine == "curl"
    assert run.report.succeeded == 60


def test_engine_outlives_its_runs_and_serves_two_at_once(
    server: Server, engine: CurlEngine
) -> None:
    for _ in range(2):
        got: dict[int, list[Any]] = {}

        def work(number: int, got: dict[int, list[Any]] = got) -> None:
            got[number] = list(gs.map(BODY, server.urls, on=engine))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
        assert got[0] == got[1] == [server.body(index) for index in range(60)]


def test_what_function_begin_and_finish_raise_is_the_failure_of_its_item(
    server: Server, engine: CurlEngine
) -> None:
    class Broken(Body):
        def begin(self, curl: Any, *, is_set_up: bool) -> None:
            raise KeyError(self.url)

    def make(number: int) -> Body:
        if number == 0:
            raise ValueError(number)
        if number == 1:
            return Broken(server.url(1))
        return Body("http://127.0.0.1:1/" if number == 2 else server.url(number))

    with gs.map(make, range(6), on=engine, errors="return") as run:
        got = list(run)
    kinds = [type(each.exception) if isinstance(each, gs.Failure) else each for each in got]
    assert kinds == [ValueError, KeyError, OSError, *(server.body(number) for number in (3, 4, 5))]


def test_transfer_past_its_time_is_stopped(server: Server, engine: CurlEngine) -> None:
    urls = [server.at("/trickle"), server.url(1)]
    with gs.map(BODY, urls, on=engine, task_timeout=0.2, errors="return") as run:
        slow, fast = run
    assert isinstance(slow, gs.Failure)
    assert isinstance(slow.exception, gs.TaskTimeoutError)
    assert fast == server.body(1)


def test_transfers_of_a_run_that_is_closed_are_stopped_and_abandoned(
    server: Server, engine: CurlEngine
) -> None:
    Body.abandoned = 0
    before = server.requests()
    with gs.map(BODY, [server.url(0), *[server.at("/trickle")] * 20], on=engine) as run:
        assert next(run) == server.body(0)
        until = time.monotonic() + WAIT_SECONDS
        while server.requests() < before + 21 and time.monotonic() < until:
            time.sleep(0.005)  # all of them are to be under way
    assert Body.abandoned == 20
    assert list(gs.map(BODY, server.urls[:3], on=engine)) == [server.body(at) for at in range(3)]


def test_engine_that_was_shut_down_takes_nothing(server: Server) -> None:
    engine = CurlEngine()
    engine.shutdown()
    engine.shutdown()
    with pytest.raises(gs.RunClosedError, match="was shut down"):
        list(gs.map(BODY, server.urls, on=engine))


def test_engine_that_is_shut_down_amid_a_run_ends_it(server: Server) -> None:
    engine = CurlEngine(connections=2)
    run = gs.map(BODY, [server.url(0), *[server.at("/trickle")] * 50], on=engine)
    assert next(run) == server.body(0)
    began = time.monotonic()
    engine.shutdown(kill=True)
    with pytest.raises(gs.RunClosedError):
        list(run)
    run.close()
    assert time.monotonic() - began < WAIT_SECONDS


def test_shutdown_waits_for_what_is_under_way(server: Server) -> None:
    engine = CurlEngine()
    with gs.map(BODY, server.urls, on=engine) as run:
        assert len(list(run)) == 60
    engine.shutdown(wait=True)
    assert not any(thread.name.startswith("gearshift-curl") for thread in threading.enumerate())


def test_number_of_connections_is_kept(server: Server) -> None:
    with Server("slow", files=12, delay=0.02) as slow:
        engine = CurlEngine(connections=3)
        assert len(list(gs.map(BODY, slow.urls, on=engine))) == 12
        assert slow.stats().peak_connections <= 3
        engine.resize(5)
        assert engine.workers == 5
        engine.shutdown()


def test_transfers_of_one_host_are_bounded_and_those_of_others_go_on() -> None:
    with Server("slow", files=12, delay=0.02) as one, Server("slow", files=12, delay=0.02) as two:
        engine = CurlEngine(per_host=2)
        urls = [url for pair in zip(one.urls, two.urls, strict=True) for url in pair]
        assert len(list(gs.map(BODY, urls, on=engine, task_timeout=WAIT_SECONDS))) == 24
        assert one.stats().peak_connections <= 2
        assert two.stats().peak_connections <= 2
        with gs.map(BODY, [one.at("/trickle")] * 9, on=engine) as run:
            threading.Timer(0.1, run.cancel).start()
            with pytest.raises(gs.RunCancelledError):
                list(run)
        engine.shutdown()


@pytest.mark.parametrize("number", [0, -1])
def test_number_of_connections_that_is_none_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"connections={number} is below 1"):
        CurlEngine(connections=number)


def test_engine_that_nobody_holds_ends_by_itself(server: Server) -> None:
    engine = CurlEngine()
    assert len(list(gs.map(BODY, server.urls, on=engine))) == 60
    del engine  # its threads are gone soon: conftest.py looks
