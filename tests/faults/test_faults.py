"""Every cell of the fault table on every engine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gearshift.engines import (
    AsyncioExecutor,
    ProcessExecutor,
    SerialExecutor,
    ThreadExecutor,
)
from gearshift.testing import contract, faults

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.engines import Engine


def foreign_processes() -> contract.OwnedEngine:
    return contract.OwnedEngine(ProcessPoolExecutor(2, multiprocessing.get_context("fork")))


ENGINES: dict[str, Callable[[], Engine]] = {
    "serial": SerialExecutor,
    "threads": lambda: ThreadExecutor(2),
    "asyncio": lambda: AsyncioExecutor(2),
    "processes": lambda: ProcessExecutor(2),
    "foreign-threads": lambda: contract.OwnedEngine(ThreadPoolExecutor(2)),
    "foreign-processes": foreign_processes,
}
# the same as text, for a program that goes down
SOURCES = {
    "serial": "e.SerialExecutor()",
    "threads": "e.ThreadExecutor(2)",
    "asyncio": "e.AsyncioExecutor(2)",
    "processes": "e.ProcessExecutor(2)",
    "foreign-threads": "e.ForeignEngine(ThreadPoolExecutor(2))",
    "foreign-processes": "e.ForeignEngine(ProcessPoolExecutor(2))",
}
PROGRAM = """\
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from gearshift import engines as e
from gearshift.testing.faults import spring_cell
spring_cell(lambda: {engine}, {stage!r}, {kind!r})
"""


# A pool whose worker was killed sets an exception on futures that were cancelled just before: its
# own thread ends with an InvalidStateError then (cpython 3.11, concurrent/futures/process.py).
RACE = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
CELLS = [
    pytest.param(name, marks=RACE) if name == "foreign-processes" else name for name in ENGINES
]


@pytest.mark.parametrize("engine", CELLS)
@pytest.mark.parametrize("kind", faults.KINDS)
@pytest.mark.parametrize("stage", faults.STAGES)
def test_fault_ends_as_the_table_says(stage: faults.Stage, kind: faults.Kind, engine: str) -> None:
    made = ENGINES[engine]()
    outcome = faults.expected(made.traits, stage, kind)
    if outcome is faults.Outcome.DOWN:
        made.shutdown()
        check_program_goes_down(SOURCES[engine], stage, kind)
    else:
        faults.check_cell(lambda: made, stage, kind)


def check_program_goes_down(engine: str, stage: str, kind: str) -> None:
    program = PROGRAM.format(engine=engine, stage=stage, kind=kind)
    # a session of its own: its workers may outlive it, and would keep pipes open
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=output, stderr=output, start_new_session=True
        ) as going,
    ):
        try:
            status = going.wait(30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(going.pid, signal.SIGKILL)
        output.seek(0)
        assert (status, output.read()) == (-signal.SIGKILL, b"")


def test_table_has_every_cell() -> None:
    assert list(faults.TABLE) == [(stage, kind) for stage in faults.STAGES for kind in faults.KINDS]


def test_check_cell_refuses_what_would_take_the_program_down() -> None:
    with pytest.raises(ValueError, match="takes the program down on serial"):
        faults.check_cell(SerialExecutor, "run", "kill")
