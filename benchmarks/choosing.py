"""Measure how well `gs.map(fn, items)` chooses, beside every engine picked by hand.

    python benchmarks/choosing.py                        all parts, about 15 minutes
    python benchmarks/choosing.py idle                   one of them
    python benchmarks/choosing.py --quick                a first look: fewer workloads, 3 rounds
    python benchmarks/choosing.py --save choosing-2cores also into results/
    python benchmarks/choosing.py idle --only difflib    single workloads; may be repeated
    python benchmarks/choosing.py --record FOLDER        what auto saw, a file a workload

Parts: `idle` (all workloads of workloads.py), `busy` (some of them, beside two processes that
burn CPU), `probe` (what looking costs where the plain loop wins). By hand: serial; 2, 8, 32 and
128 threads; as many processes as cores with three chunk sizes; asyncio. Regret is the time on auto
over that of the best by hand in the same round, where the best is the one with the least median in
the *other* rounds: the least of several noisy medians is too low, by 4 to 5 % here. All are engines
of ours, so that it shows the choice and nothing else. A workload passes when its regret or the time
it loses is small enough. Each runs in a process of its own (trials.py); candidates that cannot win
run once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from harness import Row, is_installed, row, run
from trials import AUTO, Orders
from workloads import BY_NAME, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workloads import Workload

OPTIONAL = tuple(sorted({workload.needs for workload in TABLE if workload.needs}))
TRIALS = Path(__file__).with_name("trials.py")
HANG_SECONDS = 120.0
BURN = (
    "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(1_000_000))\n"
)
BURNERS = 2


@dataclass(frozen=True)
class Bounds:
    """A floor and a goal of a workload: it keeps one if it keeps the share or the seconds."""

    floor_percent: float = 40.0
    floor_seconds: float = 0.05
    goal_percent: float = 20.0
    goal_seconds: float = 0.02

    def percents(self, best_seconds: float) -> dict[str, float]:
        """Return both as percents of what the best took."""
        return {
            "floor": max(self.floor_percent, 100 * self.floor_seconds / best_seconds),
            "goal": max(self.goal_percent, 100 * self.goal_seconds / best_seconds),
        }


@dataclass(frozen=True)
class Choice:
    """What to measure and how."""

    only: Sequence[str] = ()
    record: str | None = None


def main(argv: Sequence[str]) -> None:
    """Measure the parts asked for."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", action="append", default=[], choices=sorted(BY_NAME))
    parser.add_argument("--record", metavar="FOLDER")
    options, rest = parser.parse_known_args(argv)
    choice = Choice(options.only, options.record)
    parts = {name: partial(measure_part, choice) for name, measure_part in PARTS.items()}
    run("Choosing", __doc__, parts, OPTIONAL, rest)


# Parts


def measure_idle(choice: Choice, quick: bool) -> list[Row]:
    """Every workload, on a quiet machine."""
    wanted = _wanted(choice, [each for each in TABLE if each.brief or not quick])
    orders = Orders("", rounds=3 if quick else 5, record=choice.record)
    results = [_result(replace(orders, workload=each.name)) for each in wanted]
    return _rows("idle", results, floor=8.0, goal=2.0)


def measure_busy(choice: Choice, quick: bool) -> list[Row]:
    """Some of them, beside processes that burn CPU."""
    wanted = _wanted(choice, [each for each in TABLE if each.brief][:: 2 if quick else 1])
    with _burning():
        results = [_result(Orders(each.name, rounds=3 if quick else 5)) for each in wanted]
    return _rows("busy", results, floor=15.0, goal=5.0)


def measure_probe(choice: Choice, quick: bool) -> list[Row]:
    """What auto costs beside serial, where nothing beats the plain loop."""
    wanted = _wanted(choice, [each for each in TABLE if each.serial and (each.brief or not quick)])
    results = [
        _result(Orders(each.name, rounds=5 if quick else 11, only_serial=True)) for each in wanted
    ]
    measured = [result for result in results if "hang" not in result]
    rows = [
        row(
            "probe",
            each["workload"],
            "% beyond serial",
            _beyond_serial(each),
            note=_note(each),
            detail=each,
        )
        for each in measured
    ]
    right = zip(rows, measured, strict=True)
    costs = [each.median for each, result in right if not _is_wrong(result)]
    if costs:
        name = f"median over {len(costs)} workloads that serial wins, where values are right"
        rows.insert(0, row("probe", name, "% beyond serial", [median(costs)], floor=5.0, goal=1.0))
    return rows + _faults("probe", results)


def _wanted(choice: Choice, workloads: Sequence[Workload]) -> list[Workload]:
    """Return those that can be measured here, in their order."""
    named = [BY_NAME[name] for name in choice.only] or workloads
    return [each for each in named if each.needs is None or is_installed(each.needs)]


@contextmanager
def _burning() -> Iterator[None]:
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(BURNERS)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


# One workload


def _result(orders: Orders) -> dict[str, Any]:
    """Return what a process of its own measured of a workload; "hang" says where it hung."""
    with TemporaryDirectory() as folder:  # ours, since one that is killed would leave it behind
        return _result_in(replace(orders, folder=folder))


