"""Where the lines go.

Apart from the rest because two promises live here. Standard output carries lines and
nothing else: what the user's function prints goes to standard error. A file is there
only when it is whole: lines go to a hidden neighbour that takes the file's name at the
end; a run that was cut short leaves `FILE.part` instead and FILE as it was.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from gearshift.cli.problems import Broken, WrongUse, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "FileSink",
    "Sink",
    "StreamSink",
    "format_of",
    "open_sink",
    "plug_closed_streams",
    "refuse_input_as_output",
    "write_all",
    "write_whole",
]


class Sink(Protocol):
    """A place for lines."""

    @property
    def patient(self) -> bool:
        """Whether nobody sees the lines before the end."""
        ...

    def write(self, data: bytes) -> None:
        """Take whole lines; they are on their way when it returns."""
        ...

    def close(self, *, whole: bool) -> str:
        """End it; return what is to be said about an output that is not whole, or nothing."""
        ...


class StreamSink:
    """Standard output, or a path that is no ordinary file: what is written is gone."""

    patient = False

    def __init__(self, take: Callable[[bytes], object], *, shut: Callable[[], None] | None) -> None:
        """Write by `take`, end by `shut`."""
        self._take = take
        self._shut = shut

    def write(self, data: bytes) -> None:
        """Take whole lines."""
        self._take(data)

    def close(self, *, whole: bool) -> str:
        """End it; a reader saw for itself how far it went."""
        if self._shut is not None:
            self._shut()
        return ""


class FileSink:
    """A file that appears when it is whole."""

    patient = True

    def __init__(self, path: str) -> None:
        """Begin a hidden neighbour of the file.

        Args:
            path: The file; a link to one is followed.

        Raises:
            WrongUse: It cannot be written there.
        """
        self._shown = path
        self._path = os.path.realpath(path)
        folder, name = os.path.split(self._path)
        self._written_bytes = 0
        self._draft = os.path.join(folder, f".{name}.{os.urandom(4).hex()}")  # noqa: PTH118 - text
        try:
            if os.path.exists(self._path):  # noqa: PTH110 - text
                os.close(os.open(self._path, os.O_WRONLY))  # one that may not be written stays
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._fd = os.open(self._draft, flags, 0o666)
        except OSError as error:
            missing = not os.path.isdir(folder)  # noqa: PTH112 - text
            cure = f" Make its folder first: mkdir -p {folder}" if missing else ""
            raise WrongUse(f"cannot write {path}: {why(error)}.{cure}") from None

    def write(self, data: bytes) -> None:
        """Take whole lines."""
        write_all(self._fd, data)
        self._written_bytes += len(data)

    def close(self, *, whole: bool) -> str:
        """Give the file its name, or, where it is not whole, a name that says so."""
        if not whole and not self._written_bytes:
            os.close(self._fd)
            os.unlink(self._draft)  # noqa: PTH108 - text
            return ""
        with suppress(OSError):
            os.chmod(self._draft, stat.S_IMODE(os.stat(self._path).st_mode))  # noqa: PTH101, PTH116
        try:
            os.ftruncate(self._fd, self._written_bytes)  # a full disk may have cut the last line
            os.fsync(self._fd)
        finally:
            os.close(self._fd)
        os.replace(self._draft, self._path if whole else f"{self._path}.part")  # noqa: PTH105 - text
        return "" if whole else f"The lines so far are in {self._shown}.part."


def format_of(path: str | None, wanted: str | None) -> str:
    """Return the format of the output, "jsonl" or "csv".

    Args:
        path: The file, or None for standard output.
        wanted: What `--format` says, or None to go by the file's ending.

    Raises:
        WrongUse: The ending promises what is not made.
    """
    ending = os.path.splitext(path or "")[1].lower()  # noqa: PTH122 - text
    if ending == ".gz":
        raise WrongUse(
            f"-o {path}: the output is not compressed: leave .gz out, and run gzip on it afterwards."
        )
    if wanted is not None:
        return wanted
    if ending in {".tsv", ".xlsx", ".parquet"}:
        raise WrongUse(f"-o {path}: there are .jsonl and .csv; say which.")
    return "csv" if ending == ".csv" else "jsonl"


def refuse_input_as_output(path: str | None, files: tuple[str, ...]) -> None:
    """Refuse to write over what is read.

    Args:
        path: The file to write, or None for standard output.
        files: Files that are read, or that inputs may name.

    Raises:
        WrongUse: One of them is the output, by whatever name.
    """
    try:
        out = os.fstat(sys.stdout.fileno()) if path is None else os.stat(path)  # noqa: PTH116
    except (OSError, ValueError, AttributeError):  # not there yet; or no real file, in a test
        return
    if not stat.S_ISREG(out.st_mode):
        return
    name = "standard output" if path is None else f"-o {path}"
    cure = "write somewhere else, or leave it out of the inputs"
    for file in files:
        with suppress(OSError, ValueError):
            if os.path.samestat(out, os.stat(file)):  # noqa: PTH116
                raise WrongUse(f"{name} is also the input {file!r}: {cure}.")
    with suppress(OSError, ValueError, AttributeError):
        if os.path.samestat(out, os.fstat(sys.stdin.fileno())):
            raise WrongUse(f"{name} is also standard input: {cure}.")


def plug_closed_streams() -> None:
    """Give descriptors 0 to 2 to the null device where they are closed.

    Else the next file that is opened gets one of them, and what a task prints goes there.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115


@contextmanager
def open_sink(path: str | None) -> Iterator[Sink]:
    """Yield the place for the lines; closing it is the caller's business.

    Args:
        path: A file, or None or `-` for standard output, which then carries lines only.

    Yields:
        The sink.

    Raises:
        WrongUse: The file cannot be written.
    """
    if path is None or path == "-":
        with _lines_only() as take:
            yield StreamSink(take, shut=None)
        return
    try:
        special = not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - text
    except OSError:
        special = False
    if not special:
        yield FileSink(path)
        return
    try:
        fd = os.open(path, os.O_WRONLY)
    except OSError as error:
        raise WrongUse(f"cannot write {path}: {why(error)}.") from None
    yield StreamSink(lambda data: write_all(fd, data), shut=lambda: os.close(fd))


@contextmanager
def _lines_only() -> Iterator[Callable[[bytes], object]]:
    """Keep standard output for the lines; prints go to standard error, from workers too.

    Raises:
        WrongUse: There is no standard output.
    """
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise WrongUse("standard output is closed: say -o FILE.")
    stdout.flush()
    try:
        number = stdout.fileno()
    except (OSError, ValueError):  # a stand-in without a descriptor, as under a test runner
        with redirect_stdout(sys.stderr):
            yield stdout.buffer.write
        return
    lines = os.dup(number)
    os.dup2(2, number)
    try:
        with redirect_stdout(sys.stderr):
            yield lambda data: write_all(lines, data)
    finally:
        with suppress(OSError, ValueError):
            stdout.flush()
        os.dup2(lines, number)
        os.close(lines)


def write_whole(path: str, data: bytes) -> None:
    """Write a file at once: it is there whole, or as it was.

    Raises:
        Broken: It cannot be written.
    """
    draft = f"{path}.{os.urandom(4).hex()}"
    try:
        with open(draft, "xb") as file:  # noqa: PTH123 - text
            file.write(data)
        os.replace(draft, path)  # noqa: PTH105 - text
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)  # noqa: PTH108 - text
        raise Broken(f"writing {path} failed: {why(error)}.") from None


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; a pipe may take less at once."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
