"""The fault table: whatever goes wrong at each stage of an item's life, and what becomes of it.

    send      the item is pickled, in the caller's process
    load      the item is rebuilt, in the worker
    run       the function runs
    return    the value is pickled, in the worker
    arrive    the value is rebuilt, in the caller's process
    shut down an object of `gs.per_worker` is closed, at its worker's end

At each stage something raises, leaves (`sys.exit`), kills its process (SIGKILL) or hangs.
`TABLE` names the outcome of each cell; `check_cell` sees to it that an engine keeps to
it. A cell whose outcome is DOWN ends the program, so run `spring_cell` in another one.

Apart from the contract because a fault needs care: who tries it must survive it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import gearshift as gs
from gearshift.testing import _tasks as tasks
from gearshift.testing._bench import Bench, MakeEngine, bench_of, equal, expect, helper, until_error

if TYPE_CHECKING:
    from gearshift.facts import Traits

__all__ = ["KINDS", "STAGES", "TABLE", "Cell", "Outcome", "check_cell", "expected", "spring_cell"]

Stage = Literal["send", "load", "run", "return", "arrive", "shut down"]
Kind = Literal["raise", "exit", "kill", "hang"]

STAGES: tuple[Stage, ...] = ("send", "load", "run", "return", "arrive", "shut down")
KINDS: tuple[Kind, ...] = ("raise", "exit", "kill", "hang")

_TIMEOUT_SECONDS = 0.3
_GRACE_SECONDS = 0.1  # a wait that lasts this long is one


class Outcome(Enum):
    """What becomes of a fault, where that is not an exception at its item's turn."""

    WORKS = "nothing: this engine has no such stage"
    WARNS = "every value is given; a RuntimeWarning tells of it"
    UNSEEN = "every value is given; at most the worker's stderr tells of it"
    ENDS = "the run ends with WorkerDiedError, which names the items in flight"
    DOWN = "it takes the program down"
    WAITS = "whoever needs it waits until it is over"
    REFUSED = "a task_timeout is refused with UnsupportedError: nothing stops a task there"


@dataclass(frozen=True, slots=True)
class Cell:
    """What becomes of one fault.

    Attributes:
        shared: Outcome where workers share the caller's memory, and nothing is pickled.
        pickled: Outcome where they are other processes.
    """

    shared: Outcome | type[BaseException]
    pickled: Outcome | type[BaseException]


TABLE: dict[tuple[Stage, Kind], Cell] = {
    ("send", "raise"): Cell(Outcome.WORKS, gs.TransportError),
    ("send", "exit"): Cell(Outcome.WORKS, gs.TransportError),
    ("send", "kill"): Cell(Outcome.WORKS, Outcome.DOWN),
    ("send", "hang"): Cell(Outcome.WORKS, Outcome.WAITS),
    ("load", "raise"): Cell(Outcome.WORKS, gs.TransportError),
    ("load", "exit"): Cell(Outcome.WORKS, gs.TransportError),
    ("load", "kill"): Cell(Outcome.WORKS, gs.WorkerDiedError),
    ("load", "hang"): Cell(Outcome.WORKS, gs.TaskTimeoutError),
    ("run", "raise"): Cell(ValueError, ValueError),
    ("run", "exit"): Cell(SystemExit, SystemExit),
    ("run", "kill"): Cell(Outcome.DOWN, gs.WorkerDiedError),
    ("run", "hang"): Cell(gs.TaskTimeoutError, gs.TaskTimeoutError),
    ("return", "raise"): Cell(Outcome.WORKS, gs.TransportError),
    ("return", "exit"): Cell(Outcome.WORKS, gs.TransportError),
    ("return", "kill"): Cell(Outcome.WORKS, gs.WorkerDiedError),
    ("return", "hang"): Cell(Outcome.WORKS, gs.TaskTimeoutError),
    ("arrive", "raise"): Cell(Outcome.WORKS, gs.TransportError),
    ("arrive", "exit"): Cell(Outcome.WORKS, gs.TransportError),
    ("arrive", "kill"): Cell(Outcome.WORKS, Outcome.DOWN),
    ("arrive", "hang"): Cell(Outcome.WORKS, Outcome.WAITS),
    ("shut down", "raise"): Cell(Outcome.WARNS, Outcome.WARNS),
    ("shut down", "exit"): Cell(Outcome.WARNS, Outcome.WARNS),
    ("shut down", "kill"): Cell(Outcome.DOWN, Outcome.UNSEEN),
    ("shut down", "hang"): Cell(Outcome.WAITS, Outcome.WAITS),
}


