"""Objects and functions whose use by several calls at once may change a result."""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import MutableMapping, MutableSequence, MutableSet
from typing import Any, NamedTuple

__all__ = ["MUTATORS", "Peril", "called", "changes_first", "is_lock", "is_mutable", "loaded"]

MUTATORS = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "fill",
    "frombytes", "fromlist", "insert", "intersection_update", "itemset", "pop", "popitem", "popleft", "put",
    "remove", "resize", "reverse", "rotate", "setdefault", "sort", "subtract", "symmetric_difference_update",
    "update",
})  # fmt: skip


class Peril(NamedTuple):
    """Why, after the function's name, and on which engines."""

    words: str
    on_threads: bool = True
    on_processes: bool = True


# By module and name; looked up only where the module is loaded.
_CALLED = {
    ("os", "chdir"): Peril("changes the current folder, of which the whole program has one"),
    ("os", "fchdir"): Peril("changes the current folder, of which the whole program has one"),
    ("os", "putenv"): Peril("changes the environment, of which the whole program has one"),
    ("os", "unsetenv"): Peril("changes the environment, of which the whole program has one"),
    ("os", "umask"): Peril("changes the umask, of which the whole program has one"),
    ("signal", "signal"): Peril("sets a signal handler, which only the main thread may"),
    ("signal", "setitimer"): Peril("sets a timer, of which the whole program has one"),
    ("signal", "alarm"): Peril("sets a timer, of which the whole program has one"),
    ("locale", "setlocale"): Peril("sets the locale, of which the whole program has one"),
    ("sys", "setrecursionlimit"): Peril(
        "sets the recursion limit, of which the whole program has one"
    ),
    ("sys", "settrace"): Peril("sets a trace function, which is for one thread"),
    ("warnings", "filterwarnings"): Peril(
        "changes the filters of warnings, of which the whole program has one set"
    ),
    ("warnings", "simplefilter"): Peril(
        "changes the filters of warnings, of which the whole program has one set"
    ),
    ("decimal", "getcontext"): Peril("uses the decimal context, which calls would share"),
    ("decimal", "setcontext"): Peril("sets the decimal context, which calls would share"),
    # In a process of its own each task seeds for itself; among threads another draws in between.
    ("random", "seed"): Peril(
        "seeds the random numbers that all threads share", on_processes=False
    ),
    ("random", "setstate"): Peril(
        "sets the random numbers that all threads share", on_processes=False
    ),
    ("numpy.random", "seed"): Peril(
        "seeds the random numbers that all threads share", on_processes=False
    ),
    ("numpy.random", "set_state"): Peril(
        "sets the random numbers that all threads share", on_processes=False
    ),
}
_CHANGING_FIRST = (
    ("heapq", "heappush"), ("heapq", "heappop"), ("heapq", "heapify"), ("heapq", "heapreplace"),
    ("heapq", "heappushpop"), ("bisect", "insort"), ("bisect", "insort_left"), ("bisect", "insort_right"),
    ("random", "shuffle"), ("builtins", "setattr"), ("builtins", "delattr"), ("operator", "setitem"),
    ("operator", "delitem"), ("numpy", "copyto"),
)  # fmt: skip
_LOCKS = {"lock", "RLock", "_RLock", "Condition", "Semaphore", "BoundedSemaphore"}


def loaded(value: Any) -> Peril | None:
    """Return why even looking at a shared object is a hazard, or None; words have a place for its name."""
    kind = (type(value).__module__ or "", type(value).__name__)
    if kind[1] == "ContextVar" and kind[0] in {"_contextvars", "contextvars"}:
        words = f"reads the context variable {value.name}, which does not travel to other processes"
        return Peril(words.replace("{", "{{").replace("}", "}}"), on_threads=False)
    if kind[0] == "sqlite3":
        return Peril("uses {}, a database connection for one thread")
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    return (
        Peril("takes from {}, which calls would take from at once") if _is_iterator(value) else None
    )


_DRAWS = Peril("draws from {}, whose numbers depend on who draws first")
_OWN = Peril("uses {}, of which each thread has its own")
_QUEUE = Peril("uses {}, which other processes would not share", on_threads=False)
_BY_KIND = {
    ("_thread", "_local"): _OWN,
    ("_threading_local", "local"): _OWN,
    ("random", "Random"): _DRAWS,
    ("numpy.random._generator", "Generator"): _DRAWS,
    ("numpy.random.mtrand", "RandomState"): _DRAWS,
    ("socket", "socket"): Peril("talks over {}, which calls would share"),
    ("queue", "Queue"): _QUEUE,
    ("queue", "LifoQueue"): _QUEUE,
    ("queue", "PriorityQueue"): _QUEUE,
    ("_queue", "SimpleQueue"): _QUEUE,
}


def called(function: Any) -> Peril | None:
    """Return why a call is a hazard, whatever its arguments, or None."""
    return next(
        (peril for (home, name), peril in _CALLED.items() if _is_named(function, home, name)), None
    )


def changes_first(function: Any) -> bool:
    """Whether a function changes its first argument."""
    return any(_is_named(function, home, name) for home, name in _CHANGING_FIRST)


def is_lock(value: Any) -> bool:
    """Whether an object is a lock, or may be used as one."""
    return type(value).__name__ in _LOCKS and (type(value).__module__ in {"_thread", "threading"})


def is_mutable(value: Any) -> bool:
    """Whether an object is a container that its methods change."""
    if isinstance(
        value, list | dict | set | bytearray | deque | MutableMapping | MutableSequence | MutableSet
    ):
        return True
    return hasattr(type(value), "__array_interface__") or type(value).__module__ == "array"


def _is_iterator(value: Any) -> bool:
    """Whether what it gives depends on who asks first; what is printed to does not count."""
    if value is None or isinstance(value, types.ModuleType | type):
        return False
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__)
    return hasattr(type(value), "__next__") and not any(value is stream for stream in streams)


def _is_named(function: Any, home: str, name: str) -> bool:
    module = sys.modules.get(home)
    if module is None or function is None:
        return False
    try:
        return bool(vars(module).get(name) == function)
    except Exception:  # an `__eq__` of the user's
        return False
