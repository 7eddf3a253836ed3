"""Measure streams beside their peers in the same run.

    python benchmarks/streams.py                       all parts, about 5 minutes
    python benchmarks/streams.py keyed chain           two of them
    python benchmarks/streams.py --quick               a first look, about a minute
    python benchmarks/streams.py --save streams-2cores also into results/

Parts: `keyed` (per key of 1,000 smooth, compare with a limit, report changes), `chain` (map,
filter, map of small functions), `hop` (a small function in another thread), `put` (one item a
call from another thread, until all were consumed), `stalled` (growth behind a consumer that
has stalled, each in a fresh process), `delay` (of a lone item in a quiet stream). Items are
made before the clock starts, candidates take turns, and each result is compared with the
plain loop's outside of the time. Peers that are missing, or do not run on this Python, are
named and left out (requirements.txt).

GOALS names items a second of one day beside the peers' of that day. Machines differ, so we
hold the ratio to a peer within a round against the ratio of that table, to its fastest figure
there; where a peer has several ways, to the one that is fastest in the run:

    keyed   over reactivex, 0.09M     floor  1M   -> 11 times    goal  2M -> 22 times
    chain   over reactivex, 2.7M      floor  4M   -> 1.5 times   goal  8M -> 3.0 times
    hop     over reactivex, 0.09M     floor  3M   -> 33 times    goal 10M -> 111 times
    put     over queue.Queue, 0.9M    floor  1.5M -> 1.7 times   goal  4M -> 4.4 times

`stalled` (MiB) and `delay` (ms) have limits of their own. For `delay` these hold for the median
and for the 95th percentile; the worst of all is shown only, for it is the machine's too.
One file, though long, so that all parts measure in one way.
"""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING, Any

import psutil
from harness import Row, is_installed, rounds_of, row, run

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gearshift.streams.sources.channel import WhenFull

    Answer = Callable[[Any], Any]  # the items, or what a case is given, to what came out

PEERS = ("reactivex", "streamz", "aiostream", "bytewax")  # that may be missing
OURS = "gearshift"
MIB = 2**20
MILLION = 1e6


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    rounds: int
    readings: int
    items: int
    stall_seconds: float
    delays: int  # of a candidate, in all rounds


FULL = Size(rounds=7, readings=200_000, items=1_000_000, stall_seconds=4.0, delays=210)
QUICK = Size(rounds=3, readings=50_000, items=200_000, stall_seconds=1.0, delays=60)


@dataclass(frozen=True)
class Wanted:
    """What GOALS says of a part: millions of items a second, and the peer's of the same day."""

    peer: str
    peer_rate: float
    floor: float
    goal: float


WANTED = {
    "keyed": Wanted("reactivex", 0.09, floor=1.0, goal=2.0),
    "chain": Wanted("reactivex", 2.7, floor=4.0, goal=8.0),
    "hop": Wanted("reactivex", 0.09, floor=3.0, goal=10.0),
    "put": Wanted("queue.Queue", 0.9, floor=1.5, goal=4.0),
}


@dataclass(frozen=True)
class Candidate:
    """One way to do it.

    Attributes:
        answer: Given the items, returns what comes out.
        slow: It gets one in so many of the items, as it would take too long.
        needs: The package, if that may be missing.
        is_held: It is ours, and its ratio is held against floor and goal.
    """

    answer: Answer
    slow: int = 1
    needs: str | None = None
    is_held: bool = False


def main(argv: Sequence[str]) -> None:
    """Measure the parts asked for."""
    parts = {name: partial(_sized, measure) for name, measure in PARTS.items()}
    broken = [f"{name} (it does not run here)" for name in PEERS if _is_broken(name)]
    run("Streams", __doc__, parts, (*PEERS, *broken), argv)


def _sized(measure: Callable[[Size], list[Row]], quick: bool) -> list[Row]:
    return measure(QUICK if quick else FULL)


