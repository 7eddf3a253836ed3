"""Plant hazards in functions, and see that each is found; and that innocent ones pass.

The tables are functions as people write them. What a row expects of an engine is None, or a word
that the reason has. Over 400 lines, since each row of the tables is a function.
"""
# ruff: noqa: PLW0603, B006 - bad habits are what is to be found

from __future__ import annotations

import asyncio
import collections
import contextlib
import csv
import decimal
import dis
import functools
import heapq
import io
import itertools
import json
import locale
import logging
import operator
import os
import pickle
import queue
import random
import signal
import sqlite3
import string
import sys
import textwrap
import threading
import time
import types
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._measure import hazards
from gearshift._measure.hazards import calls, hazards_of
from gearshift._measure.hazards.decode import handlers, instructions
from gearshift.plans import Hazards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTS: dict[Any, Any] = {}
GROUPS: dict[Any, list[Any]] = collections.defaultdict(list)
OUT: list[Any] = []
SEEN: set[Any] = set()
RECENT: collections.deque[Any] = collections.deque()
WORDS: collections.Counter[str] = collections.Counter()
HEAP: list[Any] = []
PAIR: tuple[dict[Any, Any], list[Any]] = ({}, [])
SETTINGS = {"scale": 3}
TOTAL = 0
CLIENT: Any = None
CACHE: dict[Any, Any] = {}
LOCK = threading.Lock()
ASYNC_LOCK = asyncio.Lock()
TICKETS = itertools.count()
LINES = io.StringIO("a\nb\n")
REQUEST: ContextVar[str] = ContextVar("request", default="")
LOCAL = threading.local()
JOBS: queue.Queue[Any] = queue.Queue()
DICE = random.Random(1)
LOG = logging.getLogger("test")
READY = threading.Event()
BOX = types.SimpleNamespace(total=0, parts=[])
PATTERN = string.Template("$a")


def adds_to_a_global(item: int) -> None:
    global TOTAL
    TOTAL += item


def sets_a_global(item: int) -> None:
    global TOTAL
    TOTAL = item


def deletes_a_global(item: int) -> None:
    global TOTAL
    del TOTAL


def counts(item: str) -> None:
    COUNTS[item] += 1


def reads_waits_writes(item: str) -> None:
    seen = COUNTS.get(item, 0)
    time.sleep(0)
    COUNTS[item] = seen + 1


def deletes_an_item(item: str) -> None:
    del COUNTS[item]


def appends(item: int) -> None:
    OUT.append(item)


def appends_by_another_name(item: int) -> None:
    add = OUT.append
    add(item)


def appends_through_a_local(item: int) -> None:
    out = None
    if item:
        out = OUT
    if out is None:
        out = []
    out.append(item)


def extends_in_place(item: list[int]) -> None:
    out = OUT
    out += item


def appends_to_a_group(item: str) -> None:
    GROUPS[item].append(item)


def appends_to_every_group(item: str) -> None:
    for group in GROUPS.values():
        group.append(item)


def appends_to_what_setdefault_gives(item: str) -> None:
    COUNTS.setdefault(item, []).append(item)


def appends_in_a_comprehension(item: list[int]) -> list[None]:
    return [OUT.append(each) for each in item]  # type: ignore[func-returns-value]


def appends_by_map(item: list[int]) -> None:
    list(map(OUT.append, item))


def appends_unbound(item: int) -> None:
    list.append(OUT, item)


def marks_as_seen(item: str) -> bool:
    if item in SEEN:
        return False
    SEEN.add(item)
    return True


def marks_in_a_dict(item: str) -> bool:
    if item in COUNTS:
        return False
    COUNTS[item] = True
    return True


def remembers_the_first(item: int) -> int:
    global CLIENT
    if CLIENT is None:
        CLIENT = item
    return item - CLIENT  # type: ignore[no-any-return]


def counts_words(item: str) -> None:
    WORDS.update(item.split())


def keeps_recent(item: str) -> None:
    RECENT.appendleft(item)


