"""`gs.compare`: every engine really run, no more often than said, and results held together."""

from __future__ import annotations

import itertools
import os
import re
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._api import compare as compare_module
from gearshift._api import entrants

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORD: ContextVar[str] = ContextVar("word", default="unset")
FEW = ("serial", "threads")  # engines that start at once


def quiet(fn: Callable[..., Any], *iterables: Any, **options: Any) -> gs.Comparison:
    given: dict[str, Any] = {"on": FEW, "say": False, "rounds": 1, **options}
    return gs.compare(fn, *iterables, **given)


def double(item: int) -> int:
    return 2 * item


async def adouble(item: int) -> int:
    return 2 * item


def write(path: Any, item: int) -> int:
    """Append a line, which other processes do not tear apart."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, f"{item}\n".encode())
    os.close(fd)
    return item


def where(item: int) -> int:
    return os.getpid() if item == 3 else item


def odd_fails(item: int) -> int:
    if item % 2:
        raise ValueError(f"{item} is odd")
    return item


def word(_: int) -> str:
    return WORD.get()


def lock(_: int) -> Any:
    return threading.Lock()


def randomly(_: int) -> int:
    return gs.item_seed()


def by_engine(comparison: gs.Comparison) -> dict[str, gs.Trial]:
    return {trial.on: trial for trial in comparison.trials}


def test_trials_come_in_the_order_asked_for_with_figures() -> None:
    comparison = quiet(double, range(20), on=["threads:3", "serial"])
    assert [trial.on for trial in comparison.trials] == ["threads:3", "serial"]
    assert comparison.agree
    assert comparison.items == 20
    for trial in comparison.trials:
        assert trial.median > 0
        assert trial.cpu_seconds is not None
        assert trial.agrees is True
        assert trial.why_not is None
    assert by_engine(comparison)["threads:3"].workers == 3


@pytest.mark.slow
def test_all_engines_that_can_run_a_plain_function_are_meant() -> None:
    comparison = gs.compare(double, range(5), say=False, rounds=1)
    assert [trial.on for trial in comparison.trials] == ["serial", "threads", "processes", "auto"]
    assert comparison.agree
    assert all(trial.seconds for trial in comparison.trials)


def test_all_engines_that_can_run_a_coroutine_function_are_meant() -> None:
    comparison = gs.compare(adouble, range(5), say=False, rounds=1)
    assert [trial.on for trial in comparison.trials] == ["serial", "asyncio", "auto"]
    assert comparison.agree
    assert all(trial.seconds for trial in comparison.trials)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 3])
def test_items_run_as_often_as_told_and_no_more_than_said(tmp_path: Path, rounds: int) -> None:
    log = tmp_path / "calls"
    said: list[str] = []
    comparison = gs.compare(partial(write, str(log)), range(8), rounds=rounds, say=said.append)
    calls = Counter(map(int, log.read_text().split()))
    most = re.search(r"at most (\d+) times", said[0])
    assert most is not None
    assert said[0].startswith("write will be called with each of 8 items ")
    assert int(most[1]) == 4 * rounds + 2
    assert max(calls.values()) <= int(most[1])
    assert comparison.runs == sum(len(trial.seconds) for trial in comparison.trials)
    assert calls.pop(0) == comparison.runs + 2
    assert set(calls.values()) <= {comparison.runs, comparison.runs + 1}  # explain runs a few


def test_it_says_what_it_will_run_before_the_first_call() -> None:
    events: list[Any] = []
    gs.compare(events.append, [1], on=FEW, rounds=2, say=events.append)
    assert events[0] == (
        "list.append will be called with one item at most 6 times, for real: "
        "in 2 rounds at most on serial and threads, and at most twice before."
    )
    assert set(events[1:]) == {1}


def test_it_says_so_on_standard_error_unless_told_not_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gs.compare(double, [1], on=FEW, rounds=1)
    shown = capsys.readouterr()
    assert shown.err.startswith("double will be called with one item at most 4 times")
    assert shown.out == ""
    quiet(double, [1], rounds=1)
    assert capsys.readouterr().err == ""


def test_status_names_each_run() -> None:
    told: list[str] = []
    quiet(double, [1], rounds=1, status=told.append)
    assert told == ["round 1 of at most 1: serial", "round 1 of at most 1: threads", ""]


def test_serial_runs_first_since_all_are_held_to_it() -> None:
    told: list[str] = []
    quiet(double, [1], on=["threads", "serial"], rounds=1, status=told.append)
    assert told[0].endswith(": serial")


def test_engines_take_turns_in_another_order_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(("serial", "threads"), "rounds")] * 2 + [((), "stable")])
    monkeypatch.setattr(compare_module, "next_round", lambda *_, **__: next(answers))
    told: list[str] = []
    comparison = quiet(double, [1], status=told.append)
    assert [text.rpartition(" ")[2] for text in told] == [
        *("serial", "threads"),
        *("threads", "serial"),
        *("serial", "threads"),
        "",
    ]
    assert [len(trial.seconds) for trial in comparison.trials] == [3, 3]


@pytest.mark.slow
def test_results_that_differ_between_engines_are_told_with_the_first_item() -> None:
    comparison = quiet(where, range(6), on=["serial", "processes"])
    assert not comparison.agree
    serial, processes = comparison.trials
    assert serial.agrees is True
    assert processes.agrees is False
    assert re.fullmatch(
        rf"item 3 \(3\) gave \d+ on processes, and {os.getpid()} on serial\.", processes.difference
    )
    assert comparison.best == "serial"
    assert "RESULTS DIFFER: item 3" in str(comparison)


def test_results_that_differ_from_round_to_round_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([(("serial",), "rounds"), ((), "stable")])
    monkeypatch.setattr(compare_module, "next_round", lambda *_, **__: next(answers))
    counter = itertools.count()
    comparison = quiet(lambda _: next(counter), ["a"], on="serial")
    assert not comparison.agree
    assert comparison.trials[0].difference == (
        "item 0 ('a') gave 3 on serial, and 2 in the first round."
    )
    assert comparison.best is None


def test_failures_are_outcomes_and_are_compared() -> None:
    comparison = quiet(odd_fails, range(10))
    assert comparison.agree
    assert [trial.failed for trial in comparison.trials] == [5, 5]
    assert "5 of 10 items failed on serial (ValueError: 1 is odd)" in str(comparison)


def test_seeded_functions_agree() -> None:
    assert quiet(randomly, range(5), seed=1).agree


def test_results_without_an_equality_are_neither_the_same_nor_not() -> None:
    comparison = quiet(lock, [1])
    assert comparison.agree
    assert by_engine(comparison)["threads"].agrees is None


@pytest.mark.parametrize(
    ("fn", "on", "said"),
    [
        (double, "asyncio", "asyncio runs coroutine functions (async def), and this is none"),
        (lock, "processes", "its results (lock) cannot be pickled"),
        (word, "processes", "reads the context variable"),
        (partial(write, threading.Lock()), "processes", "cannot be sent to another process"),
    ],
)
def test_an_engine_that_cannot_run_it_has_a_row_that_says_why(
    fn: Callable[..., Any], on: str, said: str
) -> None:
    comparison = quiet(fn, [1], on=["serial", on])
    trial = by_engine(comparison)[on]
    assert trial.seconds == ()
    assert said in str(trial.why_not)
    assert f"{on} did not run: " in str(comparison)
    assert comparison.best == "serial"


def test_an_engine_that_breaks_has_a_row_that_says_why() -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.shutdown()
        comparison = quiet(double, [1], on=["serial", pool])
    trial = by_engine(comparison)["ThreadPoolExecutor"]
    assert trial.seconds == ()
    assert "shutdown" in str(trial.why_not)
    assert comparison.best == "serial"


def test_engines_of_the_users_stay_warm() -> None:
    with gs.engines.ThreadExecutor(2) as engine:
        comparison = quiet(double, range(4), on=["serial", engine])
        assert engine.submit(double, 4).result() == 8
    assert comparison.trials[1].workers == 2
    assert comparison.agree


def test_several_iterables_give_an_argument_each() -> None:
    comparison = quiet(pow, [2, 3], itertools.count(1), on="serial")
    assert comparison.items == 2
    assert comparison.trials[0].failed == 0


def test_starred_items_are_taken_apart() -> None:
    assert quiet(pow, [(2, 3)], star=True).trials[0].failed == 0


def test_an_iterator_is_taken_once_for_all_engines() -> None:
    comparison = quiet(double, (item for item in range(7)))
    assert comparison.items == 7
    assert comparison.agree


@pytest.mark.slow
def test_auto_tells_its_engine_its_reasons_and_what_it_planned() -> None:
    (auto,) = quiet(partial(sum, range(200_000)), range(40), on="auto", rounds=1).trials
    assert auto.on == "auto"
    assert auto.engine in {"serial", "threads", "processes"}
    assert auto.reasons
    assert auto.predicted_seconds is not None


def test_predictions_of_explain_stand_beside_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    forecast = SimpleNamespace(predictions={"serial": 1.5, "threads": 0.5})
    monkeypatch.setattr("gearshift._api.compare.explain", lambda _fn, _items, *, star: forecast)
    said: list[str] = []
    comparison = quiet(
        double, [1], on=["serial", "threads", "threads:2"], say=said.append, rounds=1
    )
    assert [trial.predicted_seconds for trial in comparison.trials] == [1.5, 0.5, None]
    assert "at most 5 times" in said[0]  # explain runs items, too


def test_a_forecast_that_fails_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*_: object, star: bool) -> None:
        raise RuntimeError("no idea")

    monkeypatch.setattr("gearshift._api.compare.explain", explain)
    assert quiet(double, [1]).trials[0].predicted_seconds is None


def test_a_comparison_needs_no_time_for_a_second_round() -> None:
    comparison = quiet(double, [1], seconds=0, rounds=5)
    assert [len(trial.seconds) for trial in comparison.trials] == [1, 1]


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((3, [1]), {}, TypeError, "fn=3 is not callable"),
        ((double,), {}, TypeError, "there are no inputs"),
        ((double, 5), {}, TypeError, "input 1 is 5, which cannot be iterated"),
        ((double, []), {}, ValueError, "there are no items"),
        ((double, [1]), {"on": "thread"}, ValueError, "did you mean 'threads'?"),
        ((double, [1]), {"on": []}, ValueError, "on=[] names no engine"),
        ((double, [1]), {"on": ["serial", "serial"]}, ValueError, "has 'serial' twice"),
        ((double, [1]), {"on": "threads:0"}, ValueError, "on='threads:0': what follows the colon"),
        ((double, [1]), {"on": [3]}, TypeError, "on=3 is not an engine"),
        ((double, [1]), {"on": 3}, TypeError, "on=3 is not an engine"),
        ((double, [1]), {"workers": 0}, ValueError, "workers=0 is below 1"),
        ((double, [1]), {"rounds": 0}, ValueError, "rounds=0 is below 1"),
        ((double, [1]), {"rounds": 1.5}, TypeError, "rounds=1.5 is not a whole number"),
        ((double, [1]), {"seconds": -1}, ValueError, "seconds=-1 is below 0"),
        ((double, [1]), {"seconds": "1"}, TypeError, "seconds='1' is not a number"),
        ((double, [1]), {"star": 1}, TypeError, "star=1 is not True or False"),
        ((double, [1]), {"say": "yes"}, TypeError, "say='yes' is neither True nor False"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_by_name_and_value(
    arguments: tuple[Any, ...], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        quiet(*arguments, **{"on": None} | options)


def test_inputs_without_an_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrants, "MOST_ITEMS", 1000)
    with pytest.raises(ValueError, match="more than 1,000 items, perhaps without an end"):
        quiet(double, itertools.count())


def test_asynchronous_inputs_are_refused() -> None:
    async def numbers() -> Any:
        yield 1

    with pytest.raises(TypeError, match="which is asynchronous: make it a list"):
        quiet(double, numbers())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_of_each_engine_is_told() -> None:
    (trial,) = quiet(lambda size: len(b"x" * size), [30_000_000], on="serial").trials
    assert trial.peak_bytes is not None
    assert 27_000_000 <= trial.peak_bytes <= 60_000_000
