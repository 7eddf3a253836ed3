"""Workers get their share of the cores, and random numbers of their own."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import gearshift as gs
from gearshift._work.shares import VARIABLES, limit_threads
from gearshift.engines import ProcessExecutor
from gearshift.host import cores


def variables(_: int) -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in VARIABLES}


def blas_threads(_: int) -> list[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return [library["num_threads"] for library in threadpoolctl.threadpool_info()]


def draw(_: int) -> tuple[float, float]:
    return random.random(), float(np.random.random())  # noqa: NPY002 - the global state is meant


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("options", "threads"),
    [({"threads_per_worker": 1}, 1), ({}, cores())],
    ids=["asked", "share"],
)
def test_libraries_use_as_many_threads_as_they_may(
    clean: pytest.MonkeyPatch, options: dict[str, Any], threads: int
) -> None:
    with ProcessExecutor(1, **options) as engine:
        (found,) = gs.map(variables, [0], on=engine)
        (loaded,) = gs.map(blas_threads, [0], on=engine)
    assert found == dict.fromkeys(VARIABLES, str(threads))
    assert loaded
    assert set(loaded) == {threads}
    assert "OMP_NUM_THREADS" not in os.environ


def test_variable_that_the_user_has_set_stays(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("OMP_NUM_THREADS", "7")
    with ProcessExecutor(1, threads_per_worker=2) as engine:
        (found,) = gs.map(variables, [0], on=engine)
    assert found["OMP_NUM_THREADS"] == "7"
    assert found["OPENBLAS_NUM_THREADS"] == "2"


def test_missing_threadpoolctl_is_no_obstacle(clean: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        clean.setenv(name, "1")
    clean.setitem(sys.modules, "threadpoolctl", None)
    limit_threads(1)


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), ("2", TypeError)])
def test_wrong_number_is_named(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="threads_per_worker="):
        ProcessExecutor(1, threads_per_worker=wrong)


def test_forked_workers_draw_numbers_of_their_own() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the same
    drawn = []
    for _ in range(3):
        with ProcessExecutor(1) as engine:
            drawn += list(gs.map(draw, [0], on=engine))
    for numbers in zip(*drawn, strict=True):
        assert len(set(numbers)) == 3


def seed(_: int) -> int:
    return gs.item_seed()


def test_numbers_by_item_stay_the_same() -> None:
    values = [list(gs.map(seed, range(4), on=on, seed=5)) for on in ("serial", "processes")]
    assert values[0] == values[1]
