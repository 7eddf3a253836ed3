"""CPU time and memory of this program and its workers, as the system tells them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from itertools import islice
from typing import TYPE_CHECKING

import pytest

import gearshift as gs
from gearshift._api.usage import Memory, cpu_seconds

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")

MEGABYTES = 40


def hold(megabytes: int) -> int:
    held = bytearray(megabytes << 20)
    held[::4096] = b"x" * len(held[::4096])
    return os.getpid()


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@linux
def test_peak_has_what_was_freed_again() -> None:
    memory = Memory()
    hold(MEGABYTES)
    peak = memory.peak_bytes()
    assert peak is not None
    assert 0.9 * MEGABYTES <= peak / (1 << 20) <= 3 * MEGABYTES


@linux
def test_peak_begins_anew() -> None:
    hold(MEGABYTES)
    peak = Memory().peak_bytes()
    assert peak is not None
    assert peak < 4 << 20


@linux
@pytest.mark.slow
def test_peak_has_what_workers_took() -> None:
    memory = Memory()
    with gs.map(hold, [MEGABYTES] * 4, on="processes", workers=2) as run:
        workers = set(islice(iter(run), 4))
        peak = memory.peak_bytes()
    assert os.getpid() not in workers
    assert peak is not None
    assert peak / (1 << 20) >= 0.9 * len(workers) * MEGABYTES


def test_peak_is_unknown_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert Memory(tmp_path).peak_bytes() is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells nothing of children")
def test_cpu_time_has_that_of_workers_once_their_run_is_closed() -> None:
    before = cpu_seconds()
    assert before is not None
    gs.each(spin, [0.1] * 4, on="processes", workers=2)
    after = cpu_seconds()
    assert after is not None
    assert 0.4 <= after - before < 2.0


@pytest.mark.slow
@linux
def test_measuring_leaves_the_pool_free_to_fork() -> None:
    script = (
        "from gearshift._api.usage import Memory\n"
        "from gearshift.engines.processes import start_method\n"
        "memory = Memory(); memory.peak_bytes(); print(start_method())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "fork\n"
