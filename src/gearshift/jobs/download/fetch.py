"""One file: what is asked of libcurl, what is made of the answer, and whether that is the whole file.

    begin -> (headers, write ...) -> end          in the loop's thread
                                      -> finish   in a finisher's: check, name, record

A small body stays in memory until then. A large one goes to its file as it comes, by a thread of its
own, which also hashes it. Nothing has its final name before its length, or the end of its chunks, and
its checksum were seen to be right. An answer that says neither is fetched once more and compared.
Over 400 lines, since what a transfer has seen decides in each of its methods.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pycurl

from gearshift import __version__
from gearshift.jobs.download.answer import Answer
from gearshift.jobs.download.decode import DecodeError, Decoder, TooLargeError
from gearshift.jobs.download.entries import Entry, redacted
from gearshift.jobs.download.names import name_of, wanted
from gearshift.jobs.download.record import DownloadError, DownloadRecord, TransientDownloadError
from gearshift.jobs.download.when import retry_after_seconds
from gearshift.jobs.download.writer import Partial, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gearshift.jobs.download.folder import Folder, PartFile
    from gearshift.jobs.download.loop import Transfer
    from gearshift.jobs.download.names import Template
    from gearshift.jobs.download.robots import Robots

__all__ = ["Fetch", "Limits"]

IN_MEMORY_BYTES = 1 << 20  # of a body, before it goes to a file
BUFFER_BYTES = 1 << 19
MOST_REDIRECTS = 10
CONNECT_SECONDS = 10
SLOW_SECONDS = 15  # for which it may be slower than `min_speed`
UNKNOWN_SECONDS = 25.0  # for an answer that does not say how long it is
UNKNOWN_BYTES = 1 << 30  # the same
MOST_COMPARED = 4  # fetches of an answer without a length, of which two have to agree
LEAST_RESUMED_BYTES = 1 << 20
ERROR_BODY_BYTES = 1 << 16
OK_STATUS, ERROR_STATUS, PARTIAL_STATUS = 200, 400, 206
REDIRECT_STATUS = 300
RANGE_STATUS, EMPTY_STATUS = 416, {204, 205}
REFUSALS = {429, 503}
TRANSIENT_STATUS = {408, 421, 425, 429}
SERVER_ERROR, NEVER_AGAIN = 500, {501, 505}
WEB = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
AGENT = f"gearshift/{__version__}"

_TRANSIENT_CODES = {
    pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_CONNECT,
    pycurl.E_PARTIAL_FILE, pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_GOT_NOTHING,
    pycurl.E_OPERATION_TIMEDOUT, pycurl.E_SSL_CONNECT_ERROR, pycurl.E_HTTP2,
    92, 95, 96,  # CURLE_HTTP2_STREAM, CURLE_HTTP3, CURLE_QUIC_CONNECT_ERROR: pycurl has no names for them
}  # fmt: skip
_PASSWORD = re.compile(r"//[^/@\s]*@")
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TWICE_AT_MOST = {pycurl.E_OPERATION_TIMEDOUT}  # each takes many seconds


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a transfer may take.

    Attributes:
        max_seconds: For one attempt, or None: then for answers of unknown length only.
        max_bytes: Size of a stored file, or None: the same.
        min_speed: Bytes a second; slower for 15 s, and it is given up.
    """

    max_seconds: float | None = None
    max_bytes: int | None = None
    min_speed: int = 1000


@dataclass(
    frozen=True, slots=True, kw_only=True
)  # without a __dict__, a journal takes any for the same
class Fetch:
    """Makes the transfer of an entry; what all of them share.

    Attributes:
        folder: Where files go.
        limits: What each may take.
        headers: Sent with every request.
        template: Of names, or None.
        robots: What sites allow, where `robots.txt` and `X-Robots-Tag: noai` are respected, or None.
        certificates: File of trusted ones.
        partials: What attempts that broke off have left, by the entry's index.
    """

    folder: Folder
    limits: Limits = field(default_factory=Limits)
    headers: tuple[tuple[str, str], ...] = ()
    template: Template | None = None
    robots: Robots | None = None
    certificates: str | None = None
    partials: dict[int, Partial] = field(default_factory=dict)

    def __call__(self, numbered: tuple[int, Entry]) -> Transfer:
        """Return the transfer, or first that of the site's robots.txt.

        Raises:
            DownloadError: The entry cannot be fetched.
        """
        index, entry = numbered
        if entry.fault is not None:
            raise DownloadError(entry.fault, url=redacted(entry.url))
        if self.robots is None:
            return FileTransfer(self, index, entry)
        from gearshift.jobs.download.robots import RobotsTransfer, check_allowed  # for the polite

        url = entry.request_url
        if self.robots.allows(url) is None:
            return RobotsTransfer(self.robots, url, lambda: FileTransfer(self, index, entry))
        check_allowed(self.robots, url)
        return FileTransfer(self, index, entry)


