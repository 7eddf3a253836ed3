"""What it costs here to start workers: learned from each start, and kept while the program runs.

Apart from the engines' traits, which say what is typical: a program with 2 GB in memory forks
slower, and a loaded machine starts interpreters slower. Threads may read and write at once: a
figure is one float.
"""

from __future__ import annotations

__all__ = ["note_start", "start_seconds"]

FORK_SECONDS = 0.008  # until the first outcome, beside what each worker takes
FORKED_WORKER_SECONDS = 0.0015
EXEC_SECONDS = 0.15  # a fresh interpreter that imports us

_learned: dict[tuple[str, str], float] = {}


def start_seconds(engine: str, method: str, workers: int) -> float:
    """Return what a start takes until the first outcome, less the item's own time.

    Args:
        engine: Name of the engine.
        method: How its workers are started, "fork" or "exec".
        workers: How many.
    """
    begun = FORK_SECONDS if method == "fork" else EXEC_SECONDS
    return _learned.get((engine, method), begun + FORKED_WORKER_SECONDS * workers)


def note_start(engine: str, method: str, seconds: float) -> None:
    """Learn from a start; recent ones count as much as all before."""
    before = _learned.get((engine, method), seconds)
    _learned[engine, method] = (before + seconds) / 2
