"""Who runs again in a comparison, what is the best, and in which words: all pure."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift._api.verdict import best_of, next_round, words_of
from gearshift.trials import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping


def again(times: Mapping[str, tuple[float, ...]], **limits: Any) -> tuple[tuple[str, ...], str]:
    options = {"most_rounds": 5, "elapsed_seconds": 0.0, "most_seconds": 1e9, **limits}
    return next_round(times, **options)


def trial(on: str, *seconds: float, **more: Any) -> Trial:
    return Trial(**{"on": on, "engine": on, "workers": 2, "seconds": seconds, **more})


def test_a_single_round_tells_nothing_of_engines_that_are_near() -> None:
    assert again({"serial": (1.0,), "threads": (1.2,)}) == (("serial", "threads"), "rounds")


def test_who_is_over_three_times_behind_does_not_run_again() -> None:
    left, _ = again({"serial": (4.0,), "threads": (1.2,), "processes": (1.3,)})
    assert left == ("threads", "processes")


def test_it_ends_when_all_others_are_far_behind() -> None:
    assert again({"serial": (4.0,), "threads": (1.0,)}) == ((), "stable")


def test_it_ends_when_the_rounds_of_the_best_lie_below_all_others() -> None:
    assert again({"serial": (1.5, 1.4), "threads": (1.3, 1.0)}) == ((), "stable")


def test_it_goes_on_while_rounds_overlap() -> None:
    times = {"serial": (1.0, 1.4), "threads": (1.3, 1.1)}
    assert again(times)[0] == ("serial", "threads")


def test_two_alike_rounds_are_not_enough_for_a_tie() -> None:
    assert again({"serial": (1.0, 1.01), "threads": (1.0, 1.02)})[0]


def test_three_alike_rounds_of_the_best_are() -> None:
    times = {"serial": (1.0, 1.01, 1.0), "threads": (0.99, 1.3, 1.02)}
    assert again(times) == ((), "stable")


def test_it_ends_after_the_rounds_asked_for() -> None:
    times = {"serial": (1.0, 1.4), "threads": (1.3, 1.1)}
    assert again(times, most_rounds=2) == ((), "rounds")


def test_no_round_begins_that_would_end_too_late() -> None:
    times = {"serial": (10.0,), "threads": (12.0,)}
    assert again(times, elapsed_seconds=22.0, most_seconds=43.0) == ((), "seconds")
    assert again(times, elapsed_seconds=22.0, most_seconds=44.0)[0]


def test_nothing_that_ran_is_nothing_to_run_again() -> None:
    assert again({}) == ((), "stable")


@given(
    st.dictionaries(
        st.sampled_from(["serial", "threads", "processes", "auto"]),
        st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=4),
        min_size=1,
    ),
    st.integers(1, 5),
)
def test_rounds_end_and_the_fastest_is_never_left_out(
    times: dict[str, list[float]], most: int
) -> None:
    left, _ = again({name: tuple(each) for name, each in times.items()}, most_rounds=most)
    longest = max(map(len, times.values()))
    assert not (left and longest >= most)
    if left:
        assert min(median(each) for each in times.values()) in {median(times[on]) for on in left}


def test_the_simplest_of_those_within_the_noise_is_the_best() -> None:
    best, tied = best_of([trial("processes", 1.0), trial("serial", 1.04), trial("threads", 1.02)])
    assert best is not None
    assert best.on == "serial"
    assert [each.on for each in tied] == ["processes", "threads"]


def test_an_engine_whose_results_differ_is_never_the_best() -> None:
    best, _ = best_of([trial("serial", 2.0), trial("threads", 1.0, agrees=False)])
    assert best is not None
    assert best.on == "serial"


def test_auto_is_the_best_only_where_it_beat_all_engines() -> None:
    auto = trial("auto", 1.0, engine="threads")
    assert best_of([trial("threads", 1.01), auto])[0] == trial("threads", 1.01)
    assert best_of([trial("threads", 1.5), auto])[0] == auto


def test_words_name_the_engine_its_gain_and_when_serial_would_be_as_fast() -> None:
    words = words_of(
        [trial("serial", 1.0), trial("processes", 0.6, start_seconds=0.06, end_seconds=0.04)], 100
    )
    assert words == (
        "Use processes: 1.67 times as fast as serial, with 2 workers.",
        (
            "With fewer than about 20 such items, or with items shorter than about 2 ms, serial "
            "would be as fast: processes needs 100 ms to start and end."
        ),
    )


def test_words_tell_from_how_many_items_on_another_engine_would_win() -> None:
    words = words_of(
        [trial("serial", 1.0), trial("processes", 1.2, start_seconds=0.5, end_seconds=0.1)], 10
    )
    assert words == (
        "Stay with serial: no other engine is faster with the same results.",
        (
            "From about 15 such items on processes would win: processes needs 600 ms to start and "
            "end, and is faster then."
        ),
    )


def test_words_say_when_more_items_would_change_nothing() -> None:
    words = words_of([trial("serial", 1.0), trial("threads", 1.4, start_seconds=0.01)], 10)
    assert words[1].startswith("More such items would not change that")


def test_words_do_not_reckon_from_an_engine_that_mostly_started() -> None:
    words = words_of([trial("serial", 0.01), trial("processes", 0.05, start_seconds=0.04)], 3)
    assert words[1].startswith("From so few items it cannot be told")


def test_words_call_a_tie_a_tie() -> None:
    words = words_of([trial("serial", 1.0), trial("threads", 0.98)], 10)
    assert words[0] == (
        "A tie: serial and threads are within the noise (20 ms apart): stay with serial."
    )
    assert words_of([trial("threads", 1.0), trial("processes", 0.98)], 10)[0].endswith(
        "use threads, the simplest of them."
    )


@pytest.mark.parametrize(
    ("auto", "said"),
    [
        (trial("auto", 1.02, engine="serial"), 'on="auto" chose serial, and was as fast.'),
        (
            trial("auto", 1.5, engine="threads"),
            'on="auto" chose threads, and took 500 ms longer (50%).',
        ),
        (
            trial("auto", 1.5, engine="threads", agrees=False),
            'on="auto" chose threads, where results differ.',
        ),
    ],
)
def test_words_tell_how_auto_did(auto: Trial, said: str) -> None:
    assert words_of([trial("serial", 1.0), auto], 10)[-1] == said


def test_words_warn_of_times_that_are_those_of_failing() -> None:
    failing = trial("serial", 1.0, failed=3, failure="ValueError: no")
    assert words_of([failing], 10)[-1] == (
        "3 of 10 items failed on serial (ValueError: no): the times are those of failing."
    )


def test_words_recommend_nothing_where_one_engine_alone_ran() -> None:
    words = words_of([trial("auto", 1.0, engine="serial"), trial("threads", why_not="no")], 10)
    assert words == ("Only auto ran: there is nothing to compare it with.",)


def test_words_have_nothing_to_recommend_where_nothing_ran() -> None:
    assert words_of([trial("threads", why_not="no threads here")], 10) == (
        "Nothing to use: no engine ran with results to trust.",
    )


def test_words_warn_where_workers_had_no_cores() -> None:
    busy = trial("processes", 0.95, cpu_seconds=1.0, workers=8)
    words = words_of([trial("serial", 1.0, cpu_seconds=0.95), busy], 10, cores=2)
    assert words[-1] == (
        "Measure again: processes had 1.1 of 2 cores, so other programs kept this machine busy."
    )


@pytest.mark.parametrize(
    ("serial_cpu", "cpu", "start"),
    [(0.1, 0.2, 0.0), (0.95, 1.8, 0.0), (0.95, 1.0, 0.4)],
    ids=["waits", "had its cores", "mostly started"],
)
def test_words_do_not_warn_without_a_cause(serial_cpu: float, cpu: float, start: float) -> None:
    processes = trial("processes", 0.95, cpu_seconds=cpu, start_seconds=start)
    words = words_of([trial("serial", 1.0, cpu_seconds=serial_cpu), processes], 10, cores=2)
    assert not any("Measure again" in each for each in words)


def test_three_that_tie_are_listed() -> None:
    words = words_of([trial("serial", 1.0), trial("threads", 0.98), trial("processes", 0.97)], 10)
    assert words[0].startswith("A tie: serial, processes and threads are within the noise")


def test_noise_is_as_wide_as_the_rounds_of_both_were_apart() -> None:
    shaky = trial("threads", 0.7, 0.9, 1.1)
    assert best_of([trial("serial", 0.8, 1.0, 1.2), shaky])[1] == (shaky,)
    assert best_of([trial("serial", 0.99, 1.0, 1.01), shaky])[1] == ()


def test_words_without_serial_name_the_fastest_alone() -> None:
    assert words_of([trial("threads", 2.0), trial("processes", 1.0)], 10) == (
        "Use processes: the fastest of these, with 2 workers.",
    )


def test_words_tell_no_change_where_a_gain_is_within_the_noise_of_starting() -> None:
    slow = [trial("serial", 1.0), trial("auto", 0.97, 0.98, engine="threads")]
    assert len(words_of(slow, 10)) == 3


seconds = st.lists(st.floats(1e-6, 1e3), max_size=3).map(tuple)
trials = st.builds(
    Trial,
    on=st.sampled_from(["serial", "threads", "processes", "auto"]),
    engine=st.sampled_from(["serial", "threads", "processes"]),
    workers=st.integers(1, 64),
    seconds=seconds,
    cpu_seconds=st.none() | st.floats(0, 1e3),
    start_seconds=st.floats(0, 10),
    end_seconds=st.floats(0, 10),
    agrees=st.sampled_from([True, False, None]),
)


@given(st.lists(trials, max_size=4, unique_by=lambda each: each.on), st.integers(1, 10**6))
def test_words_are_sentences_whatever_was_measured(measured: list[Trial], items: int) -> None:
    words = words_of(measured, items, cores=4)
    assert words
    assert all(sentence.endswith(".") for sentence in words)
    assert not any("nan" in sentence or "inf " in sentence for sentence in words)