def expected(traits: Traits, stage: Stage, kind: Kind) -> Outcome | type[BaseException]:
    """Return what becomes of a fault on an engine with these traits.

    Args:
        traits: What the engine can do.
        stage: Where it strikes.
        kind: What it does.

    Returns:
        An exception's type, raised at its item's turn, or what else happens.
    """
    cell = TABLE[stage, kind]
    outcome = cell.pickled if traits.pickles else cell.shared
    if outcome is gs.TaskTimeoutError and traits.stops == "no":
        return Outcome.REFUSED
    if outcome is gs.WorkerDiedError and not traits.survives_death:
        return Outcome.ENDS
    if outcome is Outcome.WARNS and traits.pickles and not traits.survives_death:
        return Outcome.UNSEEN  # a pool of somebody else's does not listen while its workers end
    return outcome


def check_cell(make_engine: MakeEngine, stage: Stage, kind: Kind) -> None:
    """Try one fault on an engine.

    Args:
        make_engine: Makes a fresh engine; it is shut down.
        stage: Where the fault strikes.
        kind: What it does.

    Raises:
        AssertionError: What became of it is not what the table says.
        ValueError: It would take this program down.
    """
    with warnings.catch_warnings(record=True) as caught, bench_of(make_engine) as bench:
        warnings.simplefilter("always", RuntimeWarning)
        outcome = expected(bench.traits, stage, kind)
        if outcome is Outcome.DOWN:
            raise ValueError(
                f"stage={stage!r} with kind={kind!r} takes the program down on {bench.name}: "
                "call spring_cell in a program that may end"
            )
        trap = _Trap(stage, kind, bench.gate(), bench.gate())
        if outcome is Outcome.WAITS:
            _check_waits(bench, trap)
        elif outcome in {Outcome.ENDS, Outcome.REFUSED}:
            _check_ends(bench, trap, refused=outcome is Outcome.REFUSED)
        else:
            _check_outcome(bench, trap, outcome)
            bench.shutdown()
        told = [str(warning.message) for warning in caught if warning.category is RuntimeWarning]
        equal(len(told), int(outcome is Outcome.WARNS), f"warnings, {told},")


def spring_cell(make_engine: MakeEngine, stage: Stage, kind: Kind) -> None:
    """Let a fault strike, and print "survived" if the program is still there afterwards.

    Args:
        make_engine: Makes a fresh engine; it is shut down.
        stage: Where the fault strikes.
        kind: What it does.
    """
    with bench_of(make_engine) as bench:
        list(_begin(bench, _Trap(stage, kind, bench.gate(), bench.gate())))
        bench.shutdown()
    sys.stdout.write("survived\n")


def _check_outcome(bench: Bench, trap: _Trap, outcome: Outcome | type[BaseException]) -> None:
    """Every item beside the trap has its value, and the trap has the outcome."""
    outcomes = list(_begin(bench, trap))
    equal(len(outcomes), 5, f"outcomes, {outcomes},")
    caught = outcomes.pop(2)
    equal(outcomes, ["through"] * 4, "values beside it")
    if isinstance(outcome, Outcome):
        expect(not isinstance(caught, gs.Failure), f"it failed: {caught}")
        return
    expect(isinstance(caught, gs.Failure), f"it did not fail: {caught!r}")
    equal((type(caught.exception), caught.index), (outcome, 2), "type and index of the failure")
    words = tasks.text_of(caught.exception)
    expect(f"gearshift: item 2 ({trap!r}) on engine {bench.name}" in words, f"no note: {words}")


