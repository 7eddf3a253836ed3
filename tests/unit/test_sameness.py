"""When two outcomes of an item count as the same."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gearshift._api.sameness import is_same, shown
from gearshift.facts import Failure

NAN = float("nan")


class Plain:
    """Has no `==`."""

    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


@dataclass
class Record:
    held: Any


class Vague:
    """Its `==` is neither True nor False, and it has no `equals`."""

    def __init__(self, held: int) -> None:
        self.held = held

    def __eq__(self, other: object) -> Any:
        return [0] if isinstance(other, Vague) and other.held == self.held else []

    __hash__ = None  # type: ignore[assignment]


class Broken:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not today")

    __hash__ = None  # type: ignore[assignment]


class Table:
    """Its `==` is a table again, as that of data frames."""

    def __init__(self, held: int) -> None:
        self.held = held

    def __eq__(self, other: object) -> Any:
        return [True]

    __hash__ = None  # type: ignore[assignment]

    def equals(self, other: Table) -> bool:
        return self.held == other.held


class Shy:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def failure(error: BaseException) -> Failure:
    return Failure(0, "item", error, seconds=id(error) % 7)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (NAN, float("nan")),
        ([1, NAN], [1, float("nan")]),
        ({"a": (NAN,)}, {"a": (float("nan"),)}),
        (np.array([1.0, NAN]), np.array([1.0, NAN])),
        (np.float32(2), np.float32(2)),
        (np.array([{"a": NAN}]), np.array([{"a": float("nan")}])),
        (np.array(["a", "b"]), np.array(["a", "b"])),
        (Plain([1, NAN]), Plain([1, NAN])),
        (Slotted("abc"), Slotted("abc")),
        (Record(NAN), Record(float("nan"))),
        (Record(Plain(3)), Record(Plain(3))),
        (Table(1), Table(1)),
        (Vague(1), Vague(1)),
        (failure(ValueError("no")), failure(ValueError("no"))),
    ],
)
def test_outcomes_that_are_the_same(one: object, other: object) -> None:
    assert is_same(one, copy.deepcopy(other)) is True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (NAN, 1.0),
        ([1, 2], [1, 2, 3]),
        ({"a": 1}, {"b": 1}),
        (np.array([1.0]), np.array([2.0])),
        (np.array([1.0]), np.array([1])),
        (np.array([1.0]), 1.0),
        (Plain(1), Plain(2)),
        (Plain(1), Slotted(1)),
        (Slotted(1), Slotted(2)),
        (Record(Plain(3)), Record(Plain(4))),
        (Table(1), Table(2)),
        (Vague(1), Vague(2)),
        ([Broken(), 1], [Broken(), 2]),
        ({"a": 1}, {"a": 1, "b": 2}),
        (failure(ValueError("no")), failure(ValueError("yes"))),
        (failure(ValueError("no")), failure(KeyError("no"))),
        (failure(ValueError("no")), "no"),
    ],
)
def test_outcomes_that_differ(one: object, other: object) -> None:
    assert is_same(one, other) is False


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Broken(), Broken()),
        (threading.Lock(), threading.Lock()),
        ([1, Broken()], [1, Broken()]),
    ],
)
def test_outcomes_of_which_it_cannot_be_told(one: object, other: object) -> None:
    assert is_same(one, other) is None


def test_a_value_without_an_end_cannot_be_compared() -> None:
    one: list[Any] = []
    other: list[Any] = []
    one.append(one)
    other.append(other)
    assert is_same(one, other) is None


def test_shown_outcomes_are_short_and_never_raise() -> None:
    assert shown(Shy()) == "a Shy whose repr fails"
    assert len(shown("x" * 1000)) == 60
    assert shown(failure(ValueError("a\nb"))) == "ValueError: a b"
