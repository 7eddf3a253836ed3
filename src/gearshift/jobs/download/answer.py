"""What a server says before the body: status and headers."""

from __future__ import annotations

import re

__all__ = ["Answer"]


_LENGTH = re.compile("[0-9]{1,18}")
_EMPTY = {b"\r\n", b"\n"}


class Answer:
    """Status and headers of the last answer, as they came."""

    def __init__(self) -> None:
        """Begin without an answer."""
        self.lines: list[bytes] = []
        self.status: int = 0
        self.version: str = ""
        self.fields: dict[str, str] = {}
        self.length: int | None = None  # of the body, where it says so
        self.is_chunked: bool = False  # its end is marked

    def read(self) -> None:
        """Take what has come so far; redirects and interim answers come before the last."""
        lines = self.lines
        # Only what comes first, or after an empty line, is a status line: anybody may send a header like one.
        starts = (i for i in range(len(lines) - 1, -1, -1) if i == 0 or lines[i - 1] in _EMPTY)
        at = next((i for i in starts if lines[i].startswith(b"HTTP/")), None)
        if at is None:
            return
        words = lines[at].decode("latin-1").split(None, 2)
        self.version = words[0]
        self.status = int(words[1]) if len(words) > 1 and _LENGTH.fullmatch(words[1]) else 0
        self.fields = {}
        for line in lines[at + 1 :]:
            name, colon, value = line.decode("latin-1").partition(":")
            if colon:
                name = name.strip().lower()
                before = self.fields.get(name)
                value = value.strip()
                self.fields[name] = value if before is None else f"{before}, {value}"
        self.is_chunked = "chunked" in self.fields.get("transfer-encoding", "").lower()
        length = self.fields.get("content-length", "")
        is_length = _LENGTH.fullmatch(length) is not None and not self.is_chunked
        self.length = int(length) if is_length else None

    @property
    def tells_its_end(self) -> bool:
        """Whether a body that is cut short can be told from a whole one."""
        return self.length is not None or self.is_chunked or not self.version.startswith("HTTP/1")

    @property
    def validator(self) -> str | None:
        """What says that it is the same file as before: a strong ETag, or the date."""
        tag = self.fields.get("etag", "")
        if tag and not tag.startswith("W/"):
            return tag
        return self.fields.get("last-modified") or None