def _result_in(orders: Orders) -> dict[str, Any]:
    """Return the result of a process that may use the orders' folder.

    Raises:
        RuntimeError: It failed.
    """
    print(f"  {orders.workload} ...", file=sys.stderr, end=" ", flush=True)
    child = subprocess.Popen(
        [sys.executable, str(TRIALS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = child.communicate(json.dumps(asdict(orders)), timeout=HANG_SECONDS)
    except subprocess.TimeoutExpired:
        _end(child)
        out, _ = child.communicate()
        where = out.splitlines()[-1] if out else "before the first measurement"
        print("hangs", file=sys.stderr)
        return {"workload": orders.workload, "hang": where}
    finally:
        _end(child)
    if child.returncode:
        raise RuntimeError(f"the workload {orders.workload!r} failed: its traceback is above")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    print(f"{_regret(result):.0f} %", file=sys.stderr)
    return result


def _end(child: subprocess.Popen[str]) -> None:
    """Kill what is left of a workload's session."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _best_seconds(result: dict[str, Any]) -> float:
    best: list[float] = result["seconds"][result["best"]]
    return median(best)


def _regrets(result: dict[str, Any]) -> list[float]:
    """Return the percents of each round over the best of the other rounds (leave one out)."""
    auto = result["auto_seconds"]
    right = [name for name in result["seconds"] if name not in result["wrong"]]
    seconds = {name: result["seconds"][name] for name in right or result["seconds"]}
    return [
        100 * (taken / min(seconds.values(), key=partial(_median_without, number))[number] - 1)
        for number, taken in enumerate(auto)
    ]


def _median_without(number: int, seconds: Sequence[float]) -> float:
    """Return the median of the other rounds."""
    return median([*seconds[:number], *seconds[number + 1 :]])


def _regret_of_medians(result: dict[str, Any]) -> float:
    """Return the percents of the median of auto over the least median."""
    auto: list[float] = result["auto_seconds"]
    return 100 * (median(auto) / _best_seconds(result) - 1)


def _regret(result: dict[str, Any]) -> float:
    return median(_regrets(result))


def _beyond_serial(result: dict[str, Any]) -> list[float]:
    """Return the percents within each round, since the machine's speed moves between them."""
    pairs = zip(result["auto_seconds"], result["seconds"]["serial"], strict=True)
    return [100 * (auto / serial - 1) for auto, serial in pairs]


def _note(result: dict[str, Any]) -> str:
    best, auto = _best_seconds(result), median(result["auto_seconds"])
    chosen = Counter(result["chosen"]).most_common()
    words = ", ".join(f"{name} ({times})" if len(chosen) > 1 else name for name, times in chosen)
    return (
        f"best: {result['best']}, {1000 * best:.0f} ms; "
        f"auto: {words}, {1000 * auto:.0f} ms ({1000 * (auto - best):+.0f})"
    )


# Rows


def _rows(part: str, results: Sequence[dict[str, Any]], *, floor: float, goal: float) -> list[Row]:
    """Return the rows of a part, what sums it up first."""
    measured = [result for result in results if "hang" not in result]
    rows = [_row(part, each) for each in measured if not _is_wrong(each)]
    faults = _faults(part, results)
    faults += [_row(part, each) for each in measured if _is_wrong(each)]
    if not rows:
        return faults
    regrets = [each.median for each in rows]
    plain = [_regret_of_medians(each) for each in measured if not _is_wrong(each)]
    worst = max(rows, key=lambda each: each.median / (each.floor or 1.0))
    kept = sum(each.median <= (each.floor or 0.0) for each in rows)
    within = sum(each <= 25.0 for each in regrets)
    name = f"median regret over {len(rows)} workloads"
    return [
        row(part, name, "%", [median(regrets)], floor=floor, goal=goal),
        row(part, "the same, over the least of the medians", "%", [median(plain)]),
        replace(worst, name=f"worst: {worst.name}", detail={}),
        row(part, "workloads that keep their floor", f"of {len(rows)}", [kept]),
        row(part, "workloads within 25 %", f"of {len(rows)}", [within]),
        *faults,
        *rows,
    ]


def _is_wrong(result: dict[str, Any]) -> bool:
    """Whether auto gave wrong values, so that its time says nothing."""
    return AUTO in result["wrong"]


def _row(part: str, result: dict[str, Any]) -> Row:
    wrong = _is_wrong(result)
    more: dict[str, Any] = {} if wrong else Bounds().percents(_best_seconds(result))
    note = ("WRONG VALUES; " if wrong else "") + _note(result)
    name = result["workload"]
    return row(part, name, "% regret", _regrets(result), note=note, detail=result, **more)


def _faults(part: str, results: Sequence[dict[str, Any]]) -> list[Row]:
    wrong = {
        f"{result['workload']} on {name}": count
        for result in results
        for name, count in result.get("wrong", {}).items()
    }
    hangs = [f"{result['workload']} {result['hang']}" for result in results if "hang" in result]
    none: dict[str, Any] = {"floor": 0.0, "goal": 0.0}
    return [
        row(part, "wrong values", "", [sum(wrong.values())], note="; ".join(wrong), **none),
        row(part, "hangs", "", [len(hangs)], note="; ".join(hangs), **none),
    ]


PARTS = {"idle": measure_idle, "busy": measure_busy, "probe": measure_probe}

if __name__ == "__main__":
    main(sys.argv[1:])
