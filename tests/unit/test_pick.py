"""The choice of an engine: a property test, and recorded profiles with the plan each must give."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._choose.pick import MOST_THREADS, _seconds, pick
from gearshift.facts import Plan, Profile

NONSENSE = re.compile(
    r"nan|inf|None|e[+-]\d|\b0 (s|ms|µs|ns|items?|threads?|processes)\b|-\d", re.IGNORECASE
)
LEAST_ITEM_SECONDS = 1e-8  # no call of Python is faster


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    items = draw(st.integers(1, 10**6))
    wall = items * draw(st.floats(LEAST_ITEM_SECONDS, 100.0))
    return Profile(
        items=items,
        wall_seconds=wall,
        cpu_seconds=wall * draw(st.floats(0, 1.1)),  # two clocks, which may disagree a little
        delay_seconds=wall * draw(st.just(0.0) | st.floats(0, 0.99)),
        remaining=draw(st.none() | st.integers(0, 10**9)),
        seen=draw(st.just(0) | st.integers(items, 10**9)),
        cores=draw(st.integers(1, 256)),
        coroutine=draw(st.booleans()),
        nested=draw(st.booleans()),
        no_processes=draw(st.none() | st.just("its results cannot be pickled")),
    )


@given(profiles())
def test_plan_is_always_valid(profile: Profile) -> None:
    plan = pick(profile)
    assert plan.engine in {"serial", "threads", "processes", "asyncio"}
    assert (plan.engine == "asyncio") == profile.coroutine
    assert plan.reasons
    if plan.engine == "serial":
        assert plan.workers == 1
    elif plan.engine == "threads":
        assert plan.workers is not None
        assert 2 <= plan.workers <= MOST_THREADS
        assert profile.remaining is None or plan.workers <= profile.remaining
    elif plan.engine == "processes":
        assert plan.workers == profile.cores
        assert not profile.nested
        assert profile.cores > 1
        assert profile.no_processes is None


@given(profiles())
def test_words_hold_no_nonsense(profile: Profile) -> None:
    for reason in pick(profile).reasons:
        assert not NONSENSE.search(reason), reason
        assert reason == reason.strip()
        assert not reason.endswith(".")


@given(profiles())
def test_same_profile_gives_the_same_plan(profile: Profile) -> None:
    assert pick(profile) == pick(replace(profile))


@given(profiles(), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_to_come_never_speaks_against_workers(profile: Profile, one: int, other: int) -> None:
    fewer, more = (
        pick(replace(profile, remaining=remaining)) for remaining in sorted((one, other))
    )
    assert (fewer.engine != "serial") <= (more.engine != "serial")
    if fewer.engine == more.engine:
        assert (fewer.workers or 0) <= (more.workers or 0)


@given(profiles(), st.integers(1, 256))
def test_short_rest_starts_no_processes(profile: Profile, cores: int) -> None:
    an_item = max(profile.wall_seconds, profile.cpu_seconds) / profile.items
    short = replace(profile, remaining=int(0.1 / an_item), cores=cores)
    assert pick(short).engine != "processes"


# Recorded profiles: what the first 50 ms or so of a run showed

DOWNLOAD = Profile(items=3, wall_seconds=0.0603, cpu_seconds=0.0004, remaining=47, cores=2)
PURE_PYTHON = Profile(items=50, wall_seconds=0.0502, cpu_seconds=0.0499, remaining=950, cores=2)
TRIVIAL = Profile(items=400_000, wall_seconds=0.0501, cpu_seconds=0.05, remaining=600_000, cores=2)
SMALL = Profile(items=50_000, wall_seconds=0.0503, cpu_seconds=0.05, remaining=10**7, cores=2)
BUSY_MACHINE = replace(PURE_PYTHON, wall_seconds=0.12, delay_seconds=0.07)
MIXED = Profile(items=10, wall_seconds=0.05, cpu_seconds=0.01, remaining=1000, cores=2)

RECORDED = {
    "sleeps 20 ms": (DOWNLOAD, "threads", 47),
    "sleeps 20 ms, very many": (replace(DOWNLOAD, remaining=10**6), "threads", 64),
    "sleeps 20 ms, two left": (replace(DOWNLOAD, remaining=2), "threads", 2),
    "sleeps 20 ms, one left": (replace(DOWNLOAD, remaining=1), "serial", 1),
    "sleeps 20 ms, nobody knows how many": (replace(DOWNLOAD, remaining=None), "threads", 64),
    "sleeps 20 ms, inside a task": (replace(DOWNLOAD, nested=True), "threads", 47),
    "sleeps 20 ms on one core": (replace(DOWNLOAD, cores=1), "threads", 47),
    "sleeps 20 ms, unpicklable": (replace(DOWNLOAD, no_processes="no"), "threads", 47),
    "sleeps 20 us, ten left": (
        Profile(items=500, wall_seconds=0.01, cpu_seconds=0.001, remaining=10, cores=2),
        "serial",
        1,
    ),
    "computes a fifth of the time": (MIXED, "threads", 8),
    "pure Python, 1 ms": (PURE_PYTHON, "processes", 2),
    "pure Python, 1 ms, 64 cores": (replace(PURE_PYTHON, cores=64), "processes", 64),
    "pure Python on a busy machine": (BUSY_MACHINE, "processes", 2),
    "pure Python, no run-queue delay known": (
        replace(PURE_PYTHON, wall_seconds=0.09),
        "processes",
        2,
    ),
    "pure Python, nobody knows how many": (replace(PURE_PYTHON, remaining=None), "serial", 1),
    "pure Python, many seen, nobody knows how many": (
        replace(PURE_PYTHON, remaining=None, seen=1000),
        "processes",
        2,
    ),
    "pure Python, 100 ms left": (replace(PURE_PYTHON, remaining=100), "serial", 1),
    "pure Python, nothing left": (replace(PURE_PYTHON, remaining=0), "serial", 1),
    "pure Python on one core": (replace(PURE_PYTHON, cores=1), "serial", 1),
    "pure Python inside a task": (replace(PURE_PYTHON, nested=True), "serial", 1),
    "pure Python, unpicklable": (replace(PURE_PYTHON, no_processes="no"), "serial", 1),
    "trivial, a million": (TRIVIAL, "serial", 1),
    "1 us, ten million": (SMALL, "serial", 1),
    "nothing measured": (replace(PURE_PYTHON, items=0), "serial", 1),
    "faster than the clock": (
        replace(PURE_PYTHON, wall_seconds=0.0, cpu_seconds=0.0),
        "serial",
        1,
    ),
    "coroutine function, before the first item": (
        Profile(
            items=0, wall_seconds=0.0, cpu_seconds=0.0, remaining=None, cores=2, coroutine=True
        ),
        "asyncio",
        None,
    ),
}


@pytest.mark.parametrize(("profile", "engine", "workers"), RECORDED.values(), ids=list(RECORDED))
def test_recorded_profile(profile: Profile, engine: str, workers: int | None) -> None:
    plan = pick(profile)
    assert (plan.engine, plan.workers) == (engine, workers), plan.reasons


def test_reasons_read_well() -> None:
    assert pick(DOWNLOAD) == Plan(
        "threads",
        47,
        ("it waits for 99% of its 20 ms an item", "up to 47 threads wait at the same time"),
        0.0201,  # all 47 at once
    )
    assert pick(PURE_PYTHON) == Plan(
        "processes",
        2,
        (
            "it computes for 1 ms an item",
            "2 processes are expected to need 532 ms instead of 954 ms",
        ),
        pick(PURE_PYTHON).seconds,
    )
    assert pick(TRIVIAL).reasons == (
        "it computes for 125 ns an item",
        "the rest takes about 75 ms: starting processes is not worth it",
    )
    assert pick(SMALL).reasons == (
        "it computes for 1 µs an item",
        "sending an item to a process costs about 1.5 µs: nothing is gained",
    )


def test_plan_says_what_the_rest_will_take() -> None:
    assert pick(TRIVIAL).seconds == pytest.approx(0.075, rel=0.01)
    assert pick(PURE_PYTHON).seconds == pytest.approx(0.532, rel=0.01)
    assert pick(replace(PURE_PYTHON, cores=1)).seconds == pytest.approx(0.954, rel=0.01)


def test_obstacle_is_named_only_where_it_decides() -> None:
    obstacle = "its results (Lock) cannot be pickled"
    blocked = pick(replace(PURE_PYTHON, no_processes=obstacle))
    assert f"processes would pay off, but {obstacle}" in blocked.reasons
    trivial = pick(replace(TRIVIAL, no_processes=obstacle))
    assert not any(obstacle in reason for reason in trivial.reasons)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (12345.6, "12346 s"),
        (99.7, "100 s"),
        (99.4, "99 s"),
        (1.0, "1 s"),
        (0.95, "950 ms"),
        (0.0996, "100 ms"),
        (0.02, "20 ms"),
        (0.00152, "1.5 ms"),
        (1.5e-6, "1.5 µs"),
        (42e-9, "42 ns"),
    ],
)
def test_times_are_written_with_two_digits_or_as_whole_numbers(seconds: float, text: str) -> None:
    assert _seconds(seconds) == text
