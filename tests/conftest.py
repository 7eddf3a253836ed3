"""Hold every test to leaving nothing behind.

Apart from the tests, since no test can opt out silently: the fixture looks at
what the process has before and after each one, and needs about 0.15 ms for it.
Only when something is new does it wait, since threads and processes that were
told to end take a moment; what is then still there fails the test.

Invariant: whatever a test is charged with was not there when it began. A test
that must leave something says so: `@pytest.mark.leaves("reason")`.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

WAIT_SECONDS = 2.0  # a killed worker on a loaded machine is reaped well within it
POLL_SECONDS = 0.005

FDS = Path("/proc/self/fd")
TASKS = Path("/proc/self/task")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written to

# The machines are shared: how long an example takes says nothing. In CI hypothesis
# has a profile of its own, which repeats exactly and has no deadline either.
settings.register_profile("local", deadline=None)
if "CI" not in os.environ:
    settings.load_profile("local")

_finished = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test got to its end, neither failed nor interrupted.

    Else its traceback keeps alive what it held, and there is a message already.
    """
    report = yield
    item.stash[_finished] = report.when == "call" and not report.failed
    return report


@pytest.fixture(autouse=True)
def _leaves_nothing(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("leaves"):
        yield
        return
    before = {name: look() for name, (look, _) in LOOKS.items()}
    yield
    if not request.node.stash.get(_finished, False):
        return
    left = _left(before) and _wait_until_gone(before)
    if left:
        pytest.fail(
            f"left behind, {WAIT_SECONDS:g} s after the test: {'; '.join(left)}. Close "
            'it in the test, or mark the test `leaves("why")`.',
            pytrace=False,
        )


def _wait_until_gone(before: dict[str, set[Any]]) -> list[str]:
    deadline = time.monotonic() + WAIT_SECONDS
    gc.collect()  # a file or pool may hang on a cycle, such as an exception's
    while (left := _left(before)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if left:
        gc.collect()  # a thread that has ended by now may have held it at the first time
        left = _left(before)
    return left


def _left(before: dict[str, set[Any]]) -> list[str]:
    return [
        f"{name} {describe(new)}"
        for name, (look, describe) in LOOKS.items()
        for new in look() - before[name]
    ]


def _threads() -> set[Any]:
    # the objects: an ident is used again as soon as its thread is gone
    return set(threading.enumerate())


def _processes() -> set[Any]:
    try:
        pids = {
            int(pid)
            for task in os.listdir(TASKS)  # noqa: PTH208 - the names are all we need
            for pid in (TASKS / task / "children").read_text("ascii").split()
        }
    except OSError:  # another system, or a thread that ended meanwhile
        pids = {child.pid for child in psutil.Process().children()}
    return pids - {
        _helper("resource_tracker", "_resource_tracker", "_pid"),
        _helper("forkserver", "_forkserver", "_forkserver_pid"),
    }


def _describe_process(pid: int) -> str:
    try:
        return f"{pid} ({' '.join(psutil.Process(pid).cmdline())})"
    except psutil.ZombieProcess:
        return f"{pid} (ended, but never waited for)"
    except psutil.NoSuchProcess:
        return f"{pid} (gone by now)"


def _files() -> set[Any]:
    found = set()
    for fd in _names(FDS):
        if fd in {"0", "1", "2"}:  # pytest's own capturing puts others in their place
            continue
        try:
            found.add((int(fd), os.readlink(f"{FDS}/{fd}")))  # noqa: PTH115 - in 1 us
        except OSError:  # the listing's own descriptor
            continue
    helpers = {
        _helper("resource_tracker", "_resource_tracker", "_fd"),
        _helper("forkserver", "_forkserver", "_forkserver_alive_fd"),
    }
    return {(fd, target) for fd, target in found if fd not in helpers}


def _shared_memory() -> set[Any]:
    own = f"sem.loky-{os.getpid()}-"  # loky's names say whose they are: other programs run, too
    names = _names(SHARED_MEMORY)
    return {name for name in names if not name.startswith("sem.loky-") or name.startswith(own)}


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - the names are all we need
    except OSError:  # not on this system
        return []


def _helper(module: str, instance: str, attribute: str) -> int | None:
    # multiprocessing keeps these two for the life of the interpreter
    loaded = sys.modules.get(f"multiprocessing.{module}")
    value: int | None = getattr(getattr(loaded, instance, None), attribute, None)
    return value


LOOKS: dict[str, tuple[Callable[[], set[Any]], Callable[[Any], str]]] = {
    "thread": (_threads, str),
    "process": (_processes, _describe_process),
    "open file": (_files, str),
    "shared memory": (_shared_memory, str),
}
