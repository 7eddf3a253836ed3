"""What a choice may never change: every known hazard, computing and waiting, gives what serial gives.

Each row makes a function with state of its own and a way to read that state. It is run serially and by
auto over items that would pay off on another engine; values and state have to be equal. Functions are
made by name in fresh modules, since the check looks at globals, too.
"""

from __future__ import annotations

import os
import sys
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Iterator

# What takes the time: the first is tempting for processes, the second for threads.
WORK = {
    "computing": "sum(step * step % 7 for step in range(15_000))",
    "waiting": "time.sleep(0.003)",
    "nothing": "pass",
}
ITEMS = {"computing": 200, "waiting": 60}

HEAD = """
import collections, contextvars, decimal, functools, itertools, os, random, sqlite3, threading, time

def work():
    {work}

def state():
    return None

def items(count):
    return list(range(count))
"""

# name: source of `task(item)`, and of `state()` where there is something to read
HAZARDS = {
    "a global counter": """
        count = 0
        def task(item):
            global count
            before = count
            work()
            count = before + item
            return count
        def state(): return count
    """,
    "a global counter, added to at once": """
        count = 0
        def task(item):
            global count
            work()
            count += item
            return item
        def state(): return count
    """,
    "a list in a global": """
        seen = []
        def task(item):
            work()
            seen.append(item)
            return len(seen)
        def state(): return seen
    """,
    "a dict in a global": """
        counts = {}
        def task(item):
            before = counts.get(item % 3, 0)
            work()
            counts[item % 3] = before + 1
            return before
        def state(): return counts
    """,
    "a Counter that is updated": """
        counts = collections.Counter()
        def task(item):
            work()
            counts.update([item % 3])
            return item
        def state(): return dict(counts)
    """,
    "a nonlocal": """
        def make():
            total = 0
            def task(item):
                nonlocal total
                before = total
                work()
                total = before + item
                return total
            return task, lambda: total
        task, state = make()
    """,
    "an attribute of the object": """
        class Adder:
            def __init__(self): self.total = 0
            def __call__(self, item):
                before = self.total
                work()
                self.total = before + item
                return self.total
        adder = Adder()
        task = adder
        def state(): return adder.total
    """,
    "a method that changes its object": """
        class Adder:
            def __init__(self): self.seen = []
            def add(self, item):
                work()
                self.seen.append(item)
                return len(self.seen)
        adder = Adder()
        task = adder.add
        def state(): return adder.seen
    """,
    "an attribute of a class": """
        class Box: total = 0
        def task(item):
            before = Box.total
            work()
            Box.total = before + item
            return before
        def state(): return Box.total
    """,
    "a default that is changed": """
        def task(item, seen=[]):
            work()
            seen.append(item)
            return len(seen)
        def state(): return task.__defaults__[0]
    """,
    "three calls deep": """
        count = 0
        def third(item):
            global count
            before = count
            work()
            count = before + item
            return before
        def second(item): return third(item)
        def first(item): return second(item)
        def task(item): return first(item)
        def state(): return count
    """,
    "behind a partial": """
        seen = []
        def note(log, item):
            work()
            log.append(item)
            return len(log)
        task = functools.partial(note, seen)
        def state(): return seen
    """,
    "behind a decorator": """
        calls = []
        def counted(fn):
            @functools.wraps(fn)
            def wrapper(item):
                calls.append(item)
                return fn(item)
            return wrapper
        @counted
        def task(item):
            work()
            return len(calls)
        def state(): return calls
    """,
    "an iterator": """
        numbers = itertools.count()
        def task(item):
            work()
            return next(numbers)
        def state(): return next(numbers)
    """,
    "a generator in a closure": """
        def make():
            source = (number * number for number in range(10_000))
            def task(item):
                work()
                return next(source) + item
            return task
        task = make()
    """,
    "an item that is changed": """
        def items(count): return [[number] for number in range(count)]
        def task(item):
            work()
            item.append(len(item))
            return sum(item)
    """,
    "a context variable": """
        variable = contextvars.ContextVar("variable", default=1)
        variable.set(7)
        def task(item):
            work()
            return variable.get() * item
    """,
    "a context variable, two calls deep": """
        variable = contextvars.ContextVar("variable", default=1)
        variable.set(7)
        def inner(item): return variable.get() * item
        def task(item):
            work()
            return inner(item)
    """,
    "a thread's own data": """
        local = threading.local()
        local.scale = 5
        def task(item):
            work()
            return local.scale * item
    """,
    "the current folder": """
        def task(item):
            os.chdir("/" if item % 2 else "/tmp")
            work()
            return os.getcwd()
    """,
    "the environment": """
        def task(item):
            os.environ["GEARSHIFT_TEST"] = str(item)
            work()
            return os.environ["GEARSHIFT_TEST"]
        def state(): return os.environ.pop("GEARSHIFT_TEST")
    """,
    "a seed": """
        def task(item):
            random.seed(item)
            work()
            return random.random()
    """,
    "the decimal context": """
        def task(item):
            decimal.getcontext().prec = 5 + item % 20
            work()
            return str(decimal.Decimal(1) / 3)
    """,
    "a database connection": """
        connection = sqlite3.connect(":memory:")
        connection.execute("create table numbers (number)")
        def task(item):
            work()
            connection.execute("insert into numbers values (?)", (item,))
            return connection.execute("select count(*) from numbers").fetchone()[0]
    """,
    "a counter under a lock": """
        lock = threading.Lock()
        count = 0
        def task(item):
            global count
            work()
            with lock:
                count += item
            return item
        def state(): return count
    """,
    "a file that is written": """
        file = open(os.devnull, "w")
        def task(item):
            work()
            file.write(f"{item}\\\\n")
            return file.tell() > 0
        def state():
            position = file.tell()
            file.close()
            return position
    """,
    "a value that cannot be pickled": """
        def task(item):
            work()
            return (item, threading.Lock())[0:1] if item < 0 else item
    """,
    "data of the module that was set": """
        scale = 1
        def task(item):
            work()
            return item * scale
        scale = 10
    """,
    "a cache that is filled": """
        cache = {}
        def square(item):
            if item not in cache:
                cache[item] = item * item
            return cache[item]
        def task(item):
            work()
            return square(item % 5)
    """,
    "functools.cache": """
        @functools.cache
        def square(item): return item * item
        def task(item):
            work()
            return square(item % 5)
    """,
}


@pytest.fixture(autouse=True)
def _same_folder() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


def module_of(source: str, work: str) -> types.ModuleType:
    """Return a module with the functions of a row."""
    made = types.ModuleType("hazardous")
    sys.modules["hazardous"] = made
    exec(  # noqa: S102 - each row has globals of its own
        HEAD.format(work=work) + textwrap.dedent(source), made.__dict__
    )
    return made


def outcome(source: str, kind: str, on: str, count: int) -> tuple[list[Any], Any, list[Any], str]:
    """Return values, state and items afterwards, and the engine."""
    made: Any = module_of(source, WORK[kind])
    items = made.items(count)
    with gs.map(made.task, items, on=on) as run:
        values = list(run)
    return values, made.state(), items, run.report.engine


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["computing", "waiting"])
@pytest.mark.parametrize("source", HAZARDS.values(), ids=list(HAZARDS))
def test_auto_gives_what_serial_gives(source: str, kind: str) -> None:
    try:
        expected = outcome(source, "nothing", "serial", ITEMS[kind])  # the same, but sooner
        found = outcome(source, kind, "auto", ITEMS[kind])
    finally:
        sys.modules.pop("hazardous", None)
    assert found[:3] == expected[:3], found[3]
