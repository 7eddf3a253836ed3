"""What stands in the place of an item that failed, where the user says it, and values that hold no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENGINES = ["serial", "threads", "processes"]


def odd(item: int) -> int:
    if item % 2 == 0:
        raise ValueError(item)
    return item


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ordered", [True, False])
def test_function_gives_what_stands_in_the_place_of_a_failure(engine: str, ordered: bool) -> None:
    told: list[tuple[int, int]] = []

    def stand_in(failure: gs.Failure) -> str:
        told.append((failure.index, failure.attempts))
        return f"no {failure.item}"

    with gs.map(odd, range(40), on=engine, ordered=ordered, errors=stand_in, retries=1) as run:
        got = list(run)
    due: list[Any] = [item if item % 2 else f"no {item}" for item in range(40)]
    assert (got if ordered else sorted(got, key=str)) == (due if ordered else sorted(due, key=str))
    assert sorted(told) == [(item, 2) for item in range(0, 40, 2)]
    assert run.report.failed == 20


@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_function_raises_ends_the_run_at_its_turn(engine: str) -> None:
    def stand_in(failure: gs.Failure) -> int:
        if failure.index == 6:
            raise KeyError("six")
        return -int(failure.item)

    got: list[int] = []
    with (
        pytest.raises(KeyError, match="six"),
        gs.map(odd, range(40), on=engine, errors=stand_in) as run,
    ):
        got.extend(run)
    assert got == [0, 1, -2, 3, -4, 5]


def test_each_takes_such_a_function_too() -> None:
    failed: list[int] = []
    report = gs.each(odd, range(10), errors=lambda failure: failed.append(failure.index))
    assert sorted(failed) == [0, 2, 4, 6, 8]
    assert report.failed == 5


def test_kept_value_that_holds_no_more_is_made_again(tmp_path: Path) -> None:
    def write(name: str) -> Path:
        path = tmp_path / name
        path.write_text(name)
        return path

    def journal() -> gs.Journal:
        return gs.Journal(tmp_path / "journal", key=str, still=lambda path: path.exists())

    names = ["a", "b", "c", "d"]
    assert len(list(gs.map(write, names, journal=journal()))) == 4
    (tmp_path / "b").unlink()
    (tmp_path / "d").unlink()
    for again in (2, 0):  # and then all four hold
        with gs.map(write, names, journal=journal()) as run:
            assert [path.name for path in run] == names
        assert run.report.replayed == 4 - again
        assert all((tmp_path / name).exists() for name in names)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gs.Journal("j", key=str, still=3), "still=3 is not callable"),  # type: ignore[arg-type]
        (lambda: gs.Journal("j", still=bool), "still= needs key="),
        (lambda: gs.map(odd, [1], errors="ignore"), "errors='ignore' is not one of"),  # type: ignore[call-overload]
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        make()
