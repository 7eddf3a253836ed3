"""`gs.explain`: it runs a few items, says what would be chosen for all, and what would change that."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gearshift as gs
from gearshift._choose.changes import changes
from gearshift._choose.pick import pick
from gearshift._measure.clocks import TurnClock
from gearshift.plans import Pair, Profile

if TYPE_CHECKING:
    from pathlib import Path

HOLDS_GIL = Profile(
    items=12,
    wall_seconds=0.012,
    cpu_seconds=0.012,
    remaining=1000,
    cores=2,
    pair=Pair(items=9, seconds=0.0092, cores=0.98),
)


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def spin(count: int) -> int:
    return sum(step * step % 7 for step in range(count))


async def anap(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def test_few_items_are_run() -> None:
    calls: list[int] = []

    @gs.task(threads=True)
    def note(item: int) -> None:
        calls.append(item)
        nap(0.02)

    plan = gs.explain(note, range(500))
    assert calls == sorted(calls)
    assert 1 <= len(calls) <= 5
    assert plan.engine == "threads"
    assert plan.predictions["serial"] == pytest.approx(10, rel=0.5)
    assert plan.predictions["threads"] < 1


def test_what_computes_briefly_is_left_serial() -> None:
    plan = gs.explain(spin, [1000] * 20)
    assert plan.engine == "serial"
    assert "starting workers is not worth it" in plan.reasons[-1]
    assert plan.would_change


def test_items_faster_than_a_look_are_explained_too() -> None:
    plan = gs.explain(abs, [-1, -2])
    assert plan.engine == "serial"
    assert plan.profile is not None
    assert plan.profile.remaining == 2


def test_coroutine_function_is_run_one_after_another_for_a_while() -> None:
    plan = gs.explain(anap, [0.01] * 1000)
    assert plan.engine == "asyncio"
    assert plan.predictions["serial"] == pytest.approx(10, rel=0.5)
    assert plan.predictions["asyncio"] < 3


def test_text_is_a_few_lines_that_say_it_all() -> None:
    lines = str(gs.explain(nap, [0.02] * 500)).splitlines()
    assert re.fullmatch(
        r"nap: \d of 500 items run, \d+ ms each, \d+% of it computing; \d+ cores?", lines[0]
    )
    assert lines[1].startswith("expected: ")
    assert lines[2].startswith("choice: threads with ")
    assert lines[3].startswith("why: it waits for ")
    assert len(lines) <= 5


def test_plan_goes_into_json() -> None:
    plan = gs.explain(spin, [1000] * 20)
    data = json.loads(json.dumps(plan.as_dict()))
    assert data["engine"] == "serial"
    assert data["profile"]["remaining"] == 20
    assert data["name"] == "spin"


def test_nothing_runs_on_once_it_is_explained() -> None:
    before = threading.active_count()
    gs.explain(nap, [0.01] * 50)
    assert threading.active_count() == before


def test_star_and_workers_mean_what_they_mean_to_map() -> None:
    plan = gs.explain(pow, [(2, 3)] * 10, star=True)
    assert plan.engine == "serial"
    assert gs.explain(spin, [10], workers=1).engine == "serial"


def test_function_that_always_fails_raises_its_error() -> None:
    with pytest.raises(ZeroDivisionError):
        gs.explain(lambda item: 1 // item, [0, 0, 0])


@pytest.mark.parametrize(
    ("items", "kind", "words"),
    [
        ([], ValueError, "is empty"),
        (iter([1]), TypeError, "is not a sequence"),
        (5, TypeError, "is not a sequence"),
    ],
)
def test_items_that_cannot_be_explained_are_refused(
    items: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        gs.explain(spin, items)


def test_what_would_change_the_choice_is_told() -> None:
    told = changes(HOLDS_GIL)
    assert re.match(r"fewer than \d+ items: serial", told[0])
    assert "on 1 core: serial" in told
    locked = changes(replace(HOLDS_GIL, no_processes="its results (Lock) cannot be pickled"))
    assert "were it not that its results (Lock) cannot be pickled: processes" in locked
    few = changes(replace(HOLDS_GIL, remaining=10))
    assert re.match(r"from about \d+ items on: processes", few[0])


@given(st.integers(1, 10**6))
def test_told_number_of_items_is_where_it_changes(count: int) -> None:
    profile = replace(HOLDS_GIL, remaining=count)
    engine = pick(profile).engine
    for words in changes(profile):
        found = re.match(r"(fewer than|from about) ([\d,]+) items", words)
        if found:
            edge = int(found[2].replace(",", ""))
            beyond = edge * 8 // 10 if found[1] == "fewer than" else edge * 12 // 10 + 1
            assert pick(replace(profile, remaining=beyond)).engine != engine


def test_a_first_item_that_imports_something_is_not_what_the_others_are_judged_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def use(number: int) -> int:
        import_module("slow_to_import")
        return number

    plan = gs.explain(use, range(100_000))
    assert plan.engine != "threads"
    assert "waits" not in " ".join(plan.reasons)


def test_what_a_watcher_took_is_not_taken_for_threads_of_the_function() -> None:
    def burn() -> None:
        while time.thread_time() < 0.05:
            pass
        took.append(time.thread_time())

    took: list[float] = []
    clock = TurnClock()
    with clock:
        thread = threading.Thread(target=burn)
        thread.start()
        thread.join()
    assert clock.others_seconds > 0.04
    clock.discount(took[0])
    with clock:
        pass
    assert clock.others_seconds < 0.02
