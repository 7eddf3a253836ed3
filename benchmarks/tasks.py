"""The functions that the workloads run, and nothing of how they are measured.

Apart from the table in workloads.py, so that worker processes import them by name and load
nothing else. Invariant: a value depends on the item only, except where a name says otherwise
(`count_*`, whose values show whether calls shut each other out). Over 300 lines because
variety is the point.
"""

from __future__ import annotations

import asyncio
import bz2
import csv
import difflib
import hashlib
import http.client
import json
import lzma
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from contextlib import closing
from decimal import Decimal, localcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Plain Python that computes


def square(item: int) -> int:
    return item * item


def add_up(steps: int) -> int:
    """About 45 ns a step."""
    total = 0
    for step in range(steps):
        total += step * step
    return total


def factor(number: int) -> list[int]:
    found = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


def fibonacci(item: int) -> int:
    return item if item < 2 else fibonacci(item - 1) + fibonacci(item - 2)


def mandelbrot_row(row: int) -> bytes:
    return bytes(_escape(complex(column / 40 - 2, row / 40 - 1)) for column in range(120))


def _escape(point: complex) -> int:
    z = 0j
    for step in range(60):
        if abs(z) > 2:
            return step
        z = z * z + point
    return 60


def sort_random(seed: int) -> float:
    chance = random.Random(seed)
    return sorted(chance.random() for _ in range(4000))[2000]


def build_text(item: int) -> str:
    return "".join(f"{item * place:x}," for place in range(4000))


def compare_texts(pair: tuple[str, str]) -> float:
    return difflib.SequenceMatcher(None, *pair).ratio()


def pi_digits(digits: int) -> str:
    with localcontext() as context:
        context.prec = digits + 5
        last, term, total, n, na, d, da = Decimal(0), Decimal(3), Decimal(3), 1, 0, 0, 24
        while total != last:
            last = total
            n, na = n + na, na + 8
            d, da = d + da, da + 32
            term = (term * n) / d
            total += term
        return str(total)[: digits + 2]


# The standard library's C code: some of it lets go of the GIL


def sha256(buffer: bytes) -> str:
    return hashlib.sha256(buffer).hexdigest()


def hash_password(item: int) -> str:
    return hashlib.pbkdf2_hmac("sha256", b"%d" % item, b"salt", 20_000).hex()


def compress_zlib(buffer: bytes) -> int:
    return zlib.crc32(zlib.compress(buffer))


def compress_bz2(buffer: bytes) -> int:
    return zlib.crc32(bz2.compress(buffer))


def compress_lzma(buffer: bytes) -> int:
    return zlib.crc32(lzma.compress(buffer, preset=1))


def parse_json(text: str) -> int:
    return len(json.loads(text))


def write_json(record: Any) -> str:
    return json.dumps(record, sort_keys=True)


WORDS = re.compile(r"\b[a-z]+ing\b|\b[A-Z]\w+\b")


def find_words(text: str) -> list[str]:
    return WORDS.findall(text)[:5]


def sum_csv(text: str) -> int:
    return sum(int(line["amount"]) for line in csv.DictReader(text.splitlines()))


def query(item: tuple[str, int]) -> list[tuple[Any, ...]]:
    path, group = item
    with closing(sqlite3.connect(path)) as connection:
        asked = "select count(*), sum(price * amount) from sales where shop % 17 = ?"
        return connection.execute(asked, (group,)).fetchall()


# Waiting, and waiting with computing


def wait_for(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_and_compute(item: tuple[float, int]) -> int:
    seconds, steps = item
    time.sleep(seconds)
    return add_up(steps)


def compute_only(item: tuple[float, int]) -> int:
    """Return what `wait_and_compute` returns, without the wait."""
    return add_up(item[1])


def fetch_urllib(url: str) -> bytes:
    with urllib.request.urlopen(url) as response:  # noqa: S310 - a loopback server of our own
        body: bytes = response.read()
    return body


def fetch_http_client(url: str) -> bytes:
    host, _, path = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(host)) as connection:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()


def page_of(url: str) -> bytes:
    """Return what the server answers, without asking it."""
    return url.rpartition("/")[2].encode() * 100


def run_program(command: tuple[str, ...]) -> int:
    return subprocess.run(command, check=False).returncode


def zero(_: object) -> int:
    return 0


def hash_file(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def sum_block(item: tuple[str, int, int]) -> int:
    path, start, size = item
    with Path(path).open("rb") as file:
        file.seek(start)
        return zlib.adler32(file.read(size))


async def await_for(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def await_nothing(steps: int) -> int:
    return add_up(steps)


# Arrays


@cache
def _matrix(size: int) -> Any:
    import numpy as np

    return np.random.default_rng(size).random((size, size))


def multiply_matrices(item: int) -> float:
    matrix = _matrix(300)
    return float((matrix * item @ matrix)[7, 7])


def transform_array(array: Any) -> float:
    return float((array * 2.0 + 1.0).max())


def array_of(item: int) -> Any:
    import numpy as np

    return np.sqrt(np.arange(12_500) + float(item))


def group_frame(seed: int) -> float:
    import numpy as np

    pandas = import_module("pandas")
    chance = np.random.default_rng(seed)
    frame = pandas.DataFrame({"key": chance.integers(0, 50, 20_000), "x": chance.random(20_000)})
    return float(frame.groupby("key")["x"].mean().max())


def shrink_image(item: int) -> int:
    image = import_module("PIL.Image")
    picture = image.linear_gradient("L").rotate(item).resize((1200, 1200))
    return zlib.crc32(picture.resize((300, 300), image.Resampling.LANCZOS).tobytes())


# Large items and results


def repeat_byte(item: int) -> bytes:
    return bytes([item % 256]) * 1_000_000


def sum_list(numbers: Sequence[int]) -> int:
    return sum(numbers)


# Shared state


_LOCK = threading.Lock()
_count = 0


def forget_count() -> None:
    global _count  # noqa: PLW0603 - the state that is the point
    _count = 0


def count_locked(steps: int) -> int:
    """Compute under a lock; the values of all calls are 1, 2, 3 ... in some order."""
    global _count  # noqa: PLW0603 - the same
    with _LOCK:
        add_up(steps)
        _count += 1
        return _count


def count_waiting(item: tuple[float, float]) -> int:
    """Wait outside of a lock, then under it."""
    global _count  # noqa: PLW0603 - the same
    before, within = item
    time.sleep(before)
    with _LOCK:
        time.sleep(within)
        _count += 1
        return _count


def count_unlocked(seconds: float) -> int:
    """Read, wait, write: only one call after another counts right."""
    global _count  # noqa: PLW0603 - the same
    seen = _count
    time.sleep(seconds)
    _count = seen + 1
    return _count


# A first call that takes longer


@cache
def _table() -> list[int]:
    return [add_up(place % 50) for place in range(80_000)]


def look_up(item: int) -> int:
    """Fill a cache in the first call, then 50 µs."""
    return _table()[item] + add_up(1000)


def forget_table() -> None:
    _table.cache_clear()


def import_and_compute(steps: int) -> int:
    """Import a package in the first call, then compute."""
    return add_up(steps) + len(import_module("unittest").__name__)


def forget_package() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "unittest"]:
        del sys.modules[name]


# Sources


def slowly(items: Sequence[Any]) -> Iterator[Any]:
    """Yield items, one a millisecond."""
    for item in items:
        time.sleep(0.001)
        yield item
