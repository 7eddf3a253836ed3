"""`gearshift run --journal FILE`: an output that goes on where the last program stopped.

    journal, in one transaction: outcomes, and how many bytes of FILE.part are made of them
    resume: FILE.part is cut to that, and to before its first failed item; the run gives the
            kept values at their turn, and those whose lines are there are passed over

What cannot be cut (no order, bare values, a part that is gone) is made anew from the journal.
The part is touched only while the journal is ours: a second program is refused before that.
"""

from __future__ import annotations

import csv
import json
import os
import shlex
import stat
import sys
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli.output import write_all
from gearshift.cli.problems import WrongUse, why
from gearshift.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gearshift._run.journal import Journal
    from gearshift.cli.desk import Desk
    from gearshift.cli.records import JsonRecords
    from gearshift.cli.table import CsvTable

__all__ = ["JournalSink", "how_to_go_on", "open_journal", "show"]

_MARK = "output"
_LONGEST_CELL = 2**31 - 1  # the csv module refuses more than 128 KiB if it is not told


class JournalSink:
    """`FILE.part`, which takes the name FILE once it is whole."""

    patient = True

    def __init__(self, path: str, *, in_order: bool, form: str) -> None:
        """Remember the file; it is opened when the journal is ours.

        Args:
            path: The file.
            in_order: Its lines are in the order of the inputs, one for each.
            form: What its lines look like, as text: another form is another file.
        """
        self._shown = path
        self._path = os.path.realpath(path)
        self._part = f"{self._path}.part"
        self._in_order = in_order
        self._form = form
        self._fd = -1
        self._written_bytes = 0
        self._sum = 0  # of those bytes: another program's part is not ours
        self._is_broken = False
        self._noted: Any = None
        self._desk: Desk | None = None
        self._records: JsonRecords | CsvTable | None = None

    def attach(self, journal: Journal, desk: Desk, records: JsonRecords | CsvTable) -> None:
        """Have the journal note how far the file is, and tell us when it is ours."""
        self._desk = desk
        self._records = records
        journal.note_with(self._mark, self._begin)

    def write(self, data: bytes) -> None:
        """Take whole lines.

        Raises:
            OSError: They cannot be written; what comes after them is not noted any more.
        """
        try:
            write_all(self._fd, data)
        except OSError:
            self._is_broken = True  # lines are missing: what comes is not to be counted
            raise
        self._written_bytes += len(data)
        self._sum = zlib.crc32(data, self._sum)

    def close(self, *, whole: bool) -> str:
        """Give the file its name, or say where it is meanwhile."""
        if self._fd < 0:
            return ""
        whole = whole and not (self._desk is not None and self._desk.left)
        try:
            os.ftruncate(self._fd, self._written_bytes)  # a full disk may have cut the last line
            os.fsync(self._fd)
        finally:
            os.close(self._fd)
        if not whole:
            return f"The lines so far are in {self._shown}.part."
        with suppress(OSError):
            os.chmod(self._part, stat.S_IMODE(os.stat(self._path).st_mode))  # noqa: PTH101, PTH116
        os.replace(self._part, self._path)  # noqa: PTH105 - text
        return ""

    def _mark(self) -> Mapping[str, Any]:
        """Return what is to be noted, where it has changed."""
        if self._fd < 0 or self._is_broken or self._desk is None or self._records is None:
            return {}
        mark = {
            "bytes": self._written_bytes,
            "sum": self._sum,
            "form": self._form,
            "in_order": self._in_order and not self._desk.left,
            "state": self._records.state,
        }
        if mark == self._noted:
            return {}
        self._noted = mark
        return {_MARK: mark}

    def _begin(self, meta: Mapping[str, Any]) -> None:
        """Open the part, and cut it to what can be gone on with.

        Raises:
            WrongUse: It cannot be written.
        """
        assert self._desk is not None
        assert self._records is not None
        mark = meta.get(_MARK) or {}
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
            self._fd = os.open(self._part, flags, 0o666)
            is_usable = mark.get("in_order") and self._in_order and mark["form"] == self._form
            size, items = 0, 0
            if is_usable and _sum_of(self._part, mark["bytes"]) == mark.get("sum"):
                prefix = clean_csv if self._form == "csv" else clean_json
                size, items = prefix(self._part, mark["bytes"])
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            raise WrongUse(f"cannot write {self._shown}.part: {why(error)}.") from None
        self._written_bytes = size
        self._sum = _sum_of(self._part, size) or 0
        self._desk.skip = items
        if size:
            self._records.restore(mark["state"])


def _sum_of(path: str, count: int) -> int | None:
    """Return the checksum of a file's first bytes, or None where there are not so many."""
    total = 0
    with open(path, "rb") as file:  # noqa: PTH123 - text
        while count > 0:
            data = file.read(min(count, 1 << 20))
            if not data:
                return None
            count -= len(data)
            total = zlib.crc32(data, total)
    return total


