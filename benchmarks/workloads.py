"""The workloads on which choosing is measured, as a table: what runs, on how much, what is right.

Apart from the measuring, so that a workload is one entry here and a function in tasks.py.
Counts are fixed: on a 2-core machine the best engine takes about 0.15 to 2 s; where
`grows`, a machine with more cores gets more items. Invariant: items depend on nothing but
the count and the site. Over 300 lines because it is a table.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from operator import ne
from typing import TYPE_CHECKING, Any

import sites
import tasks

if TYPE_CHECKING:
    from pathlib import Path

Make = Callable[[int, Any], Sequence[Any]]

THREADS = "serial", "threads"
ALL = "serial", "threads", "processes"


def echo(item: Any) -> Any:
    return item


def count_unlike(got: Sequence[Any], due: Sequence[Any]) -> int:
    """Return how many values are not what they should be, or are too many or too few."""
    wrong: int = sum(map(ne, got, due))
    return wrong + abs(len(got) - len(due))


def count_unlike_in_any_order(got: Sequence[Any], due: Sequence[Any]) -> int:
    """Return the same for values whose order is free."""
    return count_unlike(sorted(got), sorted(due))


def count_unlike_arrays(got: Sequence[Any], due: Sequence[Any]) -> int:
    """Return the same for arrays."""
    wrong = sum(bool((mine != theirs).any()) for mine, theirs in zip(got, due, strict=False))
    return wrong + abs(len(got) - len(due))


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A function and its items.

    Args:
        name: Of the workload.
        group: What it stands for.
        function: What runs.
        make: Gives the items, from their count and what `site` yields.
        count: How many items, on two cores.
        engines: Those on which the values are right.
        truth: Gives the value of an item without its wait; None is `function` itself.
        unlike: Counts the values that are wrong, from those got and those due.
        site: What has to be around it, in an empty folder.
        source: Makes of the items what is given to `gs.map`.
        before: Called before every measurement, off the clock.
        grows: Whether more cores get more items.
        brief: Whether it is among the few of a quick run and of a busy machine.
        serial: Whether the plain loop is the best there is, by construction.
        needs: The package it needs.
    """

    name: str
    group: str
    function: Callable[..., Any]
    make: Make
    count: int
    engines: tuple[str, ...] = ALL
    truth: Callable[[Any], Any] | None = None
    unlike: Callable[[Sequence[Any], Sequence[Any]], int] = count_unlike
    site: Callable[[Path], AbstractContextManager[Any]] = nullcontext
    source: Callable[[Sequence[Any]], Iterable[Any]] = echo
    before: Callable[[], None] = lambda: None
    grows: bool = False
    brief: bool = False
    serial: bool = False
    needs: str | None = None

    def items(self, cores: int, site: Any) -> Sequence[Any]:
        """Return the items for a machine with so many cores."""
        return self.make(self.count * (max(1, cores // 2) if self.grows else 1), site)


# Items


def indices(count: int, _: Any) -> Sequence[int]:
    return range(count)


def same(item: Any) -> Make:
    """Make items that are all alike."""
    return lambda count, _: [item] * count


def drawn(draw: Callable[[random.Random], Any]) -> Make:
    """Make items at random, the same ones each time."""

    def make(count: int, _: Any) -> Sequence[Any]:
        chance = random.Random(count)
        return [draw(chance) for _ in range(count)]

    return make


def cycled(different: int, draw: Callable[[random.Random], Any]) -> Make:
    """Make items of which only so many differ, since they are large."""

    def make(count: int, site: Any) -> Sequence[Any]:
        some = drawn(draw)(different, site)
        return [some[place % different] for place in range(count)]

    return make


def heavy(every: int, short: int, long: int) -> Make:
    """Make steps of which one of so many is long."""
    return lambda count, _: [
        long if place % every == every // 3 else short for place in range(count)
    ]


def heavy_last(short: int, long: int) -> Make:
    """Make steps whose last two are long."""
    return lambda count, _: [short] * (count - 2) + [long] * 2


def buffer(chance: random.Random, size: int) -> bytes:
    return chance.randbytes(size)


def text(chance: random.Random, size: int) -> str:
    """Return words, which can be compressed and searched."""
    known = "cooling", "rack", "Server", "the", "running", "and", "Northern", "fan", "waiting"
    return " ".join(chance.choice(known) for _ in range(size // 6))[:size]


def text_bytes(chance: random.Random, size: int) -> bytes:
    return text(chance, size).encode()


def record(chance: random.Random, size: int) -> dict[str, Any]:
    return {f"name {key}": [chance.randrange(1000), "text", None] for key in range(size)}


def record_text(chance: random.Random, size: int) -> str:
    return json.dumps(record(chance, size))


def two_texts(chance: random.Random) -> tuple[str, str]:
    return text(chance, 1200), text(chance, 1200)


def table(chance: random.Random) -> str:
    return "name,amount\n" + "".join(f"n,{chance.randrange(99)}\n" for _ in range(500))


def rows(count: int, _: Any) -> Sequence[int]:
    return [place % 80 for place in range(count)]


def array(_: random.Random, size: int) -> Any:
    import numpy as np

    return np.arange(size, dtype=float)


def queries(count: int, path: Path) -> Sequence[tuple[str, int]]:
    return [(str(path), place % 17) for place in range(count)]


def pages(milliseconds: int) -> Make:
    """Make addresses that answer after so long."""
    return lambda count, site: [f"{site}/{milliseconds}/page{place}" for place in range(count)]


def files(count: int, folder: Path) -> Sequence[str]:
    return [str(folder / str(place % 2000)) for place in range(count)]


def blocks(count: int, path: Path) -> Sequence[tuple[str, int, int]]:
    size = sites.BLOCK_BYTES
    return [(str(path), place % sites.BLOCKS * size, size) for place in range(count)]


# The table

_PYTHON = partial(Workload, group="Python", grows=True)
_C_CODE = partial(Workload, group="C code", grows=True)
_STEPS = partial(Workload, group="durations", function=tasks.add_up)
_WAITS = partial(Workload, group="waiting", truth=echo)
_MIXED = partial(Workload, group="mixed", function=tasks.wait_and_compute, truth=tasks.compute_only)
_HTTP = partial(Workload, group="HTTP", truth=tasks.page_of, site=sites.server)
_NUMPY = partial(Workload, group="arrays", needs="numpy")
_STATE = partial(Workload, group="state", unlike=count_unlike_in_any_order)
_MEGABYTE = 1_000_000

TABLE = (
    _PYTHON(
        name="factors, short",
        function=tasks.factor,
        make=drawn(lambda chance: chance.randrange(10**6, 10**7)),
        count=8000,
        brief=True,
    ),
    _PYTHON(
        name="factors, long",
        function=tasks.factor,
        make=drawn(lambda chance: chance.randrange(10**10, 10**12)),
        count=60,
    ),
    _PYTHON(name="fibonacci", function=tasks.fibonacci, make=same(20), count=350),
    _PYTHON(name="mandelbrot rows", function=tasks.mandelbrot_row, make=rows, count=600),
    _PYTHON(name="sorting", function=tasks.sort_random, make=indices, count=450),
    _PYTHON(name="building strings", function=tasks.build_text, make=indices, count=320),
    _PYTHON(
        name="difflib",
        function=tasks.compare_texts,
        make=cycled(40, two_texts),
        count=300,
        brief=True,
    ),
    _PYTHON(name="decimal pi", function=tasks.pi_digits, make=same(300), count=550),
    _PYTHON(
        name="json.loads, 1 KB",
        function=tasks.parse_json,
        make=drawn(partial(record_text, size=25)),
        count=40_000,
    ),
    _PYTHON(
        name="json.loads, 1 MB",
        function=tasks.parse_json,
        make=cycled(4, partial(record_text, size=20_000)),
        count=24,
        brief=True,
    ),
    _PYTHON(
        name="json.dumps, 1 KB",
        function=tasks.write_json,
        make=drawn(partial(record, size=25)),
        count=16_000,
    ),
    _PYTHON(
        name="json.dumps, 1 MB",
        function=tasks.write_json,
        make=cycled(4, partial(record, size=20_000)),
        count=20,
    ),
    _PYTHON(
        name="re.findall",
        function=tasks.find_words,
        make=cycled(20, partial(text, size=100_000)),
        count=100,
    ),
    _PYTHON(name="csv", function=tasks.sum_csv, make=cycled(50, table), count=500),
    _C_CODE(
        name="sha256, 1 MB",
        function=tasks.sha256,
        make=cycled(32, partial(buffer, size=_MEGABYTE)),
        count=800,
        brief=True,
    ),
    _C_CODE(name="pbkdf2", function=tasks.hash_password, make=indices, count=60),
    _C_CODE(
        name="zlib, 64 KB",
        function=tasks.compress_zlib,
        make=cycled(50, partial(text_bytes, size=65_536)),
        count=220,
    ),
    _C_CODE(
        name="bz2, 64 KB",
        function=tasks.compress_bz2,
        make=cycled(20, partial(text_bytes, size=65_536)),
        count=80,
    ),
    _C_CODE(
        name="lzma, 64 KB",
        function=tasks.compress_lzma,
        make=cycled(20, partial(text_bytes, size=65_536)),
        count=120,
    ),
    _C_CODE(
        name="sqlite, a connection each",
        function=tasks.query,
        make=queries,
        count=300,
        site=sites.database,
    ),
    _C_CODE(name="PIL, resize", function=tasks.shrink_image, make=indices, count=30, needs="PIL"),
    _C_CODE(
        name="pandas, groupby", function=tasks.group_frame, make=indices, count=250, needs="pandas"
    ),
    _STEPS(
        name="x*x, 100,000",
        function=tasks.square,
        make=indices,
        count=100_000,
        serial=True,
        brief=True,
    ),
    _STEPS(
        name="x*x, 1,000,000", function=tasks.square, make=indices, count=1_000_000, serial=True
    ),
    _STEPS(name="10 µs", make=same(200), count=40_000, grows=True, brief=True),
    _STEPS(name="100 µs", make=same(2000), count=4000, grows=True),
    _STEPS(name="1 ms", make=same(20_000), count=450, grows=True, brief=True),
    _STEPS(name="1 ms, 100 items", make=same(20_000), count=100),
    _STEPS(name="20 ms", make=same(400_000), count=24, grows=True),
    _STEPS(name="200 ms, 4 items", make=same(4_000_000), count=4, grows=True, brief=True),
    _STEPS(name="one long item", make=same(8_000_000), count=1, serial=True, brief=True),
    _STEPS(name="two items of 0.5 s", make=same(10_000_000), count=2),
    _STEPS(
        name="one of 50 is 20 times as long",
        make=heavy(50, 20_000, 400_000),
        count=400,
        grows=True,
    ),
    _STEPS(name="heavy last", make=heavy_last(20_000, 2_000_000), count=200, brief=True),
    _WAITS(name="sleep, 1 ms", function=tasks.wait_for, make=same(0.001), count=5000),
    _WAITS(
        name="sleep, 5 ms",
        function=tasks.wait_for,
        make=same(0.005),
        count=3000,
        brief=True,
    ),
    _WAITS(name="sleep, 20 ms", function=tasks.wait_for, make=same(0.02), count=800),
    _WAITS(name="sleep, 20 ms, 15 items", function=tasks.wait_for, make=same(0.02), count=15),
    _WAITS(name="sleep, 200 ms", function=tasks.wait_for, make=same(0.2), count=100, brief=True),
    _WAITS(
        name="sleep, jittered",
        function=tasks.wait_for,
        make=drawn(lambda chance: chance.expovariate(200)),
        count=2000,
    ),
    _MIXED(name="sleep 10 ms, compute 1 ms", make=same((0.01, 20_000)), count=400, brief=True),
    _MIXED(name="sleep 5 ms, compute 5 ms", make=same((0.005, 100_000)), count=80, brief=True),
    _HTTP(name="HTTP, 0 ms, urllib", function=tasks.fetch_urllib, make=pages(0), count=500),
    _HTTP(
        name="HTTP, 5 ms, http.client", function=tasks.fetch_http_client, make=pages(5), count=500
    ),
    _HTTP(
        name="HTTP, 50 ms, urllib",
        function=tasks.fetch_urllib,
        make=pages(50),
        count=300,
        brief=True,
    ),
    _WAITS(
        name="subprocess, true",
        function=tasks.run_program,
        make=same(("true",)),
        count=500,
        truth=tasks.zero,
        brief=True,
    ),
    _WAITS(
        name="subprocess, sleep 0.02",
        function=tasks.run_program,
        make=same(("sleep", "0.02")),
        count=150,
        truth=tasks.zero,
    ),
    _C_CODE(
        name="files of 4 KB",
        function=tasks.hash_file,
        make=files,
        count=10_000,
        site=sites.small_files,
    ),
    _C_CODE(
        name="a file in blocks of 4 MB",
        function=tasks.sum_block,
        make=blocks,
        count=240,
        site=sites.large_file,
    ),
    _NUMPY(
        name="matrix product, 300 x 300",
        function=tasks.multiply_matrices,
        make=indices,
        count=300,
        brief=True,
    ),
    _NUMPY(
        name="elementwise, 1 MB",
        function=tasks.transform_array,
        make=cycled(16, partial(array, size=125_000)),
        count=3000,
    ),
    _NUMPY(
        name="elementwise, 16 MB",
        function=tasks.transform_array,
        make=cycled(4, partial(array, size=2_000_000)),
        count=100,
    ),
    _NUMPY(
        name="arrays of 100 KB returned",
        function=tasks.array_of,
        make=indices,
        count=2000,
        unlike=count_unlike_arrays,
    ),
    _STATE(
        name="results of 1 MB",
        function=tasks.repeat_byte,
        make=indices,
        count=400,
        unlike=count_unlike,
        serial=True,
    ),
    _STATE(
        name="items of 100,000 numbers",
        function=tasks.sum_list,
        make=cycled(10, lambda chance: [chance.randrange(99) for _ in range(100_000)]),
        count=400,
        unlike=count_unlike,
        serial=True,
    ),
    _STATE(
        name="a lock held all the time",
        function=tasks.count_locked,
        make=same(4000),
        count=1000,
        engines=THREADS,
        before=tasks.forget_count,
        serial=True,
    ),
    _STATE(
        name="a lock held for a part of the wait",
        function=tasks.count_waiting,
        make=same((0.004, 0.0005)),
        count=300,
        engines=THREADS,
        before=tasks.forget_count,
        brief=True,
    ),
    _STATE(
        name="a counter without a lock",
        function=tasks.count_unlocked,
        make=same(0.0005),
        count=400,
        engines=("serial",),
        before=tasks.forget_count,
        serial=True,
        brief=True,
    ),
    _STATE(
        name="a cache filled by the first call",
        function=tasks.look_up,
        make=indices,
        count=6000,
        unlike=count_unlike,
        before=tasks.forget_table,
    ),
    _STATE(
        name="a package imported by the first call",
        function=tasks.import_and_compute,
        make=same(20_000),
        count=300,
        unlike=count_unlike,
        before=tasks.forget_package,
    ),
    Workload(
        name="a slow source, 1 ms of computing",
        group="sources",
        function=tasks.add_up,
        make=same(20_000),
        count=200,
        source=tasks.slowly,
    ),
    Workload(
        name="a slow source, little to do",
        group="sources",
        function=tasks.square,
        make=indices,
        count=300,
        source=tasks.slowly,
        serial=True,
    ),
    Workload(
        name="asyncio.sleep, 10 ms",
        group="coroutines",
        function=tasks.await_for,
        make=same(0.01),
        count=5000,
        engines=("serial", "asyncio"),
        truth=echo,
        brief=True,
    ),
    Workload(
        name="a coroutine that computes",
        group="coroutines",
        function=tasks.await_nothing,
        make=same(4000),
        count=1000,
        engines=("serial", "asyncio"),
        truth=tasks.add_up,
        serial=True,
    ),
)
BY_NAME = {workload.name: workload for workload in TABLE}