def pushes(item: int) -> None:
    heapq.heappush(HEAP, item)


def sets_by_operator(item: int) -> None:
    operator.setitem(COUNTS, item, 1)


def sets_attribute(item: int) -> None:
    BOX.total += item


def sets_attribute_by_name(item: int) -> None:
    setattr(BOX, "total", item)  # noqa: B010 - by name


def appends_to_an_attribute(item: int) -> None:
    BOX.parts.append(item)


def changes_part_of_a_tuple(item: int) -> None:
    mapping, _ = PAIR
    mapping[item] = 1


def appends_in_a_handler(item: str) -> None:
    try:
        int(item)
    except ValueError:
        OUT.append(item)


def appends_at_the_end(item: str) -> None:
    try:
        int(item)
    finally:
        OUT.append(item)


def appends_under_match(item: Any) -> None:
    match item:
        case {"name": name}:
            OUT.append(name)
        case _:
            pass


def keeps_in_its_default(item: int, seen: list[int] = []) -> int:
    seen.append(item)
    return len(seen)


def keeps_on_itself(item: int) -> None:
    keeps_on_itself.count = item  # type: ignore[attr-defined]


def sets_globals_by_name(item: int) -> None:
    globals()["TOTAL"] = item


def changes_what_a_function_returns(item: int) -> None:
    settings()["scale"] = item


def settings() -> dict[str, int]:
    return SETTINGS


@functools.lru_cache
def table() -> dict[str, int]:
    return {}


def changes_what_is_cached(item: int) -> None:
    table()["x"] = item


def counts_and_returns_generator(item: int) -> Iterator[int]:
    OUT.append(item)
    yield item


async def counts_in_coroutine(item: str) -> None:
    await asyncio.sleep(0)
    COUNTS[item] += 1


def takes_a_ticket(item: int) -> int:
    return next(TICKETS)


def loops_over_a_file(item: int) -> list[str]:
    return [line for line in LINES]  # noqa: C416 - the loop


def reads_a_line(item: int) -> str:
    return LINES.readline()


def writes_to_a_file(item: str) -> None:
    LINES.write(item)


def draws_from_dice(item: int) -> float:
    return DICE.random() * item


def chooses_from_dice(item: list[int]) -> int:
    return DICE.choice(item)


def uses_thread_local(item: int) -> None:
    LOCAL.value = item


def changes_what_or_gives(item: str) -> None:
    group = COUNTS.get(item) or {}
    group["seen"] = True


def changes_what_a_loop_left(item: list[int]) -> None:
    for _ in item:
        found = COUNTS
    found[0] = item


def changes_through_own_containers(item: str) -> None:
    mine = {"counts": [COUNTS]}
    mine["counts"][0][item] = 1


def increments_in_two_branches(item: str) -> None:
    if item in COUNTS:
        COUNTS[item] += 1
    else:
        COUNTS[item] = 1


def changes_its_class(item: int) -> None:
    type(BOX).total = item  # type: ignore[attr-defined]


def changes_its_dictionary(item: int) -> None:
    vars(BOX)["total"] = item
    BOX.__dict__["total"] = item


def starts_a_thread(item: int) -> None:
    def add() -> None:
        OUT.append(item)

    thread = threading.Thread(target=add)
    thread.start()
    thread.join()


def takes_some(item: int) -> list[int]:
    return list(itertools.islice(TICKETS, 2))


def unpacks_an_iterator(item: int) -> list[str]:
    return [*LINES]


def adds_in_an_inner_function(item: int) -> None:
    def add() -> None:
        global TOTAL
        TOTAL += item

    add()


def shuffles(item: int) -> None:
    random.shuffle(OUT)


def changes_directory(item: str) -> None:
    os.chdir(item)


def sets_environment(item: str) -> None:
    os.environ["NAME"] = item


def sets_environment_once(item: str) -> None:
    os.environ.setdefault("NAME", item)


