"""What is known of other people's objects: which methods change them, which calls reach outside.

Apart from `hazards`, since these are lists to be read and added to. Invariant: looking an object
up here runs none of its code and imports nothing.
"""

from __future__ import annotations

import sys
from array import array
from collections import deque
from contextvars import ContextVar
from functools import lru_cache
from types import AsyncGeneratorType
from typing import Any

__all__ = [
    "CHANGING",
    "CONTAINERS",
    "GIVING",
    "HARMLESS",
    "PARTS",
    "TRUSTED",
    "changes_first",
    "is_iterator",
    "is_lock",
    "is_output",
    "moved",
    "name_of",
    "outside",
    "stateful",
]

CONTAINERS = (list, dict, set, deque, bytearray, array)
# Methods that change what they are called on; of an object whose type is not known, too.
CHANGING = frozenset(
    (
        "add append appendleft clear discard extend extendleft insert move_to_end pop popitem "
        "popleft remove reverse rotate setdefault sort subtract update difference_update "
        "intersection_update symmetric_difference_update fill __setitem__ __delitem__ "
        "__setattr__ __delattr__ __iadd__ __ior__"
    ).split()
)
# Methods that return something that their object keeps.
PARTS = frozenset(
    (
        "get setdefault values items pop popitem popleft __getitem__ __iter__ __enter__ most_common"
    ).split()
)
# Functions that change their first argument.
_CHANGES_FIRST = {
    "bisect": "insort insort_left insort_right",
    "builtins": "setattr delattr",
    "heapq": "heapify heappop heappush heappushpop heapreplace",
    "numpy": "copyto fill_diagonal place put putmask",
    "numpy.random": "shuffle",
    "operator": "delitem iadd iconcat ior setitem",
    "random": "shuffle",
}
# Functions that return what others see, too.
GIVING = {
    ("decimal", "getcontext"): "the decimal context",
    ("_decimal", "getcontext"): "the decimal context",  # since 3.13
}
# Functions that take an iterator and leave it where it is.
HARMLESS = frozenset(
    (
        "callable getattr hasattr hash id isinstance issubclass len print repr str type "
        "format iter aiter"
    ).split()
)
# Modules whose objects may be used from many threads, and whose state is nobody else's business.
TRUSTED = frozenset(
    (
        "_strptime abc ast asyncio codecs concurrent contextlib copyreg encodings functools "
        "gearshift importlib inspect linecache logging multiprocessing queue random re "
        "selectors socket ssl subprocess tempfile threading traceback types typing warnings "
        "weakref"
    ).split()
)

# Calls that reach beyond the function: what they do, and whether processes are spoilt, too.
_OUTSIDE: dict[str, dict[str, tuple[str, bool]]] = {
    "os": {
        "chdir": ("changes the working directory", True),
        "fchdir": ("changes the working directory", True),
        "chroot": ("changes the root directory", True),
        "umask": ("changes the file mode mask", True),
        "putenv": ("changes the environment", True),
        "unsetenv": ("changes the environment", True),
    },
    "contextlib": {
        "chdir": ("changes the working directory", True),
        "redirect_stdout": ("redirects sys.stdout", False),
        "redirect_stderr": ("redirects sys.stderr", False),
    },
    "signal": {
        "signal": ("sets a signal handler", True),
        "alarm": ("sets the alarm clock", True),
        "setitimer": ("sets the alarm clock", True),
        "pthread_sigmask": ("changes the signal mask", True),
        "set_wakeup_fd": ("sets the wake-up descriptor of signals", True),
    },
    "decimal": {"setcontext": ("sets the decimal context", True)},
    "locale": {"setlocale": ("sets the locale", True)},
    "sys": {
        "setrecursionlimit": ("sets the recursion limit", True),
        "setswitchinterval": ("sets the switch interval", True),
        "settrace": ("sets a trace function", True),
        "setprofile": ("sets a profile function", True),
    },
    "time": {"tzset": ("sets the time zone", True)},
    "socket": {"setdefaulttimeout": ("sets the default time-out of sockets", True)},
    "gc": {
        "disable": ("stops the garbage collector", True),
        "enable": ("starts the garbage collector", True),
    },
    "warnings": {
        "filterwarnings": ("changes the filters of warnings", True),
        "simplefilter": ("changes the filters of warnings", True),
        "resetwarnings": ("changes the filters of warnings", True),
        # it puts the filters back, so only those who look meanwhile are misled
        "catch_warnings": ("swaps the filters of warnings", False),
    },
    # A task that seeds and draws has its own generator in a process, as it has when it runs alone;
    # on threads another one's seed comes in between.
    "calendar": {"setfirstweekday": ("sets the first day of the week", True)},
    "mimetypes": {"add_type": ("changes the table of file types", True)},
    "shutil": {
        "register_archive_format": ("registers a format", True),
        "register_unpack_format": ("registers a format", True),
        "unregister_archive_format": ("takes a format away", True),
        "unregister_unpack_format": ("takes a format away", True),
    },
    "random": {
        "seed": ("seeds the generator of random", False),
        "setstate": ("sets the state of random", False),
    },
    "numpy.random": {
        "seed": ("seeds the generator of numpy.random", False),
        "set_state": ("sets the state of numpy.random", False),
    },
}
_GENERATORS = {
    ("random", "Random"),
    ("numpy.random._generator", "Generator"),
    ("numpy.random.mtrand", "RandomState"),
}
_FILE_METHODS = frozenset(
    (
        "read readline readlines readinto readinto1 read1 write writelines seek truncate send "
        "sendall sendto recv recv_into recvfrom accept"
    ).split()
)
_STREAMS = {("io", "IOBase"), ("_io", "_IOBase"), ("socket", "socket"), ("_socket", "socket")}
_OUTPUTS = ("stdout", "stderr", "__stdout__", "__stderr__")
_SIGNALS = {"Barrier", "Condition", "Event", "Semaphore", "BoundedSemaphore"}