def clean_json(path: str, limit: int) -> tuple[int, int]:
    """Return how many bytes, and how many items, come before the first that failed.

    Args:
        path: A file of JSON records.
        limit: Bytes of it that count.
    """
    size = items = 0
    with open(path, "rb") as file:  # noqa: PTH123 - text
        for line in file:
            if size + len(line) > limit or "error" in json.loads(line):
                break
            size += len(line)
            items += 1
    return size, items


def clean_csv(path: str, limit: int) -> tuple[int, int]:
    """Return the same of a CSV file with a header."""
    size = rows = 0
    pending = 0

    def lines() -> Any:
        nonlocal pending
        with open(path, "rb") as file:  # noqa: PTH123 - text
            for line in file:
                pending += len(line)
                yield line.decode("utf-8", "surrogateescape")

    error_column = -3  # error_type, error_message, attempts
    longest = csv.field_size_limit(_LONGEST_CELL)
    try:
        for row in csv.reader(lines()):
            if size + pending > limit or (rows and row[error_column]):
                break
            size += pending
            pending = 0
            rows += 1
    finally:
        csv.field_size_limit(longest)
    return (size, rows - 1) if rows > 1 else (0, 0)


def open_journal(
    path: str | None, *, output: str | None, resume: bool, failed_only: bool
) -> Journal | None:
    """Return the journal that the command names.

    Args:
        path: `--journal`, or None.
        output: `-o`, or None.
        resume: `--resume`.
        failed_only: `--resume-failed`.

    Raises:
        WrongUse: It would not be gone on with as the user thinks.
    """
    if path is None:
        if resume or failed_only:
            raise WrongUse("--resume goes on with a journal: say --journal FILE.")
        return None
    _check_name(path, str(output))
    if output in {None, "-"} or not _is_ordinary(str(output)):
        raise WrongUse(
            "--journal keeps the output whole over several programs, which standard output or a pipe "
            "cannot be: say -o FILE."
        )
    from gearshift._run.journal import Journal

    journal = Journal(path)
    if _is_begun(journal):
        if not (resume or failed_only):
            raise WrongUse(
                f"--journal {path} is begun already: --resume goes on with it, --show tells what it has; "
                "or delete it, or name another one."
            )
    elif failed_only:
        raise WrongUse(f"--resume-failed: {path} has no failures: it is not begun.")
    elif resume:
        click.echo(f"There is no journal {path} yet: it is begun.", err=True)
    if failed_only:
        journal.only_failed()
    return journal


def _check_name(path: str, output: str) -> None:
    """Refuse a journal's name that is none, or the output's.

    Raises:
        WrongUse: It is so.
    """
    if not path:
        raise WrongUse("--journal '': an empty name is no file.")
    out = os.path.realpath(output)
    if os.path.realpath(path) in {out, f"{out}.part"}:
        raise WrongUse(
            f"--journal {path} is also the output, or its part until it is whole: give it a file of its own."
        )


def show(path: str | None) -> None:
    """Print what a journal has.

    Raises:
        WrongUse: There is none.
    """
    if path is None:
        raise WrongUse("--show prints what a journal has: say --journal FILE.")
    from gearshift._run.journal import Journal

    try:
        summary = Journal(path).summary()
    except JournalError as error:
        raise WrongUse(f"{error}.") from None
    left = "unknown" if summary.left is None else f"{summary.left:,}"
    click.echo(f"function  {summary.function}")
    click.echo(f"done      {summary.done:,}")
    click.echo(f"failed    {summary.failed:,}")
    click.echo(f"left      {left}")
    click.echo(f"in use    {'by ' + summary.holder if summary.holder else 'no'}")
    for item, kind, message, attempts in summary.failures:
        often = f" ({attempts} attempts)" if attempts > 1 else ""
        click.echo(f"  {item} failed: {kind}: {' '.join(message.split())}{often}")
    if summary.failed > len(summary.failures):
        click.echo(f"  and {summary.failed - len(summary.failures):,} more")


def how_to_go_on() -> str:
    """Return the command that goes on with this one."""
    words = [word for word in sys.argv[1:] if word not in {"--resume", "--resume-failed"}]
    place = words.index("--") if "--" in words else len(words)  # what follows it is inputs
    words.insert(place, "--resume")
    return f"To go on: gearshift {shlex.join(words)}"


def _is_begun(journal: Journal) -> bool:
    """Whether there is anything in the journal, or somebody is at it.

    Raises:
        WrongUse: It is something else.
    """
    from gearshift._run.journal_file import is_blank

    try:
        if is_blank(journal.path):  # such as after a loss of power before the first commit
            return False
        summary = journal.summary(failures=0)
    except JournalError as error:
        raise WrongUse(f"{error}.") from None
    return bool(summary.done or summary.failed or summary.holder)


def _is_ordinary(path: str) -> bool:
    """Whether it is a file, or will be."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - text
    except OSError:
        return True