class FileTransfer:
    """See the module's head; a `Transfer` of the engine."""

    def __init__(
        self, fetch: Fetch, index: int, entry: Entry, before: list[tuple[int, str]] | None = None
    ) -> None:
        """Prepare.

        Args:
            fetch: What all transfers share.
            index: Of the entry in the list.
            entry: What to fetch.
            before: Sizes and digests of earlier answers, none of which told its end.
        """
        self._fetch = fetch
        self._index = index
        self._entry = entry
        self._before = before or []
        self._answer = Answer()
        self._is_read = False  # the headers were
        self._body: list[bytes] = []
        self._file: PartFile | None = None
        self._writer: Writer | None = None
        self._digest: Any = None
        self._fault: DownloadError | None = None
        self._code = 0
        self._message = ""
        self._asked_url = ""
        self._final_url: str | None = None
        self._resumed: Partial | None = None
        self._was_resumed = False
        self._is_rest = False  # what came is the rest of a file
        self._before_bytes = 0  # of which so many were there
        self._began = 0.0
        self._received = 0  # bytes of the body in this attempt
        self._seconds = 0.0
        self.setup: object = fetch
        self.attempt: int = 1
        self.size: int = 0
        self.latency: float = 0.0
        self.is_refused: bool = False

    # The loop's thread

    def begin(self, curl: Any, *, is_set_up: bool) -> None:
        """Set the options; those that all transfers share only where they are not set."""
        put = curl.setopt
        if not is_set_up:
            self._set_up(put)
        self._asked_url = self._entry.request_url
        put(pycurl.URL, self._asked_url)
        put(pycurl.HEADERFUNCTION, self._answer.lines.append)
        put(pycurl.WRITEFUNCTION, self._write)
        if not self._before and self._fetch.partials:
            self._resumed = self._fetch.partials.pop(self._index, None)
        headers = list(self._entry.headers)
        self._was_resumed = self._resumed is not None
        if self._resumed is not None:
            put(pycurl.RANGE, f"{self._resumed.file.size}-")
            headers.append(("If-Range", self._resumed.validator))
        if headers:
            headers += self._fetch.headers
            put(pycurl.HTTPHEADER, _lines(headers))
            self.setup = None  # the next one shall not have these
        self._began = time.monotonic()

    def _set_up(self, put: Callable[[int, Any], None]) -> None:
        """Set what is the same for all files of a run."""
        limits = self._fetch.limits
        put(pycurl.PROTOCOLS, WEB)
        put(pycurl.REDIR_PROTOCOLS, WEB)
        put(pycurl.FOLLOWLOCATION, 1)
        put(pycurl.MAXREDIRS, MOST_REDIRECTS)
        put(pycurl.NOSIGNAL, 1)
        put(pycurl.CONNECTTIMEOUT, CONNECT_SECONDS)
        put(pycurl.LOW_SPEED_LIMIT, limits.min_speed)
        put(pycurl.LOW_SPEED_TIME, SLOW_SECONDS)
        put(pycurl.BUFFERSIZE, BUFFER_BYTES)
        put(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
        put(pycurl.USERAGENT, AGENT)
        if limits.max_seconds is not None:
            put(pycurl.TIMEOUT_MS, max(1, int(1000 * limits.max_seconds)))
        if self._fetch.certificates is not None:
            put(pycurl.CAINFO, self._fetch.certificates)
        if self._fetch.headers:
            put(pycurl.HTTPHEADER, _lines(self._fetch.headers))

    def _write(self, data: bytes) -> int | None:
        """Take a piece of the body; anything but None ends the transfer."""
        try:
            return None if self._take(data) else -1
        except OSError as error:
            self._fault = self._cannot_store(error)
        except Exception as error:  # libcurl would only print it
            self._fault = self._error(DownloadError, f"{type(error).__name__}: {error}")
        return -1

    def _take(self, data: bytes) -> bool:
        if not self._is_read and not self._begin_body():
            return False
        self._received += len(data)
        if self._answer.status >= ERROR_STATUS:  # an error page is not the file
            return self._received <= ERROR_BODY_BYTES
        if self._is_too_much():
            return False
        if self._writer is not None:
            self._writer.put(data)
            return self._writer.error is None
        self._body.append(data)
        if self._received > IN_MEMORY_BYTES:
            self._begin_file()
        return True

    def _begin_body(self) -> bool:
        """Look at the headers; return whether the body is wanted."""
        self._is_read = True
        answer = self._answer
        answer.read()
        if not self._take_up():
            return False
        most = self._fetch.limits.max_bytes
        length = None if answer.length is None else self._before_bytes + answer.length
        if most is not None and length is not None and length > most:
            self._fault = self._error(
                DownloadError, f"it has {length:,} bytes, and max_size is {most:,}"
            )
            return False
        return not self._is_unwelcome()

    def _is_unwelcome(self) -> bool:
        """Whether the site does not want this to be fetched by machines, and that counts."""
        robots = self._fetch.robots
        if robots is None:
            return False
        if "noai" in self._answer.fields.get("x-robots-tag", "").lower():
            words = "the site asks not to be fetched by machines (X-Robots-Tag: noai)"
        elif self._final_url is not None and robots.allows(self._final_url) is False:
            words = "it leads to what the site's robots.txt does not allow"
        else:
            return False
        self._fault = self._error(DownloadError, words)
        return True

    def _take_up(self) -> bool:
        """Go on with what an attempt before has left, if this is its rest; return whether the body is wanted."""
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            return True
        answer = self._answer
        said = _RANGE.fullmatch(answer.fields.get("content-range", ""))
        if answer.status >= ERROR_STATUS and answer.status != RANGE_STATUS:
            self._fetch.partials[self._index] = resumed  # as good as before
        elif answer.status != PARTIAL_STATUS:
            resumed.file.discard()  # it is another file now, or comes from its beginning
        elif (
            said is not None
            and int(said[1]) == resumed.file.size
            and int(said[3]) == resumed.total_bytes
            and int(said[2]) + 1 == resumed.total_bytes  # to the end
            and answer.validator == resumed.validator  # not every server heeds If-Range
        ):
            self._is_rest = True
            self._before_bytes = resumed.file.size
            self._file, self._digest = resumed.file, resumed.digest
            self._writer = Writer(self._file, self._digest)
        else:
            resumed.file.discard()
            self._fault = self._error(
                TransientDownloadError, "got another part of the file than was asked for"
            )
            return False
        return True

    def _is_too_much(self) -> bool:
        """Whether the body is longer, or takes longer, than it may."""
        limits, answer = self._fetch.limits, self._answer
        most = limits.max_bytes
        if most is None and answer.length is None:
            most = UNKNOWN_BYTES
        if most is not None and self._before_bytes + self._received > most:
            self._fault = self._error(
                DownloadError,
                f"given up after {most:,} bytes: say max_size where a file may be larger",
            )
            return True
        if answer.length is None and limits.max_seconds is None:
            seconds = time.monotonic() - self._began
            if seconds > UNKNOWN_SECONDS:
                self._fault = self._error(
                    DownloadError,
                    f"given up after {seconds:.0f} s and {self._received:,} bytes: the answer does not "
                    "say how long it is; say max_time where it may take longer",
                )
                return True
        return False

    def _begin_file(self) -> None:
        """Have what came and what comes written by a thread."""
        self._file = self._fetch.folder.open_file()
        self._digest = hashlib.sha256()
        self._writer = Writer(self._file, self._digest)
        for piece in self._body:
            self._writer.put(piece)
        self._body.clear()

    def end(self, curl: Any, code: int, message: str) -> None:
        """Read what is to be known of the handle."""
        self._code, self._message = code, message
        info = curl.getinfo
        self._final_url = curl.getinfo_raw(pycurl.EFFECTIVE_URL).decode("utf-8", "backslashreplace")
        self.latency = max(0.0, info(pycurl.STARTTRANSFER_TIME) - info(pycurl.PRETRANSFER_TIME))
        self.size = self._received
        self._seconds = time.monotonic() - self._began
        if not self._is_read:
            self._is_read = True
            self._answer.read()
        self.is_refused = self._answer.status in REFUSALS

    def is_overdue(self, seconds: float) -> bool:
        """Whether it never comes to a body that counts: libcurl throws away those of redirects."""
        if self._fetch.limits.max_seconds is not None or seconds <= UNKNOWN_SECONDS:
            return False
        if not self._is_read:
            self._answer.read()
        is_body = self._is_read and OK_STATUS <= self._answer.status < REDIRECT_STATUS
        return not is_body or self._answer.length is None

    @property
    def place(self) -> str:
        """Host and port."""
        return urlsplit(self._entry.url).netloc.rpartition("@")[2]

    def abandon(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.end()
        if self._resumed is not None:
            self._resumed.file.discard()
            self._resumed = None
        if self._file is not None:
            self._file.discard()
            self._file = None
        self._body.clear()

    # A finisher's thread

    def finish(self) -> DownloadRecord | FileTransfer:
        """Check what came and store it.

        Raises:
            DownloadError: There is no file.
        """
        try:
            return self._finish()
        except OSError as error:
            raise self._cannot_store(error) from None
        finally:
            self.abandon()

    def _finish(self) -> DownloadRecord | FileTransfer:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.end()
            if writer.error is not None:
                raise writer.error
        self._check()
        coding = self._answer.fields.get("content-encoding", "identity")
        if coding.lower() not in {"", "identity"} and self._received:
            self._decode(coding)
        elif self._file is not None and self._file.size != self._before_bytes + self._received:
            raise OSError(f"{self._file.size:,} bytes of {self._received:,} were written")
        sha256, size = self._digested()
        self._check_sum(sha256)
        unverified = None
        if not self._answer.tells_its_end and self._entry.checksum is None:
            again, unverified = self._compare(size, sha256)
            if again is not None:
                return again
        file = self._stored()
        path = self._fetch.folder.place(file, self._parts(), sha256)
        self._file = None
        return DownloadRecord(
            url=redacted(self._entry.url),
            final_url=self._shown_url,
            path=path,
            bytes=size,
            sha256=sha256,
            seconds=self._seconds,
            attempts=self.attempt,
            status=self._answer.status,
            unverified=unverified,
        )

    def _check(self) -> None:
        """Refuse what is no whole file.

        Raises:
            DownloadError: It is none.
        """
        if self._fault is not None or (self._final_url is not None and self._is_unwelcome()):
            assert self._fault is not None
            raise self._fault
        answer = self._answer
        if answer.status >= ERROR_STATUS:  # whatever became of its page
            raise self._status_error()
        if self._code:
            self._keep_part()
            raise self._curl_error()
        is_good = OK_STATUS <= answer.status < OK_STATUS + 100
        is_part = answer.status == PARTIAL_STATUS and not self._is_rest
        if not is_good or is_part or answer.status in EMPTY_STATUS:
            raise self._status_error()
        if answer.length is None and "content-length" in answer.fields and not answer.is_chunked:
            raise self._error(DownloadError, "its Content-Length is no number that can be")
        if answer.length is not None and self._received != answer.length:
            raise self._error(
                TransientDownloadError,
                f"got {self._received:,} of {answer.length:,} bytes: the connection broke off",
            )

    def _keep_part(self) -> None:
        """Keep what came of a large file for the next attempt, if that can tell that it is the same."""
        if self._resumed is not None:  # no answer came: what there was is as good as before
            self._fetch.partials[self._index] = self._resumed
            self._resumed = None
            return
        file, validator = self._file, self._answer.validator
        is_resumable = self._code in _TRANSIENT_CODES and self._answer.status in {
            OK_STATUS,
            PARTIAL_STATUS,
        }
        if file is None or validator is None or file.size < LEAST_RESUMED_BYTES or not is_resumable:
            return
        if "content-encoding" in self._answer.fields or self._answer.length is None:
            return
        self._file = None
        total_bytes = self._before_bytes + self._answer.length
        self._fetch.partials[self._index] = Partial(file, self._digest, validator, total_bytes)

    def _decode(self, coding: str) -> None:
        """Undo a coding that nobody asked for.

        Raises:
            DownloadError: It cannot be undone, or there is too much of it.
        """
        try:
            decoder = Decoder(coding, most_bytes=self._fetch.limits.max_bytes)
        except DecodeError as error:
            raise self._error(DownloadError, f"its Content-Encoding: {error}") from None
        plain = self._fetch.folder.open_file()
        digest = hashlib.sha256()
        try:
            for piece in self._pieces():
                for part in decoder.feed(piece):
                    plain.write(part)
                    digest.update(part)
            decoder.end()
        except (DecodeError, TooLargeError) as error:
            plain.discard()
            is_cut = isinstance(error, DecodeError) and not self._answer.tells_its_end
            kind = TransientDownloadError if is_cut else DownloadError
            raise self._error(kind, f"its Content-Encoding {coding}: {error}") from None
        except BaseException:
            plain.discard()
            raise
        if self._file is not None:
            self._file.discard()
        self._body.clear()
        self._file, self._digest = plain, digest

    def _pieces(self) -> Any:
        """Yield the body as it came."""
        if self._file is None:
            yield from self._body
            return
        at = 0
        while data := os.pread(self._file.fd, BUFFER_BYTES, at):
            at += len(data)
            yield data

    def _digested(self) -> tuple[str, int]:
        """Return the digest and the size of the body."""
        if self._file is not None:
            return self._digest.hexdigest(), self._file.size
        if len(self._body) != 1:  # each call lets go of the GIL, and gets it back late
            self._body = [b"".join(self._body)]
        return hashlib.sha256(self._body[0]).hexdigest(), len(self._body[0])

    def _check_sum(self, sha256: str) -> None:
        """Hold the file against its checksum.

        Raises:
            TransientDownloadError: It is another; it may have been damaged on the way.
        """
        if self._entry.checksum is None:
            return
        kind, _, due = self._entry.checksum.partition(":")
        if kind == "sha256":
            got = sha256
        else:
            digest = hashlib.new(kind, usedforsecurity=False)
            for piece in self._pieces():
                digest.update(piece)
            got = digest.hexdigest()
        if got != due:
            raise self._error(
                TransientDownloadError, f"its {kind} is {got}, and the list says {due}"
            )

    def _compare(self, size: int, sha256: str) -> tuple[FileTransfer | None, str | None]:
        """Return the transfer that fetches it once more, or None and why it is not certain, if it is not."""
        before = self._before
        longest = max((each for each, _ in before), default=0)
        is_seen = (size, sha256) in before
        if is_seen and size >= longest and size:  # two that were cut are equal, too
            return None, None
        if len(before) + 1 < MOST_COMPARED:
            entry = [*before, (size, sha256)]
            return FileTransfer(self._fetch, self._index, self._entry, entry), None
        if size < longest:
            raise self._error(
                TransientDownloadError,
                f"the answer says neither its length nor its end, and {MOST_COMPARED} of them differ",
            )
        return None, f"it says neither its length nor its end, and {MOST_COMPARED} answers differ"

    def _stored(self) -> PartFile:
        """Return the file with all of the body."""
        if self._file is None:
            self._file = self._fetch.folder.open_file()
            self._file.write(self._body[0])
        return self._file

    def _parts(self) -> tuple[str, ...]:
        """Return the wanted path below the folder."""
        if self._entry.name is not None:
            return wanted(self._entry.name)
        fields = self._answer.fields
        name = name_of(
            self._final_url or self._entry.url,
            disposition=fields.get("content-disposition"),
            content_type=fields.get("content-type"),
        )
        template = self._fetch.template
        if template is None:
            return (name,)
        return template.components(index=self._index, name=name, url=self._entry.url)

    # What is said of a failure

    @property
    def _shown_url(self) -> str | None:
        if self._final_url is None:
            return None
        return redacted(self._entry.url if self._final_url == self._asked_url else self._final_url)

    def _error(
        self, kind: type[DownloadError], message: str, *, retry_after: float | None = None
    ) -> DownloadError:
        return kind(
            message,
            url=redacted(self._entry.url),
            final_url=self._shown_url,
            status=self._answer.status or None,
            retry_after=retry_after,
        )

    def _cannot_store(self, error: OSError) -> DownloadError:
        return self._error(
            DownloadError,
            f"it cannot be stored in {self._fetch.folder.root}: {error.strerror or error}",
        )

    def _curl_error(self) -> DownloadError:
        code = self._code
        kind = TransientDownloadError if code in _TRANSIENT_CODES else DownloadError
        if code in _TWICE_AT_MOST and self.attempt > 1:
            kind = DownloadError
        words = _hidden(self._message) or "libcurl gives no reason"
        return self._error(kind, f"{words} (curl {code})")

    def _status_error(self) -> DownloadError:
        status = self._answer.status
        is_transient = status in TRANSIENT_STATUS or (
            status >= SERVER_ERROR and status not in NEVER_AGAIN
        )
        if status == RANGE_STATUS and self._was_resumed:
            is_transient = True  # it is another file now, and is fetched from its beginning
        wait = None
        if is_transient and (value := self._answer.fields.get("retry-after")):
            with suppress(ValueError):
                wait = retry_after_seconds(value, time.time())
        kind = TransientDownloadError if is_transient else DownloadError
        words = f"the server answers {status}"
        if status in EMPTY_STATUS:
            words += ": there is nothing to store"
        if status == PARTIAL_STATUS:
            words = "the server answers with a part of the file that nobody asked for"
        return self._error(kind, words, retry_after=wait)


def _lines(headers: Iterable[tuple[str, str]]) -> list[bytes]:
    """Return headers as libcurl wants them: one without a value ends with a semicolon, or it would be left out."""
    return [(f"{name}: {value}" if value else f"{name};").encode() for name, value in headers]


def _hidden(message: str) -> str:
    """Return what libcurl says without the passwords that are in it, such as of a proxy."""
    return _PASSWORD.sub("//***@", message)
