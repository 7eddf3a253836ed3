"""Where the items come from: arguments, files of lines, patterns, standard input.

Apart from the rest because nothing here knows what is done with an item. Lines are read
as they are asked for, so a pipe without an end needs no memory; names from a pattern are
gathered first, since they come sorted. All items are text.
"""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from gearshift.cli.lines import Items, LineReader
from gearshift.cli.problems import WrongUse, did_you_mean, why

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Inputs", "gather"]

_COUNTED_BYTES = 1 << 26  # counting the lines of 64 MiB takes about 20 ms
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Inputs:
    """The items of a run.

    Attributes:
        items: The items: at hand, or to be taken once as they come.
        total: How many, or None where only the end will tell.
        files: Files that are read for them, or that they name, as far as is known.
    """

    items: list[str] | Items
    total: int | None
    files: tuple[str, ...]


def gather(arguments: Sequence[str], lists: Sequence[str], patterns: Sequence[str]) -> Inputs:
    """Put the kinds of inputs together.

    Args:
        arguments: Items as they stand; `-` is standard input, in its place.
        lists: Files with an item a line; `-` is standard input.
        patterns: Patterns of file names, `**` for any folders.

    Returns:
        Arguments first, then the lines, then the files.

    Raises:
        WrongUse: There is nothing to read, or not what was named.
    """
    if not (arguments or lists or patterns):
        raise WrongUse(
            "no inputs: give them as arguments, or --lines FILE, --glob PATTERN, "
            "or - to read lines from standard input."
        )
    times = Counter([*arguments, *lists])["-"]
    if times > 1:
        raise WrongUse("standard input (-) can be read only once: name it once.")
    if times and sys.stdin is None:
        raise WrongUse("standard input (-) is closed.")
    for path in lists:
        _check_list(path)
    named = list(chain.from_iterable(_matches(pattern) for pattern in patterns))
    counts = [None if "-" in arguments else len(arguments), *map(_count, lists), len(named)]
    known = [count for count in counts if count is not None]
    return Inputs(
        items=_together(arguments, lists, named),
        total=sum(known) if len(known) == len(counts) else None,
        files=tuple(path for path in (*arguments, *lists, *named) if path != "-"),
    )


def _together(
    arguments: Sequence[str], lists: Sequence[str], named: Sequence[str]
) -> list[str] | Items:
    """Return all items, at hand where that is possible."""
    if not lists and "-" not in arguments:
        return [*arguments, *named]
    parts: list[LineReader | list[str]] = [*map(LineReader, lists), list(named)]
    if "-" in arguments:
        at = arguments.index("-")
        return Items([list(arguments[:at]), LineReader("-"), list(arguments[at + 1 :]), *parts])
    return Items([list(arguments), *parts])


def _check_list(path: str) -> None:
    """Refuse a file of lines that cannot be read.

    Raises:
        WrongUse: It is missing, a folder, or not ours to read.
    """
    if path == "-":
        return
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - opening a FIFO would wait
    except OSError as error:
        raise WrongUse(f"--lines {path}: {why(error)}.{_near(path)}") from None
    if is_folder:
        raise WrongUse(f"--lines {path} is a folder: for its files say --glob '{path}/*'.")
    if not os.access(path, os.R_OK):
        raise WrongUse(f"--lines {path}: you may not read it.")


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


def _count(path: str) -> int | None:
    """Return how many lines a file has, where that is quick to see."""
    if not _is_file(path) or os.stat(path).st_size > _COUNTED_BYTES:  # noqa: PTH116 - text
        return None
    count, last = 0, b"\n"
    with open(path, "rb") as file:  # noqa: PTH123 - the text as it was given
        while block := file.read(_BLOCK_BYTES):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")
