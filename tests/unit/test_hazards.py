"""The check of a function's code: planted hazards are found, innocent code is left alone."""

from __future__ import annotations

import collections
import contextvars
import decimal
import functools
import heapq
import io
import itertools
import json
import logging
import os
import pickle
import queue
import random
import sqlite3
import threading
import warnings
from importlib import import_module
from inspect import isfunction
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._measure.hazards import hazards_of
from gearshift.plans import Hazards

if TYPE_CHECKING:
    from collections.abc import Callable

count = 0
seen: list[Any] = []
counts: dict[Any, Any] = {}
tally: collections.Counter[Any] = collections.Counter()
heap: list[int] = []
cache: dict[Any, Any] = {}
squares: dict[int, int] = {}
lazy: Any = None
lock = threading.Lock()
rlock = threading.RLock()
variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
local = threading.local()
numbers = itertools.count()
generator = random.Random(1)
jobs: queue.Queue[int] = queue.Queue()
file = io.StringIO()
log = logging.getLogger(__name__)
SCALE = 3


class Box:
    total = 0

    def __init__(self) -> None:
        self.n = 0
        self.seen: list[Any] = []
        self._table: dict[int, int] | None = None

    def add(self, item: int) -> None:
        self.n += item

    def note(self, item: int) -> None:
        self.seen.append(item)

    def outer(self, item: int) -> None:
        self.note(item)

    def __call__(self, item: int) -> None:
        self.n = item

    def table(self, item: int) -> int:
        if self._table is None:
            self._table = {number: number for number in range(10)}
        return self._table[item]

    def read(self, item: int) -> int:
        return self.n * item


def counts_globally(item: int) -> None:
    global count  # noqa: PLW0603 - the point
    count += item


def appends(item: int) -> None:
    seen.append(item)


def aliases(item: int) -> None:
    mine = seen
    mine.append(item)


def extends_in_place(item: int) -> None:
    mine = seen
    mine += [item]


def stores(item: int) -> None:
    counts[item] = counts.get(item, 0) + 1


def deletes(item: int) -> None:
    del counts[item]


def updates(item: int) -> None:
    tally.update([item])


def changes_inside(item: int) -> None:
    counts.setdefault(item, []).append(item)


def changes_what_lies_in(item: int) -> None:
    counts[item].append(item)


def iterates_and_changes(_item: int) -> None:
    for each in seen:
        each.append(1)


def pushes(item: int) -> None:
    heapq.heappush(heap, item)


def first(item: int) -> None:
    second(item)


def second(item: int) -> None:
    third(item)


def third(item: int) -> None:
    seen.append(item)


def keeps(item: int, kept: list[int] = []) -> None:  # noqa: B006 - the point
    kept.append(item)


def sets_class(item: int) -> None:
    Box.total = item


def sets_on_itself(item: int) -> None:
    sets_on_itself.last = item  # type: ignore[attr-defined]


def passes_on(item: int) -> None:
    appends_to(seen, item)


def appends_to(there: list[int], item: int) -> None:
    there.append(item)


def within(item: int) -> None:
    def inner() -> None:
        seen.append(item)

    inner()


def takes_next(_item: int) -> int:
    return next(numbers)


def loops_over(_item: int) -> list[int]:
    return list(itertools.islice(numbers, 2))


def writes_file(item: int) -> None:
    file.write(str(item))


def own_data(_item: int) -> Any:
    return local.value


def draws_from(_item: int) -> float:
    return generator.random()


def makes_nonlocal() -> Callable[[int], int]:
    total = 0

    def add(item: int) -> int:
        nonlocal total
        total += item
        return total

    return add


def makes_connected() -> Callable[[int], Any]:
    connection = sqlite3.connect(":memory:")

    def query(item: int) -> Any:
        return connection.execute("select ?", (item,)).fetchone()

    query.close = connection.close  # type: ignore[attr-defined]
    return query


def changes_folder(_item: int) -> None:
    os.chdir("/")


def sets_environment(item: int) -> None:
    os.environ["ITEM"] = str(item)


def sets_precision(item: int) -> None:
    decimal.getcontext().prec = item


def filters_warnings(_item: int) -> None:
    warnings.simplefilter("ignore")


def decorated() -> Callable[[int], int]:
    calls: list[int] = []

    def counted(fn: Callable[[int], int]) -> Callable[[int], int]:
        @functools.wraps(fn)
        def wrapper(item: int) -> int:
            calls.append(item)
            return fn(item)

        return wrapper

    return counted(identity)


async def awaits_and_counts(item: int) -> None:
    seen.append(item)


def identity(item: int) -> int:
    return item


