"""One workload in a process of its own: engines by hand and auto in turns, values compared.

Apart from choosing.py, which starts it: imports, threads and caches of one workload must not
help the next. Told on standard input what to do, it prints a line "at ..." before each
measurement, so that a hang has a name, and its result as JSON last. Every candidate runs
once before it counts; one that cannot win is dropped then.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tasks import await_nothing, square
from workloads import BY_NAME

import gearshift as gs
from gearshift.host import cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workloads import Workload

    from gearshift.facts import Report

THREAD_COUNTS = 32, 128, 8, 2  # the likeliest first: it bounds what the next may take
HOPELESS = 1.6  # times the best known: ended there, and out
CLOSE = 1.5  # times the best known: could still be the best, by noise
MOST_KEPT = 4  # of those: more would be ties, and take time from the rounds
LEAST_ROUNDS = 3
ROUNDS_SECONDS = 4.0  # beyond these no further round is begun
SMALL_BLOCK_SECONDS = 0.001
AUTO = "auto"


@dataclass(frozen=True)
class Orders:
    """What to measure.

    Args:
        workload: Its name.
        rounds: How often, at most.
        only_serial: Whether auto is held against serial alone, in all rounds.
        record: Folder for what auto saw, or None.
        folder: Where temporary files may be, or None for where they usually are.
    """

    workload: str
    rounds: int
    only_serial: bool = False
    record: str | None = None
    folder: str | None = None


def by_hand(workload: Workload, count: int) -> dict[str, dict[str, Any]]:
    """Return options of `gs.map` by candidate, the likeliest to win first."""
    found: dict[str, dict[str, Any]] = {}
    if "asyncio" in workload.engines:
        found["asyncio"] = {"on": "asyncio"}
    if "threads" in workload.engines:
        enough = min((n for n in THREAD_COUNTS if n >= count), default=max(THREAD_COUNTS))
        found |= {
            f"threads {n}": {"on": "threads", "workers": n} for n in THREAD_COUNTS if n <= enough
        }
    if "processes" in workload.engines:
        workers = {"on": "processes", "workers": cores()}
        large = max(2, count // (2 * cores()))
        found["processes"] = workers
        found["processes, large chunks"] = {**workers, "chunksize": large}
        found["processes, chunks of 1"] = {**workers, "chunksize": 1}
    return {**found, "serial": {"on": "serial"}}


class Trial:
    """The measurements of one workload."""

    def __init__(self, workload: Workload, site: Any) -> None:
        """Make the items, and the values that are due."""
        self.workload = workload
        self.items = workload.items(cores(), site)
        self.seconds: dict[str, list[float]] = {}
        self.wrong: dict[str, int] = {}
        self.reports: list[Report] = []
        workload.before()
        self.due = [(workload.truth or workload.function)(item) for item in self.items]

    def measure(self, name: str, options: Mapping[str, Any]) -> float:
        """Return the seconds of one whole run, and look at its values."""
        run = self._begin(name, options)
        started = time.perf_counter()
        values = list(run)
        taken = time.perf_counter() - started
        self._check(name, values, self.due)
        if name == AUTO:
            self.reports.append(run.report)
        return taken

    def screen(self, name: str, options: Mapping[str, Any], limit: float) -> float:
        """Return the seconds of one run, which is left once it has taken more than `limit`."""
        run = self._begin(name, options)
        values: list[Any] = []
        block = 1
        started = time.perf_counter()
        with run:
            source = iter(run)
            while time.perf_counter() - started <= limit:
                begun = time.perf_counter()
                new = list(islice(source, block))
                values += new
                if len(new) < block:
                    break
                if time.perf_counter() - begun < SMALL_BLOCK_SECONDS:
                    block *= 2
            taken = time.perf_counter() - started
        if len(values) == len(self.due):
            self._check(name, values, self.due)
        return taken if len(values) == len(self.due) else max(taken, limit)

    def _begin(self, name: str, options: Mapping[str, Any]) -> Any:
        print(f"at {name}", flush=True)
        self.workload.before()
        gc.collect()
        return gs.map(self.workload.function, self.workload.source(self.items), **options)

    def _check(self, name: str, values: Sequence[Any], due: Sequence[Any]) -> None:
        self.wrong[name] = self.wrong.get(name, 0) + self.workload.unlike(values, due)

    def screened(self, candidates: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """Run each candidate once, and return its seconds."""
        for engine in self.workload.engines:  # imports are not a candidate's cost
            warm = await_nothing if engine == "asyncio" else square
            list(gs.map(warm, range(4), on=engine, workers=2))
        taken: dict[str, float] = {}
        limit = float("inf")
        for name, options in candidates.items():
            taken[name] = self.screen(name, options, limit)
            limit = HOPELESS * min(taken.values())
        return taken

    def rounds(self, candidates: Mapping[str, Mapping[str, Any]], rounds: int) -> None:
        """Let the candidates take turns, each round beginning with another."""
        names = list(candidates)
        started = time.perf_counter()
        for number in range(rounds):
            if number >= LEAST_ROUNDS and time.perf_counter() - started > ROUNDS_SECONDS:
                return
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                self.seconds.setdefault(name, []).append(self.measure(name, candidates[name]))


def measure(orders: Orders) -> dict[str, Any]:
    """Return what was measured of one workload."""
    workload = BY_NAME[orders.workload]
    with tempfile.TemporaryDirectory(dir=orders.folder) as own, workload.site(Path(own)) as site:
        trial = Trial(workload, site)
        candidates = by_hand(workload, len(trial.items))
        if orders.only_serial:
            candidates = {"serial": candidates["serial"]}
        screened = trial.screened(candidates)
        trial.measure(AUTO, {})
        trial.reports.clear()
        close = CLOSE * min(screened.values())
        fastest = sorted(screened, key=screened.__getitem__)[:MOST_KEPT]
        kept = {name: candidates[name] for name in fastest if screened[name] <= close}
        trial.rounds({AUTO: {}, **kept}, orders.rounds)
    result = _result(trial, screened)
    if orders.record is not None:
        record(trial.reports[-1], result, Path(orders.record))
    return result


def _result(trial: Trial, screened: Mapping[str, float]) -> dict[str, Any]:
    seconds = dict(trial.seconds)
    auto = seconds.pop(AUTO)
    right = [name for name in seconds if not trial.wrong[name]] or list(seconds)
    best = min(right, key=lambda name: median(seconds[name]))
    return {
        "workload": trial.workload.name,
        "group": trial.workload.group,
        "items": len(trial.items),
        "best": best,
        "auto_seconds": auto,
        "seconds": seconds,
        "screened_seconds": dict(screened),
        "wrong": {name: wrong for name, wrong in trial.wrong.items() if wrong},
        "chosen": [f"{report.engine} {report.workers}" for report in trial.reports],
        "reasons": [list(report.reasons) for report in trial.reports],
    }


def record(report: Report, result: Mapping[str, Any], folder: Path) -> None:
    """Write what auto saw of a workload into the folder, if the report offers it."""
    profile = None if report.plan is None else report.plan.profile
    if profile is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: result[name] for name in ("workload", "best", "seconds", "auto_seconds")}
    text = json.dumps({**kept, "profile": asdict(profile)}, indent=1, default=str)
    name = "".join(each if each.isalnum() else "-" for each in result["workload"])
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(measure(Orders(**json.load(sys.stdin)))), flush=True)
