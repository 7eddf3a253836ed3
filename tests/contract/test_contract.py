"""All promises on all engines."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gearshift.engines import (
    AsyncioExecutor,
    ForeignEngine,
    ProcessExecutor,
    SerialExecutor,
    ThreadExecutor,
)
from gearshift.testing import contract

if TYPE_CHECKING:
    from collections.abc import Callable


class OwnedEngine(ForeignEngine):
    """An executor of the standard library that ends with its engine."""

    def __init__(self, executor: Executor) -> None:
        super().__init__(executor)
        self._owned = executor

    def shutdown(self, *, wait: bool = True, kill: bool = False) -> None:
        self._owned.shutdown(wait=wait)


def foreign_processes() -> OwnedEngine:
    return OwnedEngine(ProcessPoolExecutor(2, multiprocessing.get_context("fork")))


ENGINES: dict[str, contract.MakeEngine] = {
    "serial": SerialExecutor,
    "threads": lambda: ThreadExecutor(3),
    "asyncio": lambda: AsyncioExecutor(4),
    "processes": lambda: ProcessExecutor(2),
    "foreign-threads": lambda: OwnedEngine(ThreadPoolExecutor(3)),
    "foreign-processes": foreign_processes,
}


@pytest.mark.parametrize("make_engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize(
    "check",
    contract.CHECKS,
    ids=[check.__name__.removeprefix("check_") for check in contract.CHECKS],
)
def test_engine_keeps_the_promise(
    check: Callable[[contract.MakeEngine], None], make_engine: contract.MakeEngine
) -> None:
    check(make_engine)