BOTH = {
    "adds to a global": counts_globally,
    "appends to a global list": appends,
    "appends by another name": aliases,
    "extends in place": extends_in_place,
    "stores into a global dict": stores,
    "deletes from a global dict": deletes,
    "updates a Counter": updates,
    "changes what setdefault gives": changes_inside,
    "changes what lies in a dict": changes_what_lies_in,
    "changes what it iterates over": iterates_and_changes,
    "pushes on a heap": pushes,
    "three calls deep": first,
    "a default that is changed": keeps,
    "a class attribute": sets_class,
    "an attribute of the function": sets_on_itself,
    "a list that it passes on": passes_on,
    "a function inside": within,
    "a lambda": lambda item: seen.append((item,)),
    "a partial": functools.partial(appends_to, seen),
    "a method": Box().add,
    "a method that changes a list": Box().note,
    "a method that calls another": Box().outer,
    "an object that can be called": Box(),
    "a decorator that counts": decorated(),
    "a cache around a hazard": functools.lru_cache(appends),
    "a coroutine function": awaits_and_counts,
    "the next of an iterator": takes_next,
    "items of an iterator": loops_over,
    "a file": writes_file,
    "a thread's own data": own_data,
    "a generator of random numbers": draws_from,
    "a nonlocal": makes_nonlocal(),
    "the current folder": changes_folder,
    "the environment": sets_environment,
    "the decimal context": sets_precision,
    "the filters of warnings": filters_warnings,
}


def under_lock(item: int) -> None:
    with lock:
        counts[item] = 1


def under_acquired_lock(item: int) -> None:
    rlock.acquire()
    try:
        counts[item] = 1
    finally:
        rlock.release()


def calls_under_lock(item: int) -> None:
    with lock:
        appends(item)


def changes_list(item: list[int]) -> None:
    item.append(1)


def changes_dict(item: dict[str, int]) -> None:
    item["a"] = 1


def changes_part(item: Any) -> None:
    item.parts[0].name = "a"


def reads_variable(_item: int) -> int:
    return variable.get()


def puts(item: int) -> None:
    jobs.put(item)


PROCESSES_ONLY = {
    "under a lock": under_lock,
    "under a lock that was acquired": under_acquired_lock,
    "calls another under a lock": calls_under_lock,
    "changes its item, a list": changes_list,
    "changes its item, a dict": changes_dict,
    "changes a part of its item": changes_part,
    "reads a context variable": reads_variable,
    "puts into a queue": puts,
}


def after_the_lock(item: int) -> None:
    with lock:
        counts.get(item)
    seen.append(item)


def seeds(item: int) -> float:
    random.seed(item)
    return random.random()


def fills_cache(item: int) -> Any:
    if item not in squares:
        squares[item] = item * item
    return squares[item]


def fills_after_key_error(item: int) -> int:
    try:
        return squares[item]
    except KeyError:
        squares[item] = item * item
        return item * item


def fills_after_get(item: int) -> Any:
    known = squares.get(item)
    if known is None:
        known = squares[item] = item * item
    return known


def fills_lazily(item: int) -> Any:
    global lazy  # noqa: PLW0603 - the point
    if lazy is None:
        lazy = {}
    return lazy.get(item)


def fills_what_is_called_cache(item: int) -> None:
    cache[item] = item


def builds(item: int) -> list[int]:
    made: list[int] = []
    for number in range(item):
        made.append(number + len(made))
    table = {}
    table[item] = made
    table.setdefault(item, []).append(1)
    box = Box()
    box.n = item
    box.seen.append(item)
    return made


def factors(number: int) -> list[int]:
    found = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return found


def logs(item: int) -> None:
    log.info("item %s", item)
    print(item)


def reads_globals(item: int) -> int:
    known: int = counts.get(item, 0)
    return SCALE * item + len(seen) + known


def opens(item: str) -> str:
    with open(item) as opened:  # noqa: PTH123
        return opened.read()


def parses(text: str) -> Any:
    return json.loads(json.dumps(text))


def own_connection(item: int) -> Any:
    connection = sqlite3.connect(":memory:")
    try:
        return connection.execute("select ?", (item,)).fetchone()
    finally:
        connection.close()


def own_generator(item: int) -> float:
    return random.Random(item).random()


def draws(_item: int) -> float:
    return random.random()


def comprehends(item: int) -> dict[int, list[int]]:
    return {each: [each for _ in range(item)] for each in range(item)}


def closes_over(item: int) -> int:
    total = 0

    def add(more: int) -> None:
        nonlocal total
        total += more

    for number in range(item):
        add(number)
    return total


def recurses(item: int) -> int:
    return 1 if item < 2 else item * recurses(item - 1)


def returns_method(item: str) -> str:
    return item.upper().strip().replace("a", "b")


INNOCENT = {
    "fills a cache": fills_cache,
    "fills a cache after a KeyError": fills_after_key_error,
    "fills a cache after get": fills_after_get,
    "fills a global once": fills_lazily,
    "fills what is called a cache": fills_what_is_called_cache,
    "fills an attribute once": Box().table,
    "builds objects of its own": builds,
    "changes its own number": factors,
    "logs and prints": logs,
    "reads globals": reads_globals,
    "reads its object": Box().read,
    "opens a file": opens,
    "calls a library": parses,
    "connects by itself": own_connection,
    "has a generator of its own": own_generator,
    "draws random numbers": draws,
    "comprehensions": comprehends,
    "a nonlocal of its own call": closes_over,
    "recursion": recurses,
    "methods of text": returns_method,
    "a cached function": functools.lru_cache(identity),
    "a built-in": len,
    "a class": Box,
    "a C function": pickle.dumps,
    "a partial": functools.partial(pow, 2),
    "a method of a string": "a".join,
    "a lambda": lambda item: item * SCALE,
}


