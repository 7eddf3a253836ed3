"""What is queued before a worker, and the frames that it travels in."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearshift as gs
from gearshift.engines import ProcessExecutor
from gearshift.engines.base import Job, Wakeup
from gearshift.engines.processes import wire
from gearshift.engines.processes.wire import FrameReader
from gearshift.facts import Chunk

if TYPE_CHECKING:
    from pathlib import Path


def pause(item: float | bytes) -> None:
    if isinstance(item, float):
        time.sleep(item)


def wait_for_others(folder: Path, last: int, item: int) -> int:
    """Item 200 ends when all after it have run."""
    (folder / str(item)).touch()
    until = time.monotonic() + 20
    while item == 200 and len(list(folder.iterdir())) <= last:
        if time.monotonic() > until:
            raise TimeoutError
        time.sleep(0.001)
    return item


@given(
    bodies=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=40)), max_size=9),
    sizes=st.lists(st.integers(1, 50), min_size=1),
)
def test_frames_come_out_whole_however_the_bytes_are_cut(
    bodies: list[tuple[bytes, bytes]], sizes: list[int]
) -> None:
    data = b"".join(
        wire.header(wire.PART, 3, number, len(meta), len(body)) + meta + body
        for number, (meta, body) in enumerate(bodies)
    )
    reader = FrameReader()
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        reader.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert list(reader.frames) == [
        (wire.PART, 3, number, meta, body) for number, (meta, body) in enumerate(bodies)
    ]


def test_what_waits_behind_a_long_item_after_many_short_ones_goes_to_an_idle_worker(
    tmp_path: Path,
) -> None:
    last = 240
    with ProcessExecutor(2) as engine:
        items = range(last + 1)
        run = gs.map(partial(wait_for_others, tmp_path, last), items, on=engine, chunksize=1)
        assert list(run) == list(items)


@pytest.mark.parametrize("long", [0.05, bytes(50_000)], ids=["takes long", "large"])
def test_more_short_chunks_are_queued_and_few_long_ones(long: float | bytes) -> None:
    wakeup = Wakeup()
    with ProcessExecutor(1) as engine:
        lane = engine.open(Job(function=pause), wakeup)
        rooms = [lane.room()]
        for index, item in enumerate([*[0.0] * 200, long]):
            lane.send(Chunk(index, [item]))
            while not (news := lane.poll()):
                wakeup.wait(5, lane.filenos())
            lane.ack(len(news))
            rooms.append(lane.room())
        lane.close()
    assert rooms[0] == rooms[-1] == 2
    assert 2 < max(rooms) <= 64