def _check_ends(bench: Bench, trap: _Trap, *, refused: bool) -> None:
    """The run ends with an error that tells why; nothing hangs, and nothing is wrong before it."""
    run = _begin(bench, trap)
    values, error = until_error(run)
    expect(set(values) <= {"through"}, f"values before the end: {values}")
    equal(type(error), gs.UnsupportedError if refused else gs.WorkerDiedError, "type of the end")
    expect(bench.name in str(error), f"it does not name the engine: {error}")
    if not refused:
        expect("2" in str(error), f"it does not name the items in flight: {error}")
    run.close()
    bench.shutdown()


def _check_waits(bench: Bench, trap: _Trap) -> None:
    """What hangs is waited for, and all is well once it goes on."""
    finished = threading.Event()
    early: list[bool] = []

    def let_go() -> None:
        trap.sprung.wait()
        early.append(finished.wait(_GRACE_SECONDS))
        trap.gate.open()

    list(bench.map(tasks.square, range(4)))  # its workers are up, started without a second thread
    with helper(let_go):
        values = list(_begin(bench, trap))
        bench.engine.shutdown(wait=True)
        finished.set()
    equal(early, [False], "whether it went on without waiting")
    equal([*values[:2], *values[3:]], ["through"] * 4, "values beside it")


def _begin(bench: Bench, trap: _Trap) -> gs.Run[Any]:
    """Begin a run over the trap and harmless items."""
    may_time_out = expected(bench.traits, trap.stage, trap.kind) in {
        Outcome.REFUSED,
        gs.TaskTimeoutError,
    }
    handle = gs.per_worker(partial(_Closer, trap if trap.stage == "shut down" else None))
    return bench.map(
        partial(tasks.touch, handle),
        [None, None, trap, None, None],
        errors="return",
        chunksize=None if may_time_out else 1 if trap.kind in {"kill", "hang"} else 5,
        task_timeout=_TIMEOUT_SECONDS if may_time_out else None,
    )


class _Trap:
    """An item that strikes at its stage."""

    def __init__(self, stage: Stage, kind: Kind, gate: tasks.Gate, sprung: tasks.Gate) -> None:
        self.stage = stage
        self.kind = kind
        self.gate = gate  # what hangs goes on once it is open
        self.sprung = sprung  # opened where it begins to hang

    def __repr__(self) -> str:
        return f"<trap: {self.stage} {self.kind}>"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.stage == "send":
            self.spring()
        parts = (self.stage, self.kind, self.gate, self.sprung)
        return (_load if self.stage == "load" else _Trap), parts

    def touch(self) -> Any:
        """Strike, or return what strikes later (called by the task)."""
        if self.stage == "run":
            self.spring()
        later: dict[Stage, Stage] = {"return": "send", "arrive": "load"}
        if self.stage in later:
            return _Trap(later[self.stage], self.kind, self.gate, self.sprung)
        return "through"

    async def atouch(self) -> Any:
        """Do the same in a coroutine, where a hang can be cancelled."""
        if (self.stage, self.kind) == ("run", "hang"):
            self.sprung.open()
            await self.gate.await_()
        return self.touch()

    def spring(self) -> None:
        """Strike.

        Raises:
            ValueError: That is its kind.
            SystemExit: That is its kind.
        """
        if self.kind == "raise":
            raise ValueError("the trap was sprung")
        if self.kind == "exit":
            raise SystemExit(3)
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # the signal is on its way
        self.sprung.open()
        self.gate.wait()


class _Closer:
    """A worker's object whose end may be a trap."""

    def __init__(self, trap: _Trap | None) -> None:
        self._trap = trap

    def close(self) -> None:
        """End; a worker whose tasks met no trap has none either."""
        if self._trap is not None:
            self._trap.spring()


def _load(*parts: Any) -> _Trap:
    """Rebuild a trap, which strikes there."""
    trap = _Trap(*parts)
    trap.spring()
    return trap
