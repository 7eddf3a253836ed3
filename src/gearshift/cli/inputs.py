"""Where the items come from: arguments, files of lines, of JSON, of rows; patterns, standard input.

Apart from the rest because nothing here knows what is done with an item. Lines are read
as they are asked for, so a pipe without an end needs no memory; names from a pattern are
gathered first, since they come sorted. Items are text; or, where JSON or rows are among
them, what `star=True` takes (see `rows`).
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from gearshift.cli.lines import GZIP_MAGIC, Items, LineReader
from gearshift.cli.problems import WrongUse, did_you_mean, why
from gearshift.cli.rows import CsvRows, JsonLines, RecordReader, Texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gearshift.cli.lines import Reader

__all__ = ["Inputs", "check_list", "count_lines", "gather"]

_COUNTED_BYTES = 1 << 26  # counting the lines of 64 MiB takes about 20 ms
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """The items of a run.

    Attributes:
        items: The items: at hand, or to be taken once as they come.
        total: How many, or None where only the end will tell.
        files: Files that are read for them, or that they name, as far as is known.
        star: Each item is a dict of keywords or a tuple of one argument.
    """

    items: list[str] | Items
    total: int | None
    files: tuple[str, ...]
    star: bool = False


def gather(
    arguments: Sequence[str],
    lists: Sequence[str],
    patterns: Sequence[str],
    *,
    jsons: Sequence[str] = (),
    tables: Sequence[str] = (),
    strict: bool = False,
) -> Inputs:
    """Put the kinds of inputs together.

    Args:
        arguments: Items as they stand; `-` is standard input, in its place.
        lists: Files with an item a line; `-` is standard input.
        patterns: Patterns of file names, `**` for any folders.
        jsons: Files with a JSON value a line; `-` is standard input.
        tables: CSV files, whose rows are keywords; `-` is standard input.
        strict: A line that cannot be read is an error, and not its item's failure.

    Returns:
        Arguments first, then the lines, the values, the rows, then the files.

    Raises:
        WrongUse: There is nothing to read, or not what was named.
    """
    read = {"--lines": lists, "--jsonl": jsons, "--csv": tables}
    if not (arguments or patterns or any(read.values())):
        raise WrongUse(
            "no inputs: give them as arguments, or --lines FILE, --jsonl FILE, --csv FILE, "
            "--glob PATTERN, or - to read lines from standard input."
        )
    times = Counter([*arguments, *chain.from_iterable(read.values())])["-"]
    if times > 1:
        raise WrongUse("standard input (-) can be read only once: name it once.")
    if times and sys.stdin is None:
        raise WrongUse("standard input (-) is closed.")
    for option, paths in read.items():
        for path in paths:
            check_list(option, path)
    named = list(chain.from_iterable(_matches(pattern) for pattern in patterns))
    counts = [None if "-" in arguments else len(arguments), len(named)]
    counts += [*map(count_lines, (*lists, *jsons)), *map(_count_rows, tables)]
    known = [count for count in counts if count is not None]
    star = bool(jsons or tables)
    parts: list[Reader | list[Any]] = [*_arguments(arguments), *map(LineReader, lists)]
    if star:
        parts = [_starred(part) for part in parts]
        parts += [RecordReader(LineReader(path), JsonLines(path, strict=strict)) for path in jsons]
        parts += [RecordReader(LineReader(path), CsvRows(path, strict=strict)) for path in tables]
    parts.append(_starred(named) if star else named)
    at_hand = all(isinstance(part, list) for part in parts)
    return Inputs(
        items=list(chain.from_iterable(parts)) if at_hand else Items(parts),
        total=sum(known) if len(known) == len(counts) else None,
        files=tuple(
            path
            for path in (*arguments, *chain.from_iterable(read.values()), *named)
            if path != "-"
        ),
        star=star,
    )


def _arguments(arguments: Sequence[str]) -> list[Reader | list[Any]]:
    """Return the arguments, with standard input in its place."""
    if "-" not in arguments:
        return [list(arguments)]
    at = arguments.index("-")
    return [list(arguments[:at]), LineReader("-"), list(arguments[at + 1 :])]


def _starred(part: Reader | list[Any]) -> Reader | list[Any]:
    """Return text as `star=True` takes it."""
    if isinstance(part, LineReader):
        return RecordReader(part, Texts())
    return [(text,) for text in part]


def check_list(option: str, path: str) -> None:
    """Refuse a file that cannot be read.

    Raises:
        WrongUse: It is missing, a folder, or not ours to read.
    """
    if path == "-":
        return
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - opening a FIFO would wait
    except OSError as error:
        raise WrongUse(f"{option} {path}: {why(error)}.{_near(path)}") from None
    if is_folder:
        cure = "" if option == "--from" else f": for its files say --glob '{path}/*'"
        raise WrongUse(f"{option} {path} is a folder{cure}.")
    if not os.access(path, os.R_OK):
        raise WrongUse(f"{option} {path}: you may not read it.")


def _near(path: str) -> str:
    """Return which file may have been meant instead of one that is not there."""
    folder, name = os.path.split(path)
    try:
        return did_you_mean(name, os.listdir(folder or "."))  # noqa: PTH208 - names only
    except OSError:
        return f" There is no folder {folder!r}."


def _matches(pattern: str) -> list[str]:
    """Return the files that a pattern matches, sorted; folders where it ends with a slash.

    Raises:
        WrongUse: It matches nothing.
    """
    from glob import glob

    found = sorted(glob(pattern, recursive=True))  # noqa: PTH207 - as text, `./` and all
    wants_folders = pattern.endswith(("/", os.sep))
    names = [name for name in found if wants_folders or not os.path.isdir(name)]  # noqa: PTH112
    if not names:
        only = " It matches folders only: end it with a slash to get those." if found else ""
        deep = any("**" in part and part != "**" for part in pattern.split("/"))
        cure = " For any depth write '**' as a part of its own: 'src/**/*.py'." if deep else ""
        raise WrongUse(f"--glob {pattern!r} matches no file.{only or cure}")
    return names


def _is_file(path: str) -> bool:
    """Say whether it is an ordinary file, whose next line is always there."""
    return path != "-" and stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - text


def count_lines(path: str) -> int | None:
    """Return how many lines a file has, where that is quick to see."""
    if not _is_file(path) or os.stat(path).st_size > _COUNTED_BYTES:  # noqa: PTH116 - text
        return None
    count, last = 0, b"\n"
    with open(path, "rb") as file:  # noqa: PTH123 - the text as it was given
        while block := file.read(_BLOCK_BYTES):
            if last == b"\n" and count == 0 and block.startswith(GZIP_MAGIC):
                return None
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _count_rows(path: str) -> int | None:
    """Return how many rows a CSV file has, where its lines tell."""
    lines = count_lines(path)
    if lines is None:
        return None
    with open(path, "rb") as file:  # noqa: PTH123 - the text as it was given
        if any(b'"' in block for block in iter(lambda: file.read(_BLOCK_BYTES), b"")):
            return None  # a quoted cell may hold line ends
    return max(0, lines - 1)