def sets_signal(item: int) -> None:
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def sets_precision(item: int) -> decimal.Decimal:
    decimal.getcontext().prec = item
    return decimal.Decimal(1) / 3


def sets_locale(item: str) -> None:
    locale.setlocale(locale.LC_ALL, item)


def sets_recursion_limit(item: int) -> None:
    sys.setrecursionlimit(item)


def filters_warnings(item: int) -> None:
    warnings.simplefilter("ignore")


def changes_path(item: str) -> None:
    sys.path.insert(0, item)


def replaces_stdout(item: str) -> None:
    sys.stdout = io.StringIO()


SERIAL: list[tuple[Callable[..., Any], str]] = [
    (adds_to_a_global, "TOTAL"),
    (sets_a_global, "TOTAL"),
    (deletes_a_global, "TOTAL"),
    (counts, "COUNTS"),
    (reads_waits_writes, "COUNTS"),
    (deletes_an_item, "COUNTS"),
    (appends, "OUT"),
    (appends_by_another_name, "OUT"),
    (appends_through_a_local, "OUT"),
    (extends_in_place, "OUT"),
    (appends_to_a_group, "GROUPS"),
    (appends_to_every_group, "GROUPS"),
    (appends_to_what_setdefault_gives, "COUNTS"),
    (appends_in_a_comprehension, "OUT"),
    (appends_by_map, "OUT"),
    (appends_unbound, "OUT"),
    (marks_as_seen, "SEEN"),
    (marks_in_a_dict, "COUNTS"),
    (remembers_the_first, "CLIENT"),
    (counts_words, "WORDS"),
    (keeps_recent, "RECENT"),
    (pushes, "HEAP"),
    (sets_by_operator, "COUNTS"),
    (sets_attribute, "BOX.total"),
    (sets_attribute_by_name, "BOX"),
    (appends_to_an_attribute, "BOX.parts"),
    (changes_part_of_a_tuple, "PAIR"),
    (appends_in_a_handler, "OUT"),
    (appends_at_the_end, "OUT"),
    (appends_under_match, "OUT"),
    (keeps_in_its_default, "seen"),
    (keeps_on_itself, "count"),
    (sets_globals_by_name, "globals"),
    (changes_what_a_function_returns, "SETTINGS"),
    (changes_what_is_cached, "table"),
    (counts_and_returns_generator, "OUT"),
    (counts_in_coroutine, "COUNTS"),
    (takes_a_ticket, "TICKETS"),
    (loops_over_a_file, "LINES"),
    (reads_a_line, "LINES"),
    (writes_to_a_file, "LINES"),
    (draws_from_dice, "DICE"),
    (chooses_from_dice, "DICE"),
    (uses_thread_local, "LOCAL"),
    (changes_what_or_gives, "COUNTS"),
    (changes_what_a_loop_left, "COUNTS"),
    (changes_through_own_containers, "COUNTS"),
    (increments_in_two_branches, "COUNTS"),
    (changes_its_class, "total"),
    (changes_its_dictionary, "BOX"),
    (starts_a_thread, "OUT"),
    (takes_some, "TICKETS"),
    (unpacks_an_iterator, "LINES"),
    (adds_in_an_inner_function, "TOTAL"),
    (shuffles, "OUT"),
    (changes_directory, "directory"),
    (sets_environment, "environ"),
    (sets_environment_once, "environ"),
    (sets_signal, "signal"),
    (sets_precision, "decimal"),
    (sets_locale, "locale"),
    (sets_recursion_limit, "recursion"),
    (filters_warnings, "warnings"),
    (changes_path, "sys.path"),
    (replaces_stdout, "sys.stdout"),
    (OUT.append, "list"),
    (COUNTS.__setitem__, "dict"),
    (os.chdir, "directory"),
    (functools.partial(next, TICKETS), "iterator"),
    (functools.partial(keeps_in_its_default, seen=OUT), "seen"),
    (lambda item: OUT.append(item), "OUT"),  # noqa: PLW0108 - as people write it
]


