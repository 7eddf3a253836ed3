"""The promises hold on other people's executors: Dask's on a local cluster, loky's, mpi4py's.

`test_other_executors` runs this file in a process of its own: what these pools leave behind
(threads, helpers, variables of the environment) is not to be charged to other tests.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.testing import contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
loky = pytest.importorskip("loky", reason="loky is not installed")

LOG = logging.getLogger("test.gearshift.others")

pytestmark = [
    pytest.mark.leaves("their pools keep threads and processes for a while"),
    pytest.mark.filterwarnings("default"),  # theirs are not ours to mend
]

# The cluster outlives its executors, and its workers what they made.
OF_DASKS_WORKERS = {
    "check_each_worker_has_one_tool_and_closes_it",
    "check_each_worker_has_one_tool_of_an_async_factory_and_closes_it",
    "check_leaving_with_leaves_nothing_running",  # a task may begin while it is being cancelled
    "check_shutdown_leaves_nothing",  # the client starts threads when it likes
}
OF_LOKYS_PROCESSES = {"check_shutdown_leaves_nothing"}  # its resource tracker stays


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def check_ids(check: Callable[..., None]) -> str:
    return check.__name__.removeprefix("check_")


@pytest.mark.parametrize("check", contract.CHECKS, ids=check_ids)
def test_dask_keeps_the_promise(check: Callable[[contract.MakeEngine], None], dask: Any) -> None:
    if check.__name__ in OF_DASKS_WORKERS:
        pytest.skip("workers of a cluster live on, and close what they made when it ends")
    check(lambda: contract.OwnedEngine(dask.get_executor()))


@pytest.mark.parametrize("check", contract.CHECKS, ids=check_ids)
def test_loky_keeps_the_promise(check: Callable[[contract.MakeEngine], None]) -> None:
    if check.__name__ in OF_LOKYS_PROCESSES:
        pytest.skip("loky keeps its resource tracker")
    check(lambda: contract.OwnedEngine(loky.ProcessPoolExecutor(2)))


def square(item: int) -> int:
    return item * item


def die_of_three(item: int) -> int:
    if item == 3:
        os._exit(1)
    return item


def test_dask_tells_how_many_workers_it_has(dask: Any) -> None:
    with dask.get_executor() as executor:
        assert gs.engines.ForeignEngine(executor).workers == 2
        run = gs.map(square, range(100), on=executor)
        assert list(run) == [item * item for item in range(100)]
        assert run.report.engine == "ClientExecutor"


def test_item_that_kills_dasks_workers_fails_alone(dask: Any) -> None:
    items = [0, 1, 2, 4, 5, 3]  # last: Dask suspects whatever was queued behind it, too
    with dask.get_executor() as executor:
        outcomes = list(gs.map(die_of_three, items, on=executor, chunksize=1, errors="return"))
    died = outcomes.pop()
    assert outcomes == [0, 1, 2, 4, 5]
    assert isinstance(died, gs.Failure)
    assert isinstance(died.exception, gs.WorkerDiedError)
    assert "items 5: workers of ClientExecutor died of it" in str(died.exception)


tool = gs.per_worker(lambda: {"thread": threading.get_ident()})


def log_with_own_tool(item: int) -> tuple[int, int, int]:
    time.sleep(0.02)  # so that both threads have some
    LOG.info("item %s", item)
    return os.getpid(), threading.get_ident(), tool()["thread"]


def test_threads_of_one_dask_worker_have_tools_and_records_of_their_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOG.name)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        found = list(gs.map(log_with_own_tool, range(20), on=executor, chunksize=1))
    assert len({pid for pid, _, _ in found}) == 1
    assert len({thread for _, thread, _ in found}) == 2
    assert all(thread == tools for _, thread, tools in found)
    mine = [message for name, _, message in caplog.record_tuples if name == LOG.name]
    assert sorted(mine) == sorted(f"item {item}" for item in range(20))


def test_dead_worker_of_loky_ends_the_run_with_its_items() -> None:
    with (
        loky.ProcessPoolExecutor(2) as executor,
        pytest.raises(gs.WorkerDiedError, match=r"items without an outcome:.* 3"),
    ):
        list(gs.map(die_of_three, range(6), on=executor, chunksize=1))


def test_reusable_executor_of_loky_serves_several_runs() -> None:
    executor = loky.get_reusable_executor(max_workers=2, timeout=1)
    for _ in range(2):
        assert sum(gs.map(square, range(50), on=executor)) == sum(map(square, range(50)))
    executor.shutdown()


MPI = """
import gearshift as gs
from mpi4py.futures import MPIPoolExecutor

def square(item):
    return item * item

if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        run = gs.map(square, range(20), on=executor)
        assert list(run) == [item * item for item in range(20)]
        print(run.report.engine, run.report.workers)
"""


def test_mpi_runs_it_too(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    mpiexec = shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("there is no mpiexec")
    (tmp_path / "program.py").write_text(MPI)
    command = [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", "program.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "MPIPoolExecutor 2\n"
