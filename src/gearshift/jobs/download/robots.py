"""What sites allow machines to fetch (RFC 9309): asked once a site, before its first file.

    FileTransfer wanted -> RobotsTransfer (/robots.txt of its site) -> FileTransfer, or refused

Of several that ask at the same time each asks; the first answer is kept. A site that has no such file
allows all; one that cannot say (5xx, no connection) is asked again with the retry.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

import pycurl

from gearshift.jobs.download.entries import redacted
from gearshift.jobs.download.record import DownloadError, TransientDownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.jobs.download.loop import Transfer

_NUMBERS = re.compile(r"\s*(crawl-delay|request-rate)\s*:", re.IGNORECASE)

__all__ = ["Robots", "RobotsTransfer", "check_allowed"]

MOST_BYTES = 500 * 1024  # RFC 9309, section 2.5: at least so much is to be read
SECONDS = 15
WEB = pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS
MOST_REDIRECTS = 5
MOST_SITES = 10_000  # that are remembered
OK_STATUS, MISSING_STATUS, SERVER_ERROR = 200, 400, 500


class Robots:
    """What is known of the sites; any thread may ask."""

    def __init__(self, agent: str, *, certificates: str | None = None) -> None:
        """Begin with nothing known.

        Args:
            agent: The name by which robots.txt may speak of us.
            certificates: File of trusted ones, or None to leave them to libcurl.
        """
        self.agent: str = agent
        self.certificates: str | None = certificates
        self._sites: dict[str, RobotFileParser] = {}
        self._lock = threading.Lock()

    def allows(self, url: str) -> bool | None:
        """Whether a URL may be fetched, or None where its site was not asked yet."""
        with self._lock:
            site = self._sites.get(_site(url))
        return None if site is None else site.can_fetch(self.agent, url)

    def learn(self, url: str, text: str) -> None:
        """Keep what the site of a URL has said; nothing allows all."""
        parser = RobotFileParser()
        lines = [
            line for line in text.splitlines() if not _NUMBERS.match(line)
        ]  # it fails on odd ones
        parser.parse(lines)
        with self._lock:
            if len(self._sites) >= MOST_SITES:
                del self._sites[next(iter(self._sites))]
            self._sites.setdefault(_site(url), parser)


class RobotsTransfer:
    """Asks a site, and goes on with a file's transfer where that is allowed."""

    def __init__(self, robots: Robots, url: str, make: Callable[[], Transfer]) -> None:
        """Prepare.

        Args:
            robots: Where the answer is kept.
            url: Of the file, in ASCII.
            make: Makes the file's transfer.
        """
        self._robots = robots
        self._url = url
        self._make = make
        self._body = bytearray()
        self._status = 0
        self._message = ""
        self.setup: object = None
        self.attempt: int = 1
        self.size: int = 0
        self.latency: float = 0.0
        self.is_refused: bool = False

    def begin(self, curl: Any, *, is_set_up: bool) -> None:
        """Set the options."""
        curl.setopt(pycurl.URL, f"{_site(self._url)}/robots.txt")
        curl.setopt(pycurl.PROTOCOLS, WEB)
        curl.setopt(pycurl.REDIR_PROTOCOLS, WEB)
        curl.setopt(pycurl.FOLLOWLOCATION, 1)
        curl.setopt(pycurl.MAXREDIRS, MOST_REDIRECTS)
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT, SECONDS)
        curl.setopt(pycurl.USERAGENT, self._robots.agent)
        if self._robots.certificates is not None:
            curl.setopt(pycurl.CAINFO, self._robots.certificates)
        curl.setopt(pycurl.WRITEFUNCTION, self._write)

    def _write(self, data: bytes) -> int | None:
        self._body += data[: MOST_BYTES - len(self._body)]
        return None if len(self._body) < MOST_BYTES else -1  # the rest does not count

    def end(self, curl: Any, code: int, message: str) -> None:
        """Read the status."""
        self._status = curl.getinfo(pycurl.RESPONSE_CODE)
        self._message = f"{message} (curl {code})" if code else ""
        self.size = len(self._body)
        self.latency = curl.getinfo(pycurl.STARTTRANSFER_TIME)

    @property
    def place(self) -> str:
        """Host and port."""
        return urlsplit(self._url).netloc.rpartition("@")[2]

    def is_overdue(self, seconds: float) -> bool:
        """Whether it takes too long: libcurl sees to that."""
        return False

    def abandon(self) -> None:
        """Leave nothing: there is nothing."""

    def finish(self) -> Transfer:
        """Return the file's transfer.

        Raises:
            DownloadError: The site does not want it fetched, or could not be asked.
        """
        if not self._status or self._status >= SERVER_ERROR:
            words = self._message or f"the server answers {self._status}"
            raise self._error(
                TransientDownloadError, f"its site's robots.txt cannot be read: {words}"
            )
        text = self._body.decode("utf-8", "replace") if self._status < MISSING_STATUS else ""
        self._robots.learn(self._url, text)
        check_allowed(self._robots, self._url)
        return self._make()

    def _error(self, kind: type[DownloadError], message: str) -> DownloadError:
        return kind(message, url=redacted(self._url))


def check_allowed(robots: Robots, url: str) -> None:
    """Refuse what the site does not want fetched.

    Raises:
        DownloadError: It is so.
    """
    if robots.allows(url) is False:
        raise DownloadError("the site's robots.txt does not allow it", url=redacted(url))


def _site(url: str) -> str:
    """Return scheme, host and port of a URL, without a password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