@pytest.mark.parametrize(
    ("function", "word"), SERIAL, ids=lambda row: getattr(row, "__name__", None)
)
def test_hazard_of_every_engine_is_found(function: Callable[..., Any], word: str) -> None:
    found = hazards_of(function)
    assert word in (found.no_threads or "")
    assert word in (found.no_processes or "")


def counts_under_lock(item: str) -> None:
    with LOCK:
        COUNTS[item] = COUNTS.get(item, 0) + 1


def counts_between_acquire_and_release(item: str) -> None:
    LOCK.acquire()
    try:
        COUNTS[item] += 1
    finally:
        LOCK.release()


def counts_in_a_handler_under_lock(item: str) -> None:
    with LOCK:
        try:
            COUNTS[item] += 1
        except KeyError:
            COUNTS[item] = 1


def calls_under_lock(item: str) -> None:
    with LOCK:
        counts(item)


async def counts_under_asyncio_lock(item: str) -> None:
    async with ASYNC_LOCK:
        COUNTS[item] += 1


def puts_into_a_queue(item: int) -> None:
    JOBS.put(item)


def reads_context(item: int) -> str:
    return REQUEST.get()


def waits_for_event(item: int) -> None:
    READY.wait()


def changes_its_item(item: dict[str, int]) -> None:
    item["done"] = 1


def appends_to_its_item(item: list[int]) -> None:
    item.append(1)


def changes_part_of_its_item(item: list[dict[str, int]]) -> None:
    for row in item:
        row["done"] = 1


def sets_attribute_of_its_item(item: Any) -> None:
    item.done = True


def hands_its_item_on(item: dict[str, int]) -> None:
    changes_its_item(item)


NO_PROCESSES: list[tuple[Callable[..., Any], str]] = [
    (counts_under_lock, "LOCK"),
    (counts_between_acquire_and_release, "LOCK"),
    (counts_in_a_handler_under_lock, "COUNTS"),
    (calls_under_lock, "LOCK"),
    (counts_under_asyncio_lock, "ASYNC_LOCK"),
    (puts_into_a_queue, "JOBS"),
    (reads_context, "REQUEST"),
    (waits_for_event, "READY"),
    (changes_its_item, "item"),
    (appends_to_its_item, "item"),
    (changes_part_of_its_item, "item"),
    (sets_attribute_of_its_item, "item"),
    (hands_its_item_on, "item"),
    (list.sort, "item"),
]


@pytest.mark.parametrize(
    ("function", "word"), NO_PROCESSES, ids=lambda row: getattr(row, "__name__", None)
)
def test_hazard_of_processes_leaves_threads(function: Callable[..., Any], word: str) -> None:
    found = hazards_of(function)
    assert found.no_threads is None
    assert word in (found.no_processes or "")


def seeds_for_itself(item: int) -> float:
    random.seed(item)
    return random.random()