def _is_broken(name: str) -> bool:
    """Say whether a peer is there and cannot be imported, as for want of a build for this Python."""
    if not is_installed(name):
        return False
    try:
        import_module(name)
    except Exception:
        return True
    return False


def _is_there(name: str | None) -> bool:
    return name is None or (is_installed(name) and not _is_broken(name))


def _rates(
    part: str,
    candidates: Mapping[str, Candidate],
    base: str,
    items: Sequence[Any],
    rounds: int,
    *,
    order: Callable[[Any], Any] = list,
) -> list[Row]:
    """Return millions of items a second, and our ratios to the base and to the peer of GOALS.

    Args:
        part: Its name.
        candidates: By name.
        base: The candidate whose answer is right: the plain loop.
        items: What all are given.
        rounds: How many.
        order: What two right answers have in common.
    """
    there = {name: each for name, each in candidates.items() if _is_there(each.needs)}
    right: dict[int, Any] = {}

    def rate(candidate: Candidate) -> float:
        given = items[: len(items) // candidate.slow]
        if len(given) not in right:
            right[len(given)] = order(candidates[base].answer(given))
        gc.collect()
        started = time.perf_counter()
        answer = candidate.answer(given)
        seconds = time.perf_counter() - started
        assert order(answer) == right[len(given)], f"{part}: {candidate.answer} is wrong"
        return len(given) / seconds / MILLION

    rates = rounds_of({name: partial(rate, each) for name, each in there.items()}, rounds)
    rows = _ratios(part, [name for name in there if name.startswith(OURS)], there, rates, base)
    for name, values in rates.items():
        slow = there[name].slow
        note = "" if slow == 1 else f"{len(items) // slow:,} items"
        rows.append(row(part, name, "M items/s", values, more_is_better=True, note=note))
    return rows


def _ratios(
    part: str,
    ours: Sequence[str],
    there: Mapping[str, Candidate],
    rates: Mapping[str, list[float]],
    base: str,
) -> list[Row]:
    """Return our ratios, taken within each round: to the peer of GOALS at its best, and to the plain loop."""
    wanted = WANTED[part]
    ways = [name for name in rates if name.startswith(wanted.peer)]
    peers = sorted(ways, key=lambda name: statistics.median(rates[name]), reverse=True)
    rows = []
    for name in ours:
        for peer in (*peers[:1], base):
            ratios = [a / b for a, b in zip(rates[name], rates[peer], strict=True)]
            more: dict[str, Any] = {}
            if peer != base and there[name].is_held:
                more = {
                    "floor": wanted.floor / wanted.peer_rate,
                    "goal": wanted.goal / wanted.peer_rate,
                    "note": f"GOALS: {wanted.floor:g}M and {wanted.goal:g}M beside {wanted.peer_rate:g}M",
                }
            what = f"{name}, over {peer}"
            rows.append(row(part, what, "times", ratios, more_is_better=True, **more))
    return rows


# A chain of rules for each of 1,000 keys

KEYS = 1000
LIMIT = 40.0
GAIN = 0.2
BATCH = 1024  # bytewax's items at a time: its best of 256, 1024 and 4096

Reading = tuple[str, float]  # which rack, and its degrees; bytewax's keys must be strings


def rack_of(reading: Reading) -> str:
    """Return the key."""
    return reading[0]


def smooth(mean: Reading, reading: Reading) -> Reading:
    """Return the exponential mean."""
    return reading[0], mean[1] + GAIN * (reading[1] - mean[1])


def is_over(mean: Reading) -> bool:
    """Say whether it is over the limit."""
    return mean[1] > LIMIT


def with_level(mean: Reading) -> tuple[str, float, bool]:
    """Return the mean and its level."""
    return mean[0], mean[1], mean[1] > LIMIT


def level_of(mean: tuple[str, float, bool]) -> bool:
    """Return the level."""
    return mean[2]


def readings(number: int) -> list[Reading]:
    """Return readings of all racks in turns."""
    draw = random.Random(7)
    racks = [f"rack-{index}" for index in range(KEYS)]
    return [(racks[index % KEYS], draw.gauss(LIMIT, 4.0)) for index in range(number)]


def measure_keyed(size: Size) -> list[Row]:
    """Return the rates of a chain of rules; the answers are the means at which the level changed."""
    candidates = {
        "gearshift, operators": Candidate(_keyed_gearshift, is_held=True),
        "gearshift, operators and a stage of map": Candidate(_keyed_gearshift_map),
        "reactivex": Candidate(_keyed_reactivex, needs="reactivex"),
        "streamz": Candidate(_keyed_streamz, needs="streamz"),
        "bytewax": Candidate(_keyed_bytewax, needs="bytewax"),
        "plain loop that calls the functions": Candidate(_keyed_calls),
        "plain loop": Candidate(_keyed_plain),
    }
    return _rates(
        "keyed",
        candidates,
        "plain loop",
        readings(size.readings),
        size.rounds,
        order=_by_rack,
    )


def _by_rack(answer: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return what counts: each rack's changes in their order; bytewax keeps no order between keys."""
    return sorted((each[:2] for each in answer), key=lambda each: each[0])


def _keyed_plain(items: Sequence[Reading]) -> list[Reading]:
    means: dict[str, float] = {}
    levels: dict[str, bool] = {}
    changes = []
    for rack, celsius in items:
        mean = means.get(rack)
        mean = celsius if mean is None else mean + GAIN * (celsius - mean)
        means[rack] = mean
        level = mean > LIMIT
        if levels.get(rack) is not level:
            levels[rack] = level
            changes.append((rack, mean))
    return changes


def _keyed_calls(items: Sequence[Reading]) -> list[Reading]:
    means: dict[str, Reading] = {}
    levels: dict[str, bool] = {}
    changes = []
    for reading in items:
        rack = rack_of(reading)
        mean = means.get(rack)
        mean = reading if mean is None else smooth(mean, reading)
        means[rack] = mean
        level = is_over(mean)
        if levels.get(rack) is not level:
            levels[rack] = level
            changes.append(mean)
    return changes


def _keyed_gearshift(items: Sequence[Reading]) -> list[Reading]:
    return list(gs.stream(items).keyed(rack_of).scan(smooth).distinct_until_changed(is_over))


def _keyed_gearshift_map(items: Sequence[Reading]) -> list[tuple[str, float, bool]]:
    means = gs.stream(items).keyed(rack_of).scan(smooth)
    return list(means.map(with_level).distinct_until_changed(level_of))


def _keyed_reactivex(items: Sequence[Reading]) -> list[Reading]:
    rx, ops = import_module("reactivex"), import_module("reactivex.operators")
    changes: list[Reading] = []

    def rules(group: Any) -> Any:
        return group.pipe(ops.scan(smooth), ops.distinct_until_changed(is_over))

    observable = rx.from_iterable(items)
    observable.pipe(ops.group_by(rack_of), ops.flat_map(rules)).subscribe(changes.append)
    return changes


def _keyed_streamz(items: Sequence[Reading]) -> list[Reading]:
    """Two `accumulate` with dictionaries: it has no keys; a Stream for each key was slower."""
    source = import_module("streamz").Stream()
    changes: list[Reading] = []

    def smooth_each(means: dict[str, Reading], reading: Reading) -> tuple[Any, Reading]:
        mean = means.get(reading[0])
        means[reading[0]] = mean = reading if mean is None else smooth(mean, reading)
        return means, mean

    def changed(levels: dict[str, bool], mean: Reading) -> tuple[Any, Reading | None]:
        level = is_over(mean)
        if levels.get(mean[0]) is level:
            return levels, None
        levels[mean[0]] = level
        return levels, mean

    means = source.accumulate(smooth_each, start={}, returns_state=True)
    levels = means.accumulate(changed, start={}, returns_state=True)
    levels.filter(lambda mean: mean is not None).sink(changes.append)
    for item in items:
        source.emit(item)
    return changes


def _keyed_bytewax(items: Sequence[Reading]) -> list[Reading]:
    ops, testing = import_module("bytewax.operators"), import_module("bytewax.testing")
    changes: list[Reading] = []

    def smooth_one(mean: Reading | None, reading: Reading) -> tuple[Reading, Reading]:
        mean = reading if mean is None else smooth(mean, reading)
        return mean, mean

    def changed(level: bool | None, mean: Reading) -> tuple[bool, Sequence[Reading]]:
        now = is_over(mean)
        return now, () if now is level else (mean,)

    flow = import_module("bytewax.dataflow").Dataflow("keyed")
    source = ops.input("items", flow, testing.TestingSource(items, batch_size=BATCH))
    means = ops.stateful_map("smooth", ops.key_on("rack", source, rack_of), smooth_one)
    levels = ops.key_rm("values", ops.stateful_flat_map("changed", means, changed))
    ops.output("changes", levels, testing.TestingSink(changes))
    testing.run_main(flow)
    return changes


# Map, filter, map

LIST_ITEMS = 256


def plus_one(number: int) -> int:
    """Return the next number."""
    return number + 1


def is_no_third(number: int) -> int:
    """Say by something true whether 3 does not divide it."""
    return number % 3


def square(number: int) -> int:
    """Return the square."""
    return number * number


def measure_chain(size: Size) -> list[Row]:
    """Return the rates of map, filter and map."""
    candidates = {
        "gearshift": Candidate(_chain_gearshift, is_held=True),
        "reactivex": Candidate(_chain_reactivex, needs="reactivex"),
        "streamz": Candidate(_chain_streamz, slow=10, needs="streamz"),
        "aiostream": Candidate(_chain_aiostream, slow=10, needs="aiostream"),
        "bytewax": Candidate(_chain_bytewax, needs="bytewax"),
        "lists of 256": Candidate(_chain_lists),
        "generators that call the functions": Candidate(_chain_calls),
        "a generator by hand": Candidate(_chain_plain),
    }
    items = list(range(size.items))
    return _rates("chain", candidates, "a generator by hand", items, size.rounds)


def _chain_plain(items: Sequence[int]) -> list[int]:
    return list((item + 1) * (item + 1) for item in items if (item + 1) % 3)  # noqa: C400 - the candidate


def _chain_calls(items: Sequence[int]) -> list[int]:
    return list(map(square, filter(is_no_third, map(plus_one, items))))


def _chain_lists(items: Sequence[int]) -> list[int]:
    results = []
    for start in range(0, len(items), LIST_ITEMS):
        part = [plus_one(item) for item in items[start : start + LIST_ITEMS]]
        part = [item for item in part if is_no_third(item)]
        results += [square(item) for item in part]
    return results


def _chain_gearshift(items: Sequence[int]) -> list[int]:
    return list(gs.stream(items).map(plus_one).filter(is_no_third).map(square))


def _chain_reactivex(items: Sequence[int]) -> list[int]:
    rx, ops = import_module("reactivex"), import_module("reactivex.operators")
    results: list[int] = []
    chain = (ops.map(plus_one), ops.filter(is_no_third), ops.map(square))
    rx.from_iterable(items).pipe(*chain).subscribe(results.append)
    return results


def _chain_streamz(items: Sequence[int]) -> list[int]:
    source = import_module("streamz").Stream()
    results: list[int] = []
    source.map(plus_one).filter(is_no_third).map(square).sink(results.append)
    for item in items:
        source.emit(item)
    return results


def _chain_aiostream(items: Sequence[int]) -> list[int]:
    stream, pipe = import_module("aiostream.stream"), import_module("aiostream.pipe")

    async def collect() -> list[int]:
        chain = stream.iterate(items) | pipe.map(plus_one)
        chain = chain | pipe.filter(is_no_third) | pipe.map(square)
        async with chain.stream() as running:
            return [item async for item in running]

    return asyncio.run(collect())


def _chain_bytewax(items: Sequence[int]) -> list[int]:
    ops, testing = import_module("bytewax.operators"), import_module("bytewax.testing")
    results: list[int] = []
    flow = import_module("bytewax.dataflow").Dataflow("chain")
    source = ops.input("items", flow, testing.TestingSource(items, batch_size=BATCH))
    kept = ops.filter("filter", ops.map("plus", source, plus_one), _is_no_third)
    ops.output("results", ops.map("square", kept, square), testing.TestingSink(results))
    testing.run_main(flow)
    return results


def _is_no_third(number: int) -> bool:
    return number % 3 != 0  # bytewax takes nothing but a bool


# To another thread


def same(item: Any) -> Any:
    """Return the item."""
    return item


RX_SCHEDULERS = {  # and one in how many items it gets: a NewThreadScheduler makes a thread for each
    "EventLoopScheduler": 20,
    "ThreadPoolScheduler": 20,
    "NewThreadScheduler": 200,
}


def measure_hop(size: Size) -> list[Row]:
    """Return the rates of a small function in another thread, the results back in this one's list."""
    candidates = {
        "gearshift": Candidate(_hop_gearshift, is_held=True),
        "gearshift, behind a stage": Candidate(_hop_behind_stage),
        "gearshift, one worker": Candidate(_hop_one_worker),
        **{
            f"reactivex, {name}": Candidate(
                partial(_hop_reactivex, name), slow=slow, needs="reactivex"
            )
            for name, slow in RX_SCHEDULERS.items()
        },
        "lists of 256": Candidate(_hop_lists),
        "plain loop": Candidate(_hop_plain),
    }
    items = list(range(size.items))
    return _rates("hop", candidates, "plain loop", items, size.rounds)


def _hop_plain(items: Sequence[int]) -> list[int]:
    return [same(item) for item in items]


def _hop_gearshift(items: Sequence[int]) -> list[int]:
    return list(gs.stream(items).map(same, on="threads"))


def _hop_behind_stage(items: Sequence[int]) -> list[int]:
    return list(gs.stream(items).map(same).map(same, on="threads"))


def _hop_one_worker(items: Sequence[int]) -> list[int]:
    return list(gs.stream(items).map(same, on="threads", workers=1))


def _hop_reactivex(scheduler: str, items: Sequence[int]) -> list[int]:
    rx, ops = import_module("reactivex"), import_module("reactivex.operators")
    make = getattr(import_module("reactivex.scheduler"), scheduler)
    results: list[int] = []
    is_done = threading.Event()
    thread = make(1) if scheduler == "ThreadPoolScheduler" else make()
    chain = (ops.observe_on(thread), ops.map(same))
    rx.from_iterable(items).pipe(*chain).subscribe(results.append, on_completed=is_done.set)
    is_done.wait()
    if scheduler == "EventLoopScheduler":
        thread.dispose()
    return results


def _hop_lists(items: Sequence[int]) -> list[int]:
    there: queue.SimpleQueue[Sequence[int] | None] = queue.SimpleQueue()
    back: queue.SimpleQueue[list[int] | None] = queue.SimpleQueue()

    def work() -> None:
        for part in iter(there.get, None):
            back.put([same(item) for item in part])
        back.put(None)

    thread = threading.Thread(target=work)
    thread.start()
    for start in range(0, len(items), LIST_ITEMS):
        there.put(items[start : start + LIST_ITEMS])
    there.put(None)
    results: list[int] = []
    for part in iter(back.get, None):
        results += part
    thread.join()
    return results


# One item a call


def measure_put(size: Size) -> list[Row]:
    """Return the rates of single puts in another thread, until this one has everything."""
    candidates = {
        "gearshift": Candidate(_put_gearshift, is_held=True),
        "queue.Queue": Candidate(partial(_put_queue, queue.Queue)),
        "queue.Queue(1024), bounded as ours": Candidate(partial(_put_queue, _bounded)),
        "queue.SimpleQueue": Candidate(partial(_put_queue, queue.SimpleQueue)),
        "plain loop": Candidate(_put_plain),
    }
    items = list(range(size.items))
    return _rates("put", candidates, "plain loop", items, size.rounds)


def _bounded() -> queue.Queue[Any]:
    return queue.Queue(1024)


def _put_plain(items: Sequence[int]) -> list[int]:
    inside: deque[int] = deque()
    for item in items:
        inside.append(item)  # noqa: FURB113,RUF100 - one a call is what is measured
    return list(inside)


def _put_gearshift(items: Sequence[int]) -> list[int]:
    channel = gs.sources.channel()

    def work() -> None:
        with channel:
            for item in items:
                channel.put(item)

    thread = threading.Thread(target=work)
    thread.start()
    results = list(gs.stream(channel))
    thread.join()
    return results


def _put_queue(make: Callable[[], Any], items: Sequence[int]) -> list[int]:
    between = make()

    def work() -> None:
        for item in items:
            between.put(item)
        between.put(None)

    thread = threading.Thread(target=work)
    thread.start()
    results = list(iter(between.get, None))
    thread.join()
    return results


# Behind a consumer that has stalled

SAMPLE_SECONDS = 0.02


def measure_stalled(size: Size) -> list[Row]:
    """Return by how much a process grows at most, once its consumer has stalled."""
    rows = []
    for name, (_, needs) in STALLS.items():
        if not _is_there(needs):
            continue
        command = [sys.executable, __file__, "--child", name, str(size.stall_seconds)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        more: dict[str, Any] = {"floor": 5.0, "goal": 2.0} if name.startswith(OURS) else {}
        what = f"{name}, {size.stall_seconds:g} s"
        rows.append(row("stalled", what, "MiB more", [float(done.stdout) / MIB], **more))
    return rows


def be_child(name: str, seconds: str) -> None:
    """Run one case of `measure_stalled`, and print the bytes by which this process grew."""
    begin, _ = STALLS[name]
    held = begin()  # until the end
    process = psutil.Process()
    first = most = process.memory_info().rss
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        time.sleep(SAMPLE_SECONDS)
        most = max(most, process.memory_info().rss)
    print(most - first, flush=True)
    assert held is not None
    os._exit(0)  # with threads that never end


def _endless() -> Iterator[int]:
    yield from count()


def _stall_stage() -> object:
    run_ = gs.stream(_endless()).map(same).map(same, on="threads").start()
    next(run_)
    return run_


def _stall_auto() -> object:
    run_ = gs.stream(_endless()).map(plus_one).filter(is_no_third).start()
    next(run_)
    return run_


def _stall_channel(when_full: WhenFull) -> object:
    channel = gs.sources.channel(when_full=when_full)
    run_ = gs.stream(channel).start()

    def work() -> None:
        for item in count():
            channel.put(item)

    threading.Thread(target=work, daemon=True).start()
    next(run_)
    return run_


def _stall_reactivex() -> object:
    rx, ops = import_module("reactivex"), import_module("reactivex.operators")
    new_thread = import_module("reactivex.scheduler").NewThreadScheduler
    event_loop = import_module("reactivex.scheduler").EventLoopScheduler
    is_stalled = threading.Event()

    def stall(item: int) -> None:
        is_stalled.set()
        threading.Event().wait()

    hops = (ops.subscribe_on(new_thread()), ops.observe_on(event_loop()))
    subscription: object = rx.from_iterable(_endless()).pipe(*hops).subscribe(stall)
    is_stalled.wait()
    return subscription


STALLS: dict[str, tuple[Callable[[], object], str | None]] = {
    "gearshift, endless iterable, a stage on threads": (_stall_stage, None),
    "gearshift, endless iterable, stages on auto": (_stall_auto, None),
    'gearshift, channel, when_full="wait"': (partial(_stall_channel, "wait"), None),
    'gearshift, channel, when_full="drop_oldest"': (partial(_stall_channel, "drop_oldest"), None),
    "reactivex, observe_on": (_stall_reactivex, "reactivex"),
}


# A lone item

PAUSE_SECONDS = (0.005, 0.020)


def measure_delay(size: Size) -> list[Row]:
    """Return the milliseconds from `put` in one thread to the consumer in another."""
    candidates: dict[str, tuple[Callable[[int], list[float]], str | None]] = {
        "gearshift, channel": (_delay_channel, None),
        "gearshift, channel and a stage on threads": (_delay_stage, None),
        "queue.Queue": (_delay_queue, None),
        "reactivex, observe_on": (_delay_reactivex, "reactivex"),
    }
    there = {name: measure for name, (measure, needs) in candidates.items() if _is_there(needs)}
    delays: dict[str, list[float]] = {name: [] for name in there}
    for number in range(-1, size.rounds):
        for name, measure in there.items():
            taken = measure(size.delays // size.rounds)
            if number >= 0:
                delays[name] += [1000 * each for each in taken]
    rows = []
    for name, values in delays.items():
        more: dict[str, Any] = {"floor": 2.0, "goal": 0.5} if name.startswith(OURS) else {}
        late = statistics.quantiles(values, n=20)[-1]
        rows += [
            row("delay", f"{name}, median", "ms", values, **more),
            row("delay", f"{name}, 95th percentile", "ms", [late], **more),
        ]
    return rows


def _put_slowly(number: int, put: Callable[[float], object]) -> threading.Thread:
    """Begin a thread that puts the time, now and then."""
    draw = random.Random(number)

    def work() -> None:
        for _ in range(number):
            time.sleep(draw.uniform(*PAUSE_SECONDS))
            put(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _delay_run(number: int, channel: Any, stream: gs.Stream[float]) -> list[float]:
    delays = []
    with stream.start() as run_:
        thread = _put_slowly(number, channel.put)
        for put_at in run_:
            delays.append(time.perf_counter() - put_at)
            if len(delays) == number:
                break
    thread.join()
    return delays


def _delay_channel(number: int) -> list[float]:
    channel = gs.sources.channel()
    return _delay_run(number, channel, gs.stream(channel))


def _delay_stage(number: int) -> list[float]:
    channel = gs.sources.channel()
    return _delay_run(number, channel, gs.stream(channel).map(same, on="threads"))


def _delay_queue(number: int) -> list[float]:
    between: queue.Queue[float] = queue.Queue()
    thread = _put_slowly(number, between.put)
    delays = []
    for _ in range(number):
        put_at = between.get()
        delays.append(time.perf_counter() - put_at)
    thread.join()
    return delays


def _delay_reactivex(number: int) -> list[float]:
    ops = import_module("reactivex.operators")
    subject = import_module("reactivex.subject").Subject()
    scheduler = import_module("reactivex.scheduler").EventLoopScheduler()
    delays: list[float] = []
    is_done = threading.Event()

    def consume(put_at: float) -> None:
        delays.append(time.perf_counter() - put_at)
        if len(delays) == number:
            is_done.set()

    subject.pipe(ops.observe_on(scheduler)).subscribe(consume)
    thread = _put_slowly(number, subject.on_next)
    is_done.wait()
    thread.join()
    scheduler.dispose()
    return delays


# The page

PARTS: dict[str, Callable[[Size], list[Row]]] = {
    "keyed": measure_keyed,
    "chain": measure_chain,
    "hop": measure_hop,
    "put": measure_put,
    "stalled": measure_stalled,
    "delay": measure_delay,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        be_child(*sys.argv[2:])
    else:
        main(sys.argv[1:])
