"""What came of a download: the record that the user gets, and the errors that lie behind a failed one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gearshift.errors import GearshiftError

__all__ = ["NO_PICTURE", "DownloadError", "DownloadRecord", "TransientDownloadError"]

NO_PICTURE = "it is no whole picture: "  # how the error of such a record begins


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRecord:
    """One line of the list, and what came of it.

    Attributes:
        url: As it was asked for, without passwords.
        final_url: Where redirects led, or None where no answer came.
        path: The file below the folder, with "/" between folders, or None where there is none. Beside an
            error it is there as it came, and what `images=` asks for could not be made of it.
        bytes: Size of the stored file.
        sha256: Its digest in hexadecimal, or None.
        seconds: What the last attempt took.
        attempts: How often it was tried.
        status: The HTTP status of the last answer, or None where none came.
        error: Why there is no file, or None.
        unverified: Why nobody can be sure that the file is whole, or None.
        width: Of the picture, as it is shown, in pixels; with `images=` only, as what follows.
        height: The same.
        format: Such as "jpeg".
        thumbnail: Path of its thumbnail below the folder.
    """

    url: str
    final_url: str | None = None
    path: str | None = None
    bytes: int = 0
    sha256: str | None = None
    seconds: float = 0.0
    attempts: int = 0
    status: int | None = None
    error: str | None = None
    unverified: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    thumbnail: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the file is there."""
        return self.error is None

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle quickly: a journal pickles each, and a frozen dataclass takes six times as long."""
        return _rebuilt, (
            self.url, self.final_url, self.path, self.bytes, self.sha256, self.seconds,
            self.attempts, self.status, self.error, self.unverified,
            self.width, self.height, self.format, self.thumbnail,
        )  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)


def _rebuilt(*values: Any) -> DownloadRecord:
    """Return a record from its attributes, in their order."""
    return DownloadRecord(**dict(zip(DownloadRecord.__slots__, values, strict=False)))


class DownloadError(GearshiftError):
    """A file was not fetched, and trying again would not help.

    Attributes:
        url: What was asked for, without passwords.
        final_url: Where redirects led, or None.
        status: The HTTP status, or None where no answer came.
        retry_after: Seconds that the other side asks to wait, or None.
        record: What stands in its place, where that is known already.
    """

    def __init__(
        self,
        message: str,
        *,
        url: str = "",
        final_url: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        record: DownloadRecord | None = None,
    ) -> None:
        """Keep what is known."""
        super().__init__(message)
        self.url = url
        self.final_url = final_url
        self.status = status
        self.retry_after = retry_after
        self.record = record


class TransientDownloadError(DownloadError):
    """A file was not fetched this time: the network, or a server that is too busy."""