@pytest.mark.parametrize("function", BOTH.values(), ids=list(BOTH))
def test_hazard_keeps_a_function_serial(function: Any) -> None:
    hazards = hazards_of(function)
    assert hazards.no_threads
    assert hazards.no_processes


@pytest.mark.parametrize("function", PROCESSES_ONLY.values(), ids=list(PROCESSES_ONLY))
def test_hazard_keeps_a_function_off_processes(function: Any) -> None:
    hazards = hazards_of(function)
    assert hazards.no_threads is None
    assert hazards.no_processes


@pytest.mark.parametrize("function", INNOCENT.values(), ids=list(INNOCENT))
def test_innocent_function_is_left_alone(function: Any) -> None:
    assert hazards_of(function) == Hazards()


def test_lock_protects_its_body_only() -> None:
    assert hazards_of(after_the_lock).no_threads


def test_seed_is_each_task_s_own_in_a_process() -> None:
    hazards = hazards_of(seeds)
    assert hazards.no_threads
    assert hazards.no_processes is None


def test_database_connection_of_a_closure_is_for_one_thread() -> None:
    query = makes_connected()
    assert "database connection" in (hazards_of(query).no_threads or "")
    query.close()  # type: ignore[attr-defined]


def test_words_name_what_is_changed() -> None:
    assert hazards_of(appends).no_threads == "appends changes the global seen without a lock"
    assert "which other processes would not see" in (hazards_of(under_lock).no_processes or "")
    assert hazards_of(changes_list).no_processes == "it changes the item that it is given"
    assert "context variable variable" in (hazards_of(reads_variable).no_processes or "")


def test_sum_in_place_changes_an_item_only_if_that_can_be_changed() -> None:
    def adds(item: Any) -> Any:
        item += item
        return item

    assert hazards_of(adds, 5).no_processes is None
    assert hazards_of(adds, [5]).no_processes


def test_global_that_is_set_anew_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hazards_of(appends).no_threads
    monkeypatch.setattr(f"{__name__}.seen", io.BytesIO(), raising=True)
    assert hazards_of(appends).no_threads  # an iterator now
    monkeypatch.setattr(f"{__name__}.seen", None, raising=True)


class Broken:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, item: int) -> int:
        return item


broken = Broken()


@pytest.mark.parametrize(
    "function",
    [broken, lambda item: broken.x(item, broken), None, 5],
    ids=["object", "function", "none", "number"],
)
def test_objects_that_raise_are_no_hazard_and_no_error(function: Any) -> None:
    assert hazards_of(function) == Hazards()


# gs.task


def test_author_forbids_an_engine() -> None:
    drawn = gs.task(processes=False, reason="it draws")(lambda item: item)
    assert hazards_of(drawn).no_processes == "it draws"
    assert hazards_of(drawn).no_threads is None
    assert hazards_of(functools.partial(drawn)).no_processes == "it draws"


def test_author_vouches_for_an_engine() -> None:
    vouched = gs.task(threads=True)(functools.partial(appends).func)
    try:
        assert hazards_of(vouched).no_threads is None
        assert hazards_of(vouched).no_processes
    finally:
        del vouched.__gearshift_task__  # type: ignore[attr-defined]


def test_decorated_function_is_the_very_same() -> None:
    def plain(item: int) -> int:
        return item

    assert gs.task(threads=True, processes=True)(plain) is plain


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({}, ValueError, "says nothing"),
        ({"processes": False}, ValueError, "without a reason"),
        ({"threads": False, "reason": " "}, ValueError, "without a reason"),
        ({"threads": 1}, TypeError, "threads=1"),
        ({"processes": "no"}, TypeError, "processes='no'"),
        ({"threads": True, "reason": 3}, TypeError, "reason=3"),
    ],
)
def test_task_refuses_nonsense(options: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        gs.task(**options)


def test_task_refuses_what_is_no_function() -> None:
    with pytest.raises(TypeError, match="for functions"):
        gs.task(threads=True)(5)  # type: ignore[type-var]


LIBRARY = """
    ast base64 bisect calendar cmd code codecs colorsys configparser copy csv datetime difflib dis email.utils
    fnmatch fractions gettext glob gzip hashlib heapq html imghdr inspect ipaddress json keyword linecache
    mimetypes ntpath numbers opcode operator os.path pathlib pickletools plistlib posixpath pprint quopri
    random re reprlib secrets shlex shutil socket stat statistics string struct tempfile textwrap tokenize
    traceback types unicodedata urllib.parse uuid warnings zipfile
"""


@pytest.mark.slow
def test_library_raises_few_false_alarms() -> None:
    looked_at = alarms = 0
    for name in LIBRARY.split():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                module = import_module(name)
            except ImportError:
                continue
        for public, function in vars(module).items():
            if isfunction(function) and not public.startswith("_") and function.__module__ == name:
                looked_at += 1
                alarms += hazards_of(function).no_threads is not None
    assert looked_at > 400
    assert alarms < 0.1 * looked_at
