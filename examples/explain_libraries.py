"""Let gearshift explain ten functions that programs are slow in: python examples/explain_libraries.py [NAME...].

Each runs a few of its items for real, up to a second, and prints what auto would do with
all of them, and why. Needs nothing but the standard library; NumPy, pandas, Pillow and
requests where they are installed. docs/how-to/read-an-explanation.md goes through the output.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import gearshift as gs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Case = tuple["Callable[[Any], Any]", "Sequence[Any]"]
CHANCE = random.Random(7)


def digest(block: bytes) -> str:
    """Hash a megabyte."""
    return hashlib.sha256(block).hexdigest()


def hashing() -> Case:
    """Return blocks of a megabyte each."""
    return digest, [CHANCE.randbytes(2**20) for _ in range(400)]


def count_keys(text: str) -> int:
    """Parse a document of a megabyte and count what is in it."""
    return len(json.loads(text))


def parsing() -> Case:
    """Return documents."""
    rows = [{"id": n, "name": f"row {n}", "values": [n, n / 2]} for n in range(15_000)]
    return count_keys, [json.dumps(rows)] * 200


def find_words(text: str) -> int:
    """Count the words with two vowels in a row."""
    return len(re.findall(r"\b\w*[aeiou]{2}\w*\b", text))


def searching() -> Case:
    """Return texts of 100 KB."""
    words = ["".join(CHANCE.choices("abcdefghijklmnopqrstuvwxyz", k=7)) for _ in range(12_500)]
    return find_words, [" ".join(words)] * 200


def shrink(data: bytes) -> int:
    """Make a picture small."""
    image = import_module("PIL.Image")
    small = image.open(io.BytesIO(data)).resize((320, 240))
    out = io.BytesIO()
    small.save(out, "JPEG")
    return out.tell()


def pictures() -> Case:
    """Return JPEG pictures of 1,600 by 1,200."""
    image = import_module("PIL.Image")
    out = io.BytesIO()
    image.effect_noise((1600, 1200), 60).convert("RGB").save(out, "JPEG")
    return shrink, [out.getvalue()] * 200


def summarize(seed: int) -> float:
    """Group a table of 100,000 rows by a column of text."""
    pandas, numpy = import_module("pandas"), import_module("numpy")
    chance = numpy.random.default_rng(seed)
    table = pandas.DataFrame(
        {"rack": chance.integers(0, 500, 100_000).astype(str), "celsius": chance.random(100_000)}
    )
    return float(table.groupby("rack").celsius.mean().max())


def tables() -> Case:
    """Return seeds of tables."""
    return summarize, range(200)


def query(path: str) -> float:
    """Sum up a table of a database in a file."""
    with sqlite3.connect(path) as database:
        return float(
            database.execute("select sum(celsius) from reading where rack % 7 = 3").fetchone()[0]
        )


def databases() -> Case:
    """Return the path of one database, many times."""
    path = str(Path(tempfile.mkdtemp()) / "readings.db")
    with sqlite3.connect(path) as database:
        database.execute("create table reading (rack integer, celsius real)")
        rows = ((n, CHANCE.random()) for n in range(100_000))
        database.executemany("insert into reading values (?, ?)", rows)
    return query, [path] * 400


class Slow(BaseHTTPRequestHandler):
    """Answers after 30 ms."""

    def do_GET(self) -> None:
        """Answer."""
        time.sleep(0.03)
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def fetch(url: str) -> int:
    """Fetch a page with requests where it is installed, else with urllib."""
    if find_spec("requests") is not None:
        return len(import_module("requests").get(url, timeout=10).content)
    with urlopen(url, timeout=10) as answer:  # noqa: S310 - a server of our own
        return len(answer.read())


def pages() -> Case:
    """Return addresses at a server of our own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return fetch, [f"http://127.0.0.1:{server.server_port}/{n}" for n in range(400)]


def ask_python(number: int) -> bytes:
    """Run another program."""
    command = [sys.executable, "-S", "-c", f"print({number} ** 2)"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def programs() -> Case:
    """Return numbers."""
    return ask_python, range(200)


def nap(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


def sleeping() -> Case:
    """Return naps of 20 ms."""
    return nap, [0.02] * 1000


def multiply(seed: int) -> float:
    """Multiply two matrices of 600 by 600, which BLAS does on threads of its own."""
    numpy = import_module("numpy")
    chance = numpy.random.default_rng(seed)
    return float((chance.random((600, 600)) @ chance.random((600, 600))).sum())


def matrices() -> Case:
    """Return seeds of matrices."""
    return multiply, range(200)


CASES: dict[str, tuple[Callable[[], Case], tuple[str, ...]]] = {
    "hashing": (hashing, ()),
    "json": (parsing, ()),
    "regex": (searching, ()),
    "pictures": (pictures, ("PIL",)),
    "pandas": (tables, ("pandas",)),
    "sqlite": (databases, ()),
    "http": (pages, ()),
    "subprocess": (programs, ()),
    "sleep": (sleeping, ()),
    "numpy": (matrices, ("numpy",)),
}


def main(names: Sequence[str]) -> None:
    """Explain the cases that are asked for."""
    for name in names or CASES:
        make, needed = CASES[name]
        missing = [package for package in needed if find_spec(package) is None]
        if missing:
            print(f"== {name}: {missing[0]} is not installed\n")
            continue
        function, items = make()
        print(f"== {name}: {function.__doc__}\n{gs.explain(function, items)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
