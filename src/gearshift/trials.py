"""Frozen values of a comparison: what each engine took for the same items.

Beside `facts`, and under its rules: no value holds a thread, a file or a clock; times are
float seconds. Apart from it because a comparison is made of runs, and nothing of a run
knows of it. A comparison says in lines and in a table of text what it holds; pages and
pictures are made of the same values elsewhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal

from gearshift.units import counted, duration, listed, megabytes

__all__ = ["COLUMNS", "Comparison", "Trial"]

COLUMNS = ("on", "workers", "time", "predicted", "speed-up", "CPU", "memory", "start-up")
_UNKNOWN = "-"
_GAP = "  "

Ended = Literal["stable", "rounds", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What one engine took for all the items, once a round.

    Attributes:
        on: What was asked for, as in `on=`; with workers, as in "threads:8".
        engine: Name of the engine that ran them; under "auto" the one that it chose.
        workers: Its workers.
        seconds: Wall time of each round, workers that it started and ended included.
        cpu_seconds: CPU time of this program and its workers, the middle of all rounds; None
            where the system does not tell.
        peak_bytes: Memory that it took at most beyond what there was before, of this program and
            its workers together; None where the system does not tell.
        start_seconds: Time to the first value, beyond what an item takes. Where tasks share memory
            they hold each other up, and it is that to the first value of a function which does nothing.
        end_seconds: Time from the last value until its workers were gone.
        predicted_seconds: What it was expected to take before, or None.
        failed: Items that failed.
        failure: What the first of them failed with, in words, or "".
        agrees: Its outcomes were those of the reference, in every round; None where they
            cannot be compared.
        difference: The first item whose outcome was another one, in words, or "".
        reasons: Why auto chose that engine, a sentence each.
        why_not: Why it did not run, or None.
    """

    on: str
    engine: str
    workers: int = 0
    seconds: tuple[float, ...] = ()
    cpu_seconds: float | None = None
    peak_bytes: int | None = None
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    predicted_seconds: float | None = None
    failed: int = 0
    failure: str = ""
    agrees: bool | None = True
    difference: str = ""
    reasons: tuple[str, ...] = ()
    why_not: str | None = None

    @property
    def median(self) -> float:
        """The middle of its rounds in seconds, or infinity where it did not run."""
        return median(self.seconds) if self.seconds else float("inf")

    @property
    def spread(self) -> float:
        """From its fastest to its slowest round, as a share of the middle one; 0 for one round."""
        return (max(self.seconds) - min(self.seconds)) / self.median if self.seconds else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same items on several engines, side by side.

    `str()` is a table and a few plain lines.

    Attributes:
        function: Name of the function.
        items: How many items each trial ran.
        trials: One for each engine, in the order in which they were asked for.
        runs: How often each item was run, by all trials together; the first ones once more.
        best: The trial's `on` that is to be used, or None where none ran.
        words: What to use, and when that would change, a sentence each.
        ended: Why there was no further round: the ranking was stable, or `rounds` or `seconds`
            were used up.
        seconds: How long all of it took.
        cores: Cores that this program may use.
        python: Version of Python.
    """

    function: str
    items: int
    trials: tuple[Trial, ...]
    runs: int
    best: str | None
    words: tuple[str, ...]
    ended: Ended
    seconds: float
    cores: int
    python: str

    @property
    def agree(self) -> bool:
        """Whether no trial gave another outcome than the reference."""
        return all(trial.agrees is not False for trial in self.trials)

    def speedup(self, trial: Trial) -> float | None:
        """Return how many times as fast as serial a trial was, or None where one did not run."""
        serial = next((each for each in self.trials if each.on == "serial"), None)
        if serial is None or not serial.seconds or not trial.seconds:
            return None
        return serial.median / trial.median

    def table(self) -> list[tuple[str, ...]]:
        """Return the cells, as text: the heads (`COLUMNS`), then one row for each trial."""
        return [COLUMNS, *map(self._cells, self.trials)]

    def lines(self) -> list[str]:
        """Return what stands under the table: results first, then what to use."""
        told = [f"RESULTS DIFFER: {each.difference}" for each in self.trials if each.difference]
        told += [f"{each.on} did not run: {each.why_not}" for each in self.trials if each.why_not]
        ran = [each for each in self.trials if each.seconds]
        unknown = [each.on for each in ran if each.agrees is None]
        if unknown:
            told.append(
                f"Results of {listed(unknown)} cannot be compared: they have no usable `==`."
            )
        if len(ran) > 1 and all(each.agrees for each in ran):
            told.append("All of them gave the same results.")
        return [*told, *self.words]

    def heading(self) -> str:
        """Return what was compared, how often, and on how many cores."""
        rounds = max((len(trial.seconds) for trial in self.trials), default=0)
        why = {
            "stable": "then the ranking was stable",
            "rounds": "as many as there were to be",
            "seconds": "more would have taken too long",
        }[self.ended]
        return (
            f"{self.function} over {counted(self.items, 'item')}, on {counted(self.cores, 'core')}, "
            f"Python {self.python}: {counted(rounds, 'round')}, {why}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON.

        Returns:
            The attributes by name, each trial with `median`, `spread` and `speedup`; `agree`; and
            `schema`, 1, to be counted up if a name changes its meaning.
        """
        trials = [
            {
                **asdict(trial),
                "seconds": list(trial.seconds),
                "reasons": list(trial.reasons),
                "median": trial.median if trial.seconds else None,
                "spread": trial.spread,
                "speedup": self.speedup(trial),
            }
            for trial in self.trials
        ]
        plain = {**asdict(self), "trials": trials, "words": list(self.words)}
        return {"schema": 1, **plain, "agree": self.agree}

    def __str__(self) -> str:
        """Return heading, table and words as plain text."""
        table = self.table()
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        rows = [
            _GAP.join(
                cell.rjust(width) if place else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join([self.heading(), "", *rows, "", *self.lines()])

    def _cells(self, trial: Trial) -> tuple[str, ...]:
        if not trial.seconds:
            return (trial.on, *[_UNKNOWN] * (len(COLUMNS) - 1))
        speedup = self.speedup(trial)
        gained = _UNKNOWN if speedup is None else f"{speedup:.2f}x"
        return (
            trial.on,
            str(trial.workers),
            f"{duration(trial.median)}{_give_or_take(trial)}",
            _or_unknown(trial.predicted_seconds, duration),
            "DIFFERS" if trial.agrees is False else gained,
            _or_unknown(trial.cpu_seconds, duration),
            _or_unknown(trial.peak_bytes, megabytes),
            duration(trial.start_seconds),
        )


def _give_or_take(trial: Trial) -> str:
    """Say how far its rounds were apart, where there was more than one."""
    return f" \N{PLUS-MINUS SIGN}{trial.spread / 2:.0%}" if len(trial.seconds) > 1 else ""


def _or_unknown(value: float | None, say: Any) -> str:
    return _UNKNOWN if value is None else str(say(value))
