"""What it costs here to start workers: learned from each start, and kept while the program runs.

Apart from the engines' traits, which say what is typical: a program with 2 GB in memory forks
slower, and a loaded machine starts interpreters slower. The median of the last few, and of what is
typical. Threads may read and write at once: what is kept is replaced as a whole.
"""

from __future__ import annotations

__all__ = ["note_start", "start_seconds"]

FORK_SECONDS = 0.008  # until the first outcome, beside what each worker takes
FORKED_WORKER_SECONDS = 0.0015
EXEC_SECONDS = 0.15  # a fresh interpreter that imports us

KEPT = 5  # starts: one that a busy moment made slow must not count for long

_learned: dict[tuple[str, str], tuple[float, ...]] = {}


def start_seconds(engine: str, method: str, workers: int) -> float:
    """Return what a start takes until the first outcome, less the item's own time.

    Args:
        engine: Name of the engine.
        method: How its workers are started, "fork" or "exec".
        workers: How many.
    """
    seconds = (FORK_SECONDS if method == "fork" else EXEC_SECONDS) + FORKED_WORKER_SECONDS * workers
    return _median((seconds, *_learned.get((engine, method), ())))


def note_start(engine: str, method: str, seconds: float) -> None:
    """Learn from a start."""
    before = _learned.get((engine, method), ())
    _learned[engine, method] = (*before[1 - KEPT :], seconds)


def _median(values: tuple[float, ...]) -> float:
    """Return the middle one, the lower of two; `statistics` takes 4 ms to import."""
    return sorted(values)[(len(values) - 1) // 2]