def outside(function: object) -> tuple[str, bool] | None:
    """Return what a call of this function does outside, and whether processes are spoilt, or None."""
    known = _tables(len(sys.modules))[0].get(id(function))
    return None if known is None or known[0] is not function else known[1]


def changes_first(function: object) -> bool:
    """Whether a call of this function changes its first argument."""
    return function is not None and _tables(len(sys.modules))[1].get(id(function)) is function


@lru_cache(maxsize=1)
def _tables(_: int) -> tuple[dict[int, tuple[object, tuple[str, bool]]], dict[int, object]]:
    """Return the functions of both lists, by identity; there are so many modules now."""
    found = {
        id(function): (function, words)
        for module, functions in _OUTSIDE.items()
        for name, words in functions.items()
        if (function := _loaded(module, name)) is not None
    }
    first = {
        id(function): function
        for module, names in _CHANGES_FIRST.items()
        for name in names.split()
        if (function := _loaded(module, name)) is not None
    }
    return found, first


def _loaded(module: str, name: str) -> object:
    return vars(sys.modules[module]).get(name) if module in sys.modules else None


def is_lock(value: object) -> bool:
    """Whether one task at a time can be inside a `with` of this."""
    name = type(value).__name__.lower()
    return name.endswith("lock") or name == "condition"


def is_iterator(value: object) -> bool:
    """Whether to iterate it uses it up."""
    kind = type(value)
    return (
        hasattr(kind, "__next__")
        or issubclass(kind, AsyncGeneratorType)
        or name_of(kind)[0] == "csv"
    )


def stateful(value: object) -> tuple[str, bool, bool] | None:
    """Return what a mere use of this object means: words, not on threads, not on processes; or None."""
    kind = type(value)
    module, name = name_of(kind)
    if kind is ContextVar:
        return (
            "reads the context variable {label}, which does not travel to another process",
            False,
            True,
        )
    if (module, name) == ("_thread", "_local"):
        return "uses {label}, which is another one in each thread", True, True
    if module == "sqlite3" and name in {"Connection", "Cursor"}:
        return "uses the one database connection {label}", True, True
    if module in {"queue", "_queue"} or (module.startswith("asyncio") and name.endswith("Queue")):
        return "uses the queue {label}, and every process would have its own", False, True
    if module in {"threading", "asyncio.locks"} and name in _SIGNALS:
        return "uses {label}, and every process would have its own", False, True
    return None


def moved(owner: object, method: str) -> str | None:
    """Return what a method of this object moves on (its place, its random numbers), or None."""
    kind = type(owner)
    if _is_stream(owner) and method in _FILE_METHODS:
        return "reads or writes {label}, which is open for all tasks"
    generator = any(name_of(each) in _GENERATORS for each in kind.__mro__)
    hidden = getattr(sys.modules.get("random"), "_inst", None)
    if generator and owner is not hidden and not method.startswith("_"):
        return "draws from the generator {label}, so its numbers depend on the order of the tasks"
    if method in {"__next__", "__anext__", "send", "throw", "asend"} and is_iterator(owner):
        return "takes from the iterator {label}, so what it gets depends on the order of the tasks"
    return None


def is_output(value: object) -> bool:
    """Whether it is where prints go: they are nobody's result."""
    return any(value is getattr(sys, name, None) for name in _OUTPUTS)


def _is_stream(value: object) -> bool:
    bases = {name_of(each) for each in type(value).__mro__}
    return not is_output(value) and bool(bases & _STREAMS)


def name_of(kind: type[Any]) -> tuple[str, str]:
    """Return a class's module and name."""
    module = kind.__dict__.get("__module__") or type.__dict__["__module__"].__get__(kind)
    return (module if isinstance(module, str) else "", kind.__name__)
