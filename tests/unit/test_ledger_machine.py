"""The ledger against a model that keeps every item by itself, driven by Hypothesis.

Apart from `test_ledger.py`, where single promises stand as examples: here any order of
admissions, hand-outs, outcomes (in parts, twice, late, never asked for), returns,
retries and stops must leave the ledger where the model is. The model is slow and plain,
one record an item; its invariant is the ledger's: every item leaves exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gearshift._run.ledger import Ledger
from gearshift.facts import Failure, Fault, Retry, Settled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gearshift._run.ledger import Errors

CHANCE = 0.5
RETRIED, FATAL = ConnectionError, KeyError  # the first is worth a retry, the second never is
GARBAGE = "what stands at a failed item's place"


class State(Enum):
    FRESH = auto()  # admitted, never handed out
    BACK = auto()  # returned by a lane
    RETRY = auto()  # failed, and waits for its time
    OUT = auto()
    DONE = auto()  # has a value or a failure
    CUT = auto()  # the run ends without it


@dataclass
class Item:
    """All that the model knows of one item."""

    index: int
    state: State = State.FRESH
    chunk: int = -1  # the hand-out that it is or was in
    failures: int = 0
    due: float = 0.0
    outcome: Any = None
    is_failed: bool = False
    has_left: bool = False


@dataclass
class Model:
    """The items of a run, and what the ledger should say of them."""

    ordered: bool
    errors: Errors
    retry: Retry
    pairs: bool
    items: list[Item] = field(default_factory=list)
    final: int | None = None
    stopped: bool = False
    succeeded: int = 0
    failures: list[Failure] = field(default_factory=list)
    retried: int = 0

    def among(self, *states: State) -> list[Item]:
        return [item for item in self.items if item.state in states]

    def is_void(self, item: Item) -> bool:
        if self.stopped:
            return True
        return self.final is not None and (not self.ordered or item.index > self.final)

    def cut_void(self) -> None:
        for item in self.among(State.FRESH, State.BACK, State.RETRY):
            if self.is_void(item):
                item.state = State.CUT

    def succeed(self, item: Item, value: Any) -> None:
        item.state, item.outcome = State.DONE, value
        self.succeeded += 1

    def fail(self, item: Item, fault: Fault, now: float) -> None:
        item.failures += 1
        is_wanted = item.failures <= self.retry.retries and isinstance(fault.exception, RETRIED)
        if is_wanted and not self.is_void(item):
            wait = min(self.retry.wait * 2 ** (item.failures - 1), self.retry.longest_wait)
            item.state, item.due = State.RETRY, now + wait * (1 - self.retry.jitter * CHANCE)
            return
        failure = Failure(
            item.index, name(item.index), fault.exception, item.failures, fault.seconds
        )
        item.state, item.outcome, item.is_failed = State.DONE, failure, True
        self.failures.append(failure)
        is_earlier = self.final is None or (self.ordered and item.index < self.final)
        if self.errors == "raise" and is_earlier:
            self.final = item.index
            self.cut_void()

    @property
    def position(self) -> int:
        """Ordered: how many have left."""
        return sum(item.has_left for item in self.items)

    def leaving(self) -> list[Item]:
        """Items whose turn has come."""
        if not self.ordered:
            return [item for item in self.items if item.state is State.DONE and not item.has_left]
        found = []
        may_pass_holes = self.stopped and not self.among(State.OUT)
        for item in self.items[self.position : self.final]:
            if item.state is not State.DONE and not may_pass_holes:
                break
            found.append(item)
        return found

    def shown(self, items: Iterable[Item]) -> list[Any]:
        """What the consumer gets for them."""
        seen = [
            item
            for item in items
            if item.state is State.DONE and (self.errors == "return" or not item.is_failed)
        ]
        if self.pairs:
            return [(item.index, name(item.index), item.outcome) for item in seen]
        return [item.outcome for item in seen]

    @property
    def raised(self) -> int | None:
        if self.final is None:
            return None
        if self.ordered:
            return self.final if self.position == self.final else None
        return None if self.leaving() else self.final


def name(index: int) -> str:
    return f"item {index}"


def order_of(shown: Any) -> Any:
    """Sort by what tells the item: the index of a pair or failure, or the number in a value."""
    if isinstance(shown, Failure):
        return shown.index
    return shown[0]


class LedgerMachine(RuleBasedStateMachine):
    """Do anything that lanes, source and consumer may do, in any order."""

    ways: ClassVar[list[Errors]]  # the values of `errors` to try

    @initialize(
        data=st.data(), ordered=st.booleans(), retries=st.integers(0, 3), pairs=st.booleans()
    )
    def begin(self, data: st.DataObject, *, ordered: bool, retries: int, pairs: bool) -> None:
        errors = data.draw(st.sampled_from(self.ways))
        retry = Retry(retries, wait=1.0, on=(RETRIED,), longest_wait=3.0)
        self.model = Model(ordered, errors, retry, pairs)
        self.described: list[Failure] = []
        self.ledger = Ledger(
            ordered=ordered,
            errors=errors,
            retry=retry if retries else None,
            pairs=pairs,
            chance=lambda: CHANCE,
            describe=self.described.append,
        )
        self.now = 0.0
        self.handed_out = 0
        self.settled = 0

    # What may happen

    @rule(
        count=st.integers(1, 9),
        kind=st.sampled_from([list, tuple]),
        lengths=st.lists(st.integers(1, 5), max_size=4),
    )
    def admit_and_hand_out(self, *, count: int, kind: type, lengths: list[int]) -> None:
        if not self.ledger.is_ending:
            first = len(self.model.items)
            self.ledger.admit(kind(name(index) for index in range(first, first + count)))
            self.model.items += [Item(index) for index in range(first, first + count)]
        for length in lengths:
            self._hand_out(length)

    @precondition(lambda self: self.model.among(State.OUT))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        low, high = self._draw_part(data)
        failing = data.draw(
            st.dictionaries(st.integers(low, high - 1), st.sampled_from([RETRIED, FATAL]))
        )
        self._settle(low, high, failing)

    @precondition(lambda self: self.model.among(State.OUT))
    @rule(data=st.data(), kind=st.sampled_from([RETRIED, FATAL]))
    def fail(self, data: st.DataObject, kind: type[Exception]) -> None:
        low, _ = self._draw_part(data)
        self._settle(low, low + 1, {low: kind})

    @precondition(lambda self: self.model.among(State.OUT))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self._return(*self._draw_part(data))

    @rule(
        low=st.integers(0, 40),
        count=st.integers(1, 4),
        news=st.sampled_from(["values", "failure", "back"]),
    )
    def send_strange_news(self, *, low: int, count: int, news: str) -> None:
        """Of any items: perhaps settled before, held by two lanes, or never admitted."""
        if news == "back":
            self._return(low, low + count)
        else:
            self._settle(low, low + count, {low: FATAL} if news == "failure" else {})

    @rule(eighths=st.integers(1, 24))
    def let_time_pass(self, *, eighths: int) -> None:
        self.now += eighths / 8

    @rule()
    def emit(self) -> None:
        leaving = self.model.leaving()
        got: list[Any] = []
        while (window := self.ledger.emit()) is not None:
            assert len(window) > 0
            got += window
        expected = self.model.shown(leaving)
        if not self.model.ordered:
            got.sort(key=order_of)
            expected.sort(key=order_of)
        assert got == expected
        for item in leaving:
            item.has_left = True

    @precondition(lambda self: len(self.model.items) > 20)  # later: what follows is less varied
    @rule()
    def stop(self) -> None:
        self.ledger.stop()
        self.model.stopped = True
        self.model.cut_void()

    @precondition(lambda self: self.model.stopped)
    @rule()
    def forget_outstanding(self) -> None:
        self.ledger.forget_outstanding()
        for item in self.model.among(State.OUT):
            item.state = State.CUT

    # What must hold whatever happened

    @invariant()
    def counters_are_the_models(self) -> None:
        ledger, model = self.ledger, self.model
        assert ledger.admitted == len(model.items)
        assert ledger.inside == len(model.items) - model.position
        assert ledger.outstanding == len(model.among(State.OUT))
        assert ledger.unsent == len(model.among(State.FRESH, State.BACK, State.RETRY))
        assert ledger.succeeded == model.succeeded
        assert ledger.failed == len(model.failures)
        assert ledger.retried == model.retried
        assert ledger.failures == model.failures == self.described

    @invariant()
    def ends_are_the_models(self) -> None:
        ledger, model = self.ledger, self.model
        assert ledger.is_ending == (model.stopped or model.final is not None)
        assert (ledger.raised.index if ledger.raised is not None else None) == model.raised
        dues = [item.due for item in model.among(State.RETRY)]
        assert ledger.next_due == min(dues, default=None)

    def teardown(self) -> None:
        """Drive it to its end: nothing is missing, nothing is left over."""
        if not hasattr(self, "model"):
            return
        self.counters_are_the_models()  # first: on a ledger that is off, the loop may not end
        model = self.model
        self.now += 1e6
        while model.among(State.FRESH, State.BACK, State.RETRY):
            self._hand_out(5)
        while out := model.among(State.OUT):
            self._settle(out[0].index, out[0].index + 3, {})
            self.counters_are_the_models()
            self.ends_are_the_models()
        self.emit()
        self.ends_are_the_models()
        assert self.ledger.next_chunk(1, self.now + 1e9) is None
        left = [item.index for item in model.items if item.has_left]
        if model.final is None and not model.stopped:
            assert left == list(range(len(model.items)))
            assert self.ledger.inside == 0
        elif model.final is not None and model.ordered:
            assert left == list(range(model.final))
        if model.final is not None:
            assert self.ledger.raised is not None
            assert self.ledger.raised == model.items[model.final].outcome

    # Helpers

    def _draw_part(self, data: st.DataObject) -> tuple[int, int]:
        """Choose consecutive items that one lane holds."""
        first = data.draw(st.sampled_from(self.model.among(State.OUT)))
        part = [first.index]
        for item in self.model.items[first.index + 1 :]:
            if item.state is not State.OUT or item.chunk != first.chunk:
                break
            part.append(item.index)
        return first.index, data.draw(st.sampled_from(part[::-1])) + 1

    def _hand_out(self, length: int) -> None:
        model = self.model
        due = [item for item in model.among(State.RETRY) if item.due <= self.now]
        back, fresh = model.among(State.BACK), model.among(State.FRESH)
        assert self.ledger.has_sendable(self.now) == bool(due or back or fresh)
        chunk = self.ledger.next_chunk(length, self.now)
        if chunk is None:
            assert [due, back, fresh] == [[], [], []]
            return
        items = model.items[chunk.first : chunk.first + len(chunk.items)]
        assert list(chunk.items) == [name(item.index) for item in items]
        assert 1 <= len(items) <= length
        if due:
            assert items == [min(due, key=lambda item: (item.due, item.index))]
            model.retried += 1
        elif back:
            assert all(item.state is State.BACK for item in items)
        else:
            assert items[0] is fresh[0]
            assert all(item.state is State.FRESH for item in items)
        self.handed_out += 1
        for item in items:
            assert chunk.attempt == item.failures + 1 <= model.retry.retries + 1
            item.state, item.chunk = State.OUT, self.handed_out

    def _settle(self, low: int, high: int, failing: dict[int, type[Exception]]) -> None:
        self.settled += 1  # an outcome tells which settlement it came with
        values: list[Any] = [
            GARBAGE if index in failing else (index, self.settled) for index in range(low, high)
        ]
        faults = {
            index: Fault(kind(f"settlement {self.settled}"), self.settled / 8)
            for index, kind in failing.items()
        }
        note(f"settle {low}..{high}, failed {sorted(failing)}")
        self.ledger.settle(
            Settled(low, values if self.settled % 2 else tuple(values), faults), self.now
        )
        for item in self.model.items[low:high]:
            if item.state is not State.OUT:
                continue
            if item.index in faults:
                self.model.fail(item, faults[item.index], self.now)
            else:
                self.model.succeed(item, values[item.index - low])

    def _return(self, low: int, high: int) -> None:
        self.ledger.returned(low, high - low)
        for item in self.model.items[low:high]:
            if item.state is State.OUT:
                item.state = State.CUT if self.model.is_void(item) else State.BACK


class LedgerThatRaises(LedgerMachine):
    ways: ClassVar[list[Errors]] = ["raise"]


class LedgerThatGoesOn(LedgerMachine):
    ways: ClassVar[list[Errors]] = ["return", "skip"]


TestLedgerThatRaises = pytest.mark.slow(LedgerThatRaises.TestCase)
TestLedgerThatGoesOn = pytest.mark.slow(LedgerThatGoesOn.TestCase)
TestLedgerThatRaises.settings = TestLedgerThatGoesOn.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