def swallows_output(item: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        print(item)
    return said.getvalue()


@pytest.mark.parametrize("function", [seeds_for_itself, swallows_output])
def test_what_is_put_right_again_leaves_processes(function: Callable[..., Any]) -> None:
    found = hazards_of(function)
    assert found.no_threads is not None
    assert found.no_processes is None


def fills_a_cache(item: int) -> int:
    if item not in CACHE:
        CACHE[item] = item * item
    return CACHE[item]  # type: ignore[no-any-return]


def fills_by_get(item: int) -> int:
    value = COUNTS.get(item)
    if value is None:
        value = COUNTS[item] = item * item
    return value


def fills_after_key_error(item: int) -> int:
    try:
        return COUNTS[item]  # type: ignore[no-any-return]
    except KeyError:
        value = COUNTS[item] = item * item
        return value


def fills_under_lock(item: int) -> int:
    with LOCK:
        if item not in COUNTS:
            COUNTS[item] = item * item
    return COUNTS[item]  # type: ignore[no-any-return]


def makes_a_client(item: str) -> Any:
    global CLIENT
    if CLIENT is None:
        CLIENT = dict(name="client")  # noqa: C408 - a call
    return CLIENT


def remembers(item: int) -> int:
    if item < 2:
        return item
    if len(CACHE) > 1000:
        CACHE.clear()
    CACHE[item] = remembers(item - 1) + remembers(item - 2)
    return CACHE[item]  # type: ignore[no-any-return]


def sets_default_in_a_cache(item: int) -> Any:
    return CACHE.setdefault(item, item * item)


@functools.lru_cache
def is_cached(item: int) -> int:
    return item * item


def counts_its_own(item: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in item.split():
        found[word] = found.get(word, 0) + 1
    return found


def copies_first(item: int) -> list[int]:
    out = list(OUT)
    out.append(item)
    return out


def copies_its_item(item: list[int]) -> list[int]:
    out = sorted(item)
    out.append(1)
    return out


def rebinds_a_local(item: int) -> list[int]:
    out = OUT
    out = []
    out.append(item)
    return out


def has_own_variable(item: list[int]) -> int:
    total = 0

    def add(each: int) -> None:
        nonlocal total
        total += each

    for each in item:
        add(each)
    return total


class Own:
    def __init__(self) -> None:
        self.total = 0
        self.parts: list[int] = []

    def add(self, item: int) -> None:
        self.total += item
        self.parts.append(item)

    def __call__(self, item: int) -> int:
        self.add(item)
        return self.total


def makes_its_own_object(item: int) -> int:
    own = Own()
    own.add(item)
    own.total += 1
    return own.total


def logs(item: int) -> None:
    LOG.warning("%s", item)
    logging.getLogger(__name__).info("done")


def prints(item: int) -> None:
    print(item)
    print(item, file=sys.stderr)
    sys.stdout.write("done")


def writes_its_own_file(item: str) -> None:
    with Path(item).open("w") as file:
        file.write(item)
        csv.writer(file).writerow([item])


def reads_settings(item: int) -> int:
    return item * SETTINGS["scale"] + sum(each for each in (1, 2))


def loops_over_a_list(item: int) -> list[Any]:
    return [each for each in OUT if each in COUNTS]


def draws(item: int) -> float:
    return random.random() + random.choice([1, 2])


def uses_own_dice(item: int) -> float:
    return random.Random(item).random()


def has_own_precision(item: int) -> decimal.Decimal:
    with decimal.localcontext() as context:
        context.prec = item
        return decimal.Decimal(1) / 3


def adds_to_its_number(item: int) -> int:
    item += 1
    return item


def takes_lines_apart(item: str) -> list[str]:
    name, _, value = item.partition(":")
    return [name.strip(), value.replace("a", "b"), json.dumps(value)]


def has_own_iterator(item: list[int]) -> int:
    lines = iter(item)
    return next(lines) + sum(lines)


def has_own_deque(item: list[int]) -> int:
    rest = collections.deque(item)
    while rest:
        rest.popleft()
    return len(rest)


def has_own_environment(item: str) -> dict[str, str]:
    environment = os.environ.copy()
    environment["NAME"] = item
    return environment


def formats(item: str) -> str:
    return PATTERN.substitute(a=textwrap.fill(item))


def keeps_keywords(item: int, **more: int) -> dict[str, int]:
    more["item"] = item
    return more


async def waits_only(item: int) -> int:
    await asyncio.sleep(0)
    return item


worker_client: gs.PerWorker[dict[str, int]] = gs.per_worker(dict)


def uses_worker_client(item: str) -> int:
    client = worker_client()
    client[item] = 1
    return len(client)


INNOCENT: list[Callable[..., Any]] = [
    fills_a_cache,
    fills_by_get,
    fills_after_key_error,
    fills_under_lock,
    makes_a_client,
    remembers,
    sets_default_in_a_cache,
    is_cached,
    counts_its_own,
    copies_first,
    copies_its_item,
    rebinds_a_local,
    has_own_variable,
    makes_its_own_object,
    logs,
    prints,
    writes_its_own_file,
    reads_settings,
    loops_over_a_list,
    draws,
    uses_own_dice,
    has_own_precision,
    adds_to_its_number,
    takes_lines_apart,
    has_own_iterator,
    has_own_deque,
    has_own_environment,
    formats,
    keeps_keywords,
    waits_only,
    uses_worker_client,
    lambda item: item + 1,
    len,
    str.upper,
    "a".join,
    pow,
    json.loads,
    operator.itemgetter(0),
    functools.partial(pow, 2),
    Path.exists,
    Own,
    dict,
    pickle.dumps,
]


@pytest.mark.parametrize("function", INNOCENT, ids=lambda row: getattr(row, "__name__", None))
def test_innocent_function_may_run_anywhere(function: Callable[..., Any]) -> None:
    assert hazards_of(function) == Hazards()


def deep_1(item: str) -> None:
    deep_2(item)


def deep_2(item: str) -> None:
    deep_3(item)


def deep_3(item: str) -> None:
    counts(item)


def is_even(item: int) -> bool:
    return item == 0 or is_odd(item - 1)


def is_odd(item: int) -> bool:
    OUT.append(item)
    return item != 0 and is_even(item - 1)


def test_calls_are_followed_three_deep_and_no_further() -> None:
    assert "counts() changes the global COUNTS" in (hazards_of(deep_1).no_threads or "")
    assert hazards_of(lambda item: deep_1(item)) == Hazards()  # noqa: PLW0108 - one more call


def test_recursion_ends() -> None:
    assert "OUT" in (hazards_of(is_even).no_threads or "")


def test_bound_method_and_instance_share_their_object() -> None:
    assert "self.total" in (hazards_of(Own().add).no_threads or "")
    assert "self.total" in (hazards_of(Own()).no_threads or "")


class Account:
    balance = 0
    known: list[int] = []  # noqa: RUF012 - shared by mistake

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rate: float | None = None
        self.done = 0

    @classmethod
    def pay(cls, item: int) -> None:
        cls.balance += item

    @staticmethod
    def note(item: int) -> None:
        OUT.append(item)

    def remember(self, item: int) -> None:
        self.known.append(item)

    def safely(self, item: int) -> None:
        with self._lock:
            self.done += item

    def rate(self, item: int) -> float:
        if self._rate is None:
            self._rate = len("rate") / 2
        return self._rate * item


class Savings(Account):
    def remember(self, item: int) -> None:
        super().remember(item)


@pytest.mark.parametrize(
    ("function", "word"),
    [
        (Account.pay, "balance"),
        (Account.note, "OUT"),
        (Account().remember, "known"),
        (Savings().remember, "known"),
        (functools.partial(Account.pay), "balance"),
        (functools.wraps(counts)(lambda *args: counts(*args)), "COUNTS"),  # noqa: PLW0108
        (functools.lru_cache(counts), "COUNTS"),
        (contextlib.contextmanager(counts_and_returns_generator), "OUT"),
    ],
    ids=[
        "classmethod",
        "staticmethod",
        "method",
        "super",
        "partial",
        "wraps",
        "lru_cache",
        "context",
    ],
)
def test_wrapped_function_is_looked_into(function: Callable[..., Any], word: str) -> None:
    assert word in (hazards_of(function).no_threads or "")


def test_lock_of_the_object_is_a_lock() -> None:
    found = hazards_of(Account().safely)
    assert found.no_threads is None
    assert found.no_processes is not None


def test_lazily_made_attribute_is_a_cache() -> None:
    assert hazards_of(Account().rate) == Hazards()


def test_closure_is_looked_into() -> None:
    total, parts, lines = 0, [], iter("ab")

    def add(item: int) -> None:
        nonlocal total
        total += item

    def append(item: int) -> None:
        parts.append(item)

    assert "total" in (hazards_of(add).no_threads or "")
    assert "parts" in (hazards_of(append).no_threads or "")
    assert "lines" in (hazards_of(lambda item: (item, next(lines))).no_threads or "")


def test_arrays_and_generators_of_numpy_are_shared() -> None:
    numpy: Any = pytest.importorskip("numpy")
    array, dice = numpy.zeros(3), numpy.random.default_rng(1)

    def increment(item: int) -> None:
        array[item] += 1

    def copy(item: int) -> None:
        numpy.copyto(array, item)

    def add(item: int) -> None:
        numpy.add(item, 1, out=array)

    for change in (increment, copy, add, lambda item: (array.fill(item), item)):
        assert "array" in (hazards_of(change).no_threads or "")
    assert "dice" in (hazards_of(lambda item: dice.random() * item).no_processes or "")
    assert hazards_of(lambda item: numpy.sort(array) + item) == Hazards()
    seeded = hazards_of(lambda item: numpy.random.seed(item))  # noqa: PLW0108
    assert seeded.no_threads is not None
    assert seeded.no_processes is None


def test_database_connection_is_serial() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        found = hazards_of(lambda item: database.execute("select ?", [item]).fetchone())
    assert "database" in (found.no_threads or "")
    assert "database" in (found.no_processes or "")


def test_file_open_for_all_tasks_is_serial(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        assert "log" in (hazards_of(lambda item: log.write(item)).no_threads or "")  # noqa: PLW0108


def test_global_bound_anew_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hazards_of(reads_settings) == Hazards()
    monkeypatch.setitem(globals(), "SETTINGS", LOCAL)
    assert "SETTINGS" in (hazards_of(reads_settings).no_threads or "")
    monkeypatch.setitem(globals(), "LOCK", contextlib.nullcontext())
    assert hazards_of(counts_under_lock).no_threads is not None


class _Broken:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("class")

    def __call__(self, item: int) -> None:
        OUT.append(item)

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("eq")

    __hash__ = None  # type: ignore[assignment]


def test_broken_objects_do_no_harm() -> None:
    broken: Any = _Broken()
    assert "OUT" in (hazards_of(broken).no_threads or "")
    assert hazards_of(lambda item: (broken.name, broken[item], item)) == Hazards()


def test_properties_are_not_run() -> None:
    class Lazy:
        @property
        def value(self) -> int:
            raise AssertionError("was run")

    lazy = Lazy()
    assert hazards_of(lambda item: lazy.value + item) == Hazards()


@pytest.mark.parametrize("function", [None, 3, object(), "text", print, type, object, property()])
def test_anything_may_be_asked(function: Any) -> None:
    assert isinstance(hazards_of(function), Hazards)


@pytest.mark.parametrize("module", [asyncio, collections, csv, decimal, logging, threading, types])
def test_every_function_of_a_module_can_be_read(module: types.ModuleType) -> None:
    for value in vars(module).values():
        members = list(vars(value).values()) if isinstance(value, type) else []
        for function in (value, *members):
            assert "could not be checked" not in str(hazards_of(function))


def test_failed_check_is_a_reason_for_caution(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(code: types.CodeType) -> None:
        raise KeyError("bytecode")

    monkeypatch.setattr(hazards, "effects_of", fail)
    found = hazards_of(reads_settings)
    assert "could not be checked (KeyError" in (found.no_threads or "")
    assert "could not be checked (KeyError" in (found.no_processes or "")


def test_sentence_names_function_and_place() -> None:
    found = hazards_of(counts)
    assert found.no_threads == "counts() changes the global COUNTS without a lock"


def test_author_overrules_the_check() -> None:
    vouched = gs.task(threads=True)(functools.wraps(counts)(lambda item: counts(item)))  # noqa: PLW0108
    found = hazards_of(vouched)
    assert found.no_threads is None
    assert found.no_processes is not None


def test_author_forbids() -> None:
    @gs.task(processes=False, reason="one licence")
    def licensed(item: int) -> int:
        return item

    for function in (licensed, functools.partial(licensed), lambda item: licensed(item)):  # noqa: PLW0108
        found = hazards_of(function)
        assert found.no_threads is None
        assert "one licence" in (found.no_processes or "")


def test_author_may_mark_a_class() -> None:
    @gs.task(threads=False, reason="not safe")
    class Model:
        def __call__(self, item: int) -> int:
            return item

    assert "not safe" in (hazards_of(Model()).no_threads or "")
    assert hazards_of(Model()).no_processes is None


@gs.task(threads=True)
def marked(item: int) -> int:
    return item


def test_marked_function_is_the_same_and_pickles() -> None:
    def plain(item: int) -> int:
        return item

    assert gs.task(processes=True)(plain) is plain
    assert pickle.loads(pickle.dumps(marked)) is marked


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, ValueError, "threads=None and processes=None"),
        ({"threads": 1}, TypeError, "threads=1"),
        ({"processes": "no"}, TypeError, "processes='no'"),
        ({"processes": False}, ValueError, "reason=''"),
        ({"threads": False, "reason": " "}, ValueError, "reason=' '"),
        ({"threads": True, "reason": 3}, TypeError, "reason=3"),
    ],
)
def test_nonsense_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        gs.task(**options)


@pytest.mark.parametrize("function", [3, len, Own().add])
def test_what_cannot_be_marked_is_refused(function: Any) -> None:
    with pytest.raises(TypeError, match="function="):
        gs.task(threads=True)(function)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield from _codes(each)


# What `dis` words otherwise: operators, and what is not decoded by it (3.11).
_WORDED = {"BINARY_OP", "CALL_INTRINSIC_1", "CALL_INTRINSIC_2", "COMPARE_OP", "CONTAINS_OP"} | {
    "CONVERT_VALUE",
    "FORMAT_VALUE",
    "IS_OP",
    "KW_NAMES",
    "LOAD_COMMON_CONSTANT",
    "LOAD_SPECIAL",
    "MAKE_FUNCTION",
    "SET_FUNCTION_ATTRIBUTE",
}


@pytest.mark.parametrize(
    "module", [asyncio.base_events, contextlib, json.decoder, string, textwrap]
)
def test_instructions_are_those_of_dis(module: types.ModuleType) -> None:
    source = Path(str(module.__file__)).read_text()
    for code in _codes(compile(source, "source", "exec")):
        listed = [each for each in dis.get_instructions(code) if each.opname != "EXTENDED_ARG"]
        found = list(instructions(code))
        assert [each[:4] for each in found] == [
            (each.offset, each.opname, each.opcode, each.arg) for each in listed
        ]
        for one, other in zip(found, listed, strict=True):
            assert one.value == other.argval or one.name in _WORDED
        entries: Any = dis.Bytecode(code)
        assert [each[:3] for each in handlers(code)] == [
            (each.start, each.target, each.depth) for each in entries.exception_entries
        ]


def test_own_data_of_the_standard_library_is_its_own_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import shutil

    assert hazards_of(shutil.copy) == Hazards()
    monkeypatch.setattr(calls, "is_of_library", lambda function: False)
    assert hazards_of(shutil.copy) != Hazards()


def test_own_data_of_an_installed_package_is_its_own_business(tmp_path: Path) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "installed_for_test.py").write_text(
        "count = 0\n"
        "def changes(item):\n"
        "    global count\n"
        "    count += 1\n"
        "    return item\n"
        "def calls(item):\n"
        "    return changes(item)\n"
        "def makes():\n"
        "    names = []\n"
        "    def notes(item):\n"
        "        names.append(item)\n"
        "        return item\n"
        "    return notes\n"
        "notes = makes()\n"
    )
    sys.path.insert(0, str(folder))
    try:
        import installed_for_test as installed  # type: ignore[import-not-found]

        assert hazards_of(lambda item: (installed.changes(item),)) == Hazards()
        assert hazards_of(lambda item: (installed.notes(item),)) == Hazards()
        assert hazards_of(installed.calls).no_threads  # looked at itself
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("installed_for_test", None)
