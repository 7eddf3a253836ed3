"""The list of `gearshift download`: URLs, JSON lines or CSV rows, as the first line shows.

Apart from the command since it only says which of the readers of `rows` a list is for. A line that cannot be
read is an entry that fails, with the place of the fault.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

from gearshift.cli.inputs import check_list, count_lines
from gearshift.cli.lines import Items, LineReader
from gearshift.cli.rows import BadLine, CsvRows, JsonLines, RecordReader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gearshift.cli.rows import Parser

__all__ = ["read_list"]

_OPTION = "--from"
_MOST_CHARACTERS = 10_000  # of a CSV's first line


def read_list(path: str) -> tuple[Items, int | None]:
    """Return the entries of a list as they come, and about how many, where that is quick to see.

    Args:
        path: A file, gzipped or not, or - for standard input.

    Raises:
        WrongUse: There is no such file.
    """
    check_list(_OPTION, path)
    return Items([RecordReader(LineReader(path), UrlList(path))]), count_lines(path)


class UrlList:
    """Makes what `gs.download` takes of lines."""

    def __init__(self, path: str) -> None:
        """Begin; `path` is for messages."""
        self._path = path
        self._parser: Parser | None = None
        self._empty = 0  # lines before the first that is not

    def feed(self, line: str) -> list[Any]:
        """Return the entries that are complete."""
        if self._parser is None:
            if not line.strip():
                self._empty += 1
                return []
            self._parser = self._parser_for(line)
            for _ in range(self._empty):
                self._parser.feed("")
        return [entry for item in self._parser.feed(line) for entry in _entries_of(item)]

    def end(self) -> list[Any]:
        """Return what is left after the last line."""
        items = [] if self._parser is None else self._parser.end()
        return [entry for item in items for entry in _entries_of(item)]

    def _parser_for(self, first: str) -> Parser:
        if first.lstrip().startswith("{"):
            return JsonLines(self._path, strict=False, option=_OPTION)
        if _is_header(first):
            return CsvRows(self._path, strict=False, option=_OPTION)
        return _Urls()


class _Urls:
    """A line is a URL, unless it is empty or a comment."""

    def feed(self, line: str) -> list[Any]:
        text = line.strip()
        return [(text,)] if text and not text.startswith("#") else []

    def end(self) -> list[Any]:
        return []


def _is_header(line: str) -> bool:
    """Whether it names the columns of a CSV."""
    if "://" in line or len(line) > _MOST_CHARACTERS:  # the csv module refuses long cells
        return False
    return "url" in {name.strip().lower() for name in next(csv.reader([line]), [])}


def _entries_of(item: Any) -> list[Any]:
    """Return what the download takes: a mapping, text, or an entry that says why it fails."""
    if isinstance(item, BadLine):
        from gearshift.jobs.download.entries import Entry  # for those who have bad lines

        return [Entry(item.text, fault=item.why)]
    return [_row(item) if isinstance(item, dict) else item[0]]


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with plain names, without empty cells, and with headers taken apart."""
    entry = {name.strip().lower(): value for name, value in row.items() if value != ""}
    if isinstance(entry.get("headers"), str):
        entry["headers"] = _headers(entry["headers"])
    return entry


def _headers(cell: str) -> Any:
    """Return the headers of a cell: JSON, or a line each."""
    if cell.lstrip().startswith(("{", "[")):
        try:
            return json.loads(cell)
        except (ValueError, RecursionError):
            return cell  # it is no header either, and says so at its turn
    pairs = (line.partition(":") for line in cell.splitlines() if line.strip())
    return [(name.strip(), value.strip()) for name, _, value in pairs]
