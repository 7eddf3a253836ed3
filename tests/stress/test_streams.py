"""Streams under pressure: memory behind a stalled consumer, interrupts, many threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

STALLED = """
import itertools, threading, time
import psutil
import gearshift as gs

def produce(channel):
    try:
        for number in itertools.count():
            channel.put(bytes(100))
    except gs.ChannelClosedError:
        pass

def work(item):
    return item

process = psutil.Process()
for case in ("iterable", "wait", "drop_oldest"):
    if case == "iterable":
        source = (bytes(100) for _ in itertools.count())
    else:
        source = gs.sources.channel(when_full=case)
        threading.Thread(target=produce, args=[source], daemon=True).start()
    stream = gs.stream(source).map(work, on="threads").filter(bool, on="serial").map(work)
    with stream.start() as run:
        for _ in range(100_000):
            next(run)
        before = process.memory_info().rss
        time.sleep(1.0)
        grown = (process.memory_info().rss - before) / 2**20
        assert grown < 5, (case, grown)
    if case != "iterable":
        source.close()
"""

INTERRUPTED = """
import operator, os, signal, threading, time, random
import gearshift as gs

def work(n):
    return n

struck = 0
is_over = threading.Event()
acknowledged = threading.Event()

def strike():
    while not is_over.is_set():
        # rarer with time: on a busy machine no run would get anywhere
        time.sleep(random.uniform(0, 0.02) * (1 + struck / 100))
        acknowledged.clear()
        os.kill(os.getpid(), signal.SIGINT)
        acknowledged.wait(1.0)

class Numbers:  # an iterator that survives an interrupt
    def __init__(self):
        self._it = iter(range(60_000))
    def __iter__(self):
        return self._it

runs = 0
until = time.monotonic() + 6
threading.Thread(target=strike, daemon=True).start()
while runs < 2 or time.monotonic() < until:
    out = []
    run = None
    while True:
        try:
            if run is None:
                run = (
                    gs.stream(Numbers()).map(work, on=random.choice(["serial", "threads"]))
                    .keyed(lambda n: n % 10).scan(lambda _, n: n).filter(lambda n: True, on="serial")
                ).start()
            out.extend(run)
            break
        except KeyboardInterrupt:
            struck += 1
            acknowledged.set()
    for _ in range(3):
        try:
            assert out == list(range(60_000)), (len(out), out[:5])
            run.close()
            break
        except KeyboardInterrupt:
            acknowledged.set()
    runs += 1
while True:
    try:
        is_over.set()
        time.sleep(0.1)
        break
    except KeyboardInterrupt:
        acknowledged.set()
assert struck > 10 and runs > 1, (struck, runs)
print(struck, runs)
"""


@pytest.mark.slow
@pytest.mark.parametrize("program", [STALLED, INTERRUPTED], ids=["stalled", "interrupted"])
def test_program(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr[-3000:]
