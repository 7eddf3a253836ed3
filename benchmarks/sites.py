"""What some workloads need around them: files, a database, an HTTP server in a process of its own.

Apart from the tasks: it is made before the clock starts and is gone afterwards. Run as a
program it is that server.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 4_000_000
BLOCKS = 48


@contextmanager
def small_files(folder: Path) -> Iterator[Path]:
    """Hold 2,000 files of 4 KB."""
    chance = random.Random(1)
    for number in range(2000):
        (folder / str(number)).write_bytes(chance.randbytes(4096))
    yield folder


@contextmanager
def large_file(folder: Path) -> Iterator[Path]:
    """Hold one file of 48 blocks."""
    path = folder / "large"
    block = random.Random(2).randbytes(BLOCK_BYTES)
    with path.open("wb") as file:
        for _ in range(BLOCKS):
            file.write(block)
    yield path


@contextmanager
def database(folder: Path) -> Iterator[Path]:
    """Hold a table of 20,000 sales."""
    path = folder / "sales.db"
    chance = random.Random(3)
    rows = [
        (chance.randrange(500), chance.randrange(9), chance.randrange(99)) for _ in range(20_000)
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table sales (shop integer, amount integer, price integer)")
        connection.executemany("insert into sales values (?, ?, ?)", rows)
    yield path


@contextmanager
def server(_: Path) -> Iterator[str]:
    """Hold an HTTP server; its address, to which `/MILLISECONDS/WORD` is added."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()
            process.wait()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    milliseconds, word = head.split()[1].split(b"/")[1:]
    await asyncio.sleep(int(milliseconds) / 1000)
    body = word * 100
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
    writer.write(body)
    await writer.drain()
    writer.close()


async def _serve() -> None:
    listening = await asyncio.start_server(_answer, "127.0.0.1", 0, backlog=1024)
    print(listening.sockets[0].getsockname()[1], flush=True)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
