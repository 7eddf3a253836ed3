"""Arrays hold what they should, whatever happens beside: threads, deaths, retries, forks, what is kept.

A slot that was used again too early, or given back, would show as other numbers.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import threading
import time
from typing import Any

import pytest

import gearshift as gs
from gearshift.engines import ProcessExecutor
from gearshift.engines.processes import arena as arenas
from gearshift.engines.processes import slots

np = pytest.importorskip("numpy")

pytestmark = [
    pytest.mark.stress,
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # it is what is tested
]

SECONDS = 6.0
SIZES = (10, 5_000, 20_000, 200_000)
Kept = list[tuple[float, Any, Any]]


def work(array: Any) -> Any:
    if random.random() < 0.01:
        os.kill(os.getpid(), signal.SIGKILL)
    doubled = array * 2
    return doubled, array[::2].copy(), {"view": doubled[3:9], "number": int(array[0])}


def is_right(kept: Kept) -> bool:
    return all((a == 2 * n).all() and (b == n + 1).all() for n, a, b in kept)


class Consumer(threading.Thread):
    """Maps arrays, keeps some of what comes, looks at it again, drops it, forks."""

    def __init__(self, seed: int, engine: ProcessExecutor) -> None:
        super().__init__()
        self._choose = random.Random(seed)
        self._engine = engine
        self.wrong = 0
        self.children: list[int] = []

    def run(self) -> None:
        kept: Kept = []
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            self._map(kept)
            self.wrong += not is_right(kept)
            self._choose.shuffle(kept)
            del kept[self._choose.randrange(0, 40) :]
            if self._choose.random() < 0.2:
                gc.collect()
            if self._choose.random() < 0.1:
                self._fork(kept)

    def _map(self, kept: Kept) -> None:
        choose = self._choose
        numbers = [float(choose.randrange(1000)) for _ in range(choose.randrange(1, 60))]
        items = [np.full(choose.choice(SIZES), number) for number in numbers]
        chunksize = choose.choice([None, 1, 3, 9])
        run = gs.map(work, items, on=self._engine, chunksize=chunksize, retries=5)
        for number, (doubled, half, rest) in zip(numbers, run, strict=True):
            self.wrong += not ((doubled == 2 * number).all() and (half == number).all())
            self.wrong += rest["number"] != number
            if choose.random() < 0.2:
                half[:] += 1
                kept.append((number, choose.choice([doubled, doubled[5:10]]), half))

    def _fork(self, kept: Kept) -> None:
        child = os.fork()
        if child:
            self.children.append(child)
            return
        right = is_right(kept)
        for _, _, half in kept:
            half[:] = -9  # must not reach the parent
        time.sleep(0.3)  # in which it goes on
        right &= all((a == 2 * n).all() and (b == -9).all() for n, a, b in kept)
        os._exit(not right)


@pytest.mark.parametrize("copies", [True, False], ids=["copied at a fork", "as an older Linux"])
def test_arrays_hold_what_they_should(monkeypatch: pytest.MonkeyPatch, *, copies: bool) -> None:
    if not copies:
        monkeypatch.setattr(arenas, "_POPULATE_WRITE", -1)
    with ProcessExecutor(3) as engine:
        consumers = [Consumer(seed, engine) for seed in range(3)]
        for each in consumers:
            each.start()
        for each in consumers:
            each.join()
        children = [child for each in consumers for child in each.children]
        statuses = [os.waitpid(child, 0)[1] for child in children]
        assert sum(each.wrong for each in consumers) == 0
        assert not any(statuses)
        gc.collect()
        assert engine._pool is not None
        arena = engine._pool._arena
        if copies:
            assert os.fstat(arena.fd).st_blocks * 512 < 1.5 * slots.KEPT_BYTES
    del consumers, each
    gc.collect()
    assert arena.fd == -1
