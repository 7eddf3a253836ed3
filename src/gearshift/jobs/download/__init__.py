"""`gs.download`: many files at once, each whole or not there, with nothing to tune.

    urls -> entries -> gs.map(Fetch, on=CurlEngine) -> records
            entries.py  fetch.py: one file   engine.py, loop.py: libcurl   pace.py: how many at once
            names.py    answer.py, decode.py, when.py, robots.py: what is said of it
                        writer.py: large ones   folder.py: temporary and final names
    records -> gs.map(PictureCheck, on="processes") -> records, with images=
               images.py, pictures.py: Pillow   feed.py: from run to run   checked.py: what was seen before

Written with public names only: retries, rate, journal, order and progress are those of any run.
"""

from __future__ import annotations

import os
from collections.abc import Sized
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift import Failure, Journal, Rate, Retry, Run
from gearshift import map as run_over
from gearshift.jobs.download.checked import Checked
from gearshift.jobs.download.entries import Entry, headers_of, numbered, redacted
from gearshift.jobs.download.folder import Folder
from gearshift.jobs.download.names import Template
from gearshift.jobs.download.record import DownloadError, DownloadRecord, TransientDownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gearshift import Progress
    from gearshift.jobs.download.fetch import Fetch
    from gearshift.jobs.download.images import Images
    from gearshift.jobs.download.robots import Robots

__all__ = ["DownloadError", "DownloadRecord", "download"]

JOURNAL = ".gearshift.journal"
LONGEST_WAIT_SECONDS = 60.0  # of a Retry-After
WAIT_SECONDS = 0.1  # before the first retry
CERTIFICATES = (  # where systems have them: Debian, Fedora, SUSE, Alpine and the BSDs
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
CHUNK = 8  # entries that are handed over together; each is a transfer of its own
KEY_BYTES = 16
LONGEST_SECONDS = 1e6
BUFFERED = 4096  # records that wait for an earlier one


def download(
    urls: Iterable[str | Mapping[str, Any] | Entry],
    into: str | os.PathLike[str],
    *,
    connections: int | None = None,
    per_host: int | None = None,
    limit: Rate | None = None,
    retries: int = 5,
    max_time: float | None = None,
    max_size: int | None = None,
    min_speed: int = 1000,
    name: str | None = None,
    headers: Mapping[str, str] | None = None,
    polite: bool = False,
    fsync: bool = False,
    again: bool = False,
    ordered: bool = True,
    total: int | None = None,
    progress: bool | Callable[[Progress], object] | None = None,
    images: Images | None = None,
) -> Run[DownloadRecord]:
    """Fetch files into a folder, and return a run of their records, one for each URL.

    A file is under its name when it is whole, and not before. No failure is raised: the record says
    why there is no file. A second call with the same folder fetches only what is not there yet.

    Args:
        urls: What to fetch: URLs, or mappings with `url` and, if wanted, `name`, `checksum` (such as
            "sha256:..."), `headers`. Taken as they are needed, so there may be millions.
        into: The folder; it is made if it is not there.
        connections: Transfers at once; found while it runs if not said.
        per_host: Transfers from one host at once, at most.
        limit: At most so many files begun per time, as in `gs.Rate(100, per=1.0)`, retries included;
            redirects and comparisons come on top.
        retries: How often a file is tried again after errors of the network, 429 and 5xx; a
            `Retry-After` is waited for, up to 60 s.
        max_time: Seconds for one attempt. Without it, an answer that does not say how long it is gets 25 s.
        max_size: Bytes of a stored file. Without it, such an answer gets 1 GiB.
        min_speed: Bytes a second; a transfer that is slower for 15 s is given up.
        name: Template of the names, such as "{index:06}-{name}"; fields are index, name, stem, ext,
            host, path.
        headers: Sent with every request. Where a redirect leads to another host, `Authorization` and
            `Cookie` stay behind, and others go along.
        polite: Respect each site's robots.txt, and leave alone what answers `X-Robots-Tag: noai`.
        fsync: Have each file on the disk before it has its name.
        again: Forget what was fetched before.
        ordered: False gives records as they come.
        total: How many there are, where `urls` cannot say.
        progress: As in `gs.map`.
        images: Decode each file in worker processes while others are fetched, take away what is no whole
            picture, and reduce, convert or make thumbnails as `gs.Images` says. Needs Pillow.

    Returns:
        The run. With `images` it is that of the checks: its report and progress count records, failures of
        downloads among the failures, and what its workers did; retries, connections and what was there
        already are not in it, but each record has its attempts.

    Raises:
        OSError: The folder cannot be made or written to.
        TypeError: An argument is of the wrong type.
        UnsupportedError: libcurl is not there, or Pillow, which `images` needs.
        ValueError: An argument has a wrong value.
    """
    # Says what to install where libcurl is not.
    from gearshift.jobs.download.engine import CurlEngine
    from gearshift.jobs.download.fetch import AGENT, Fetch, Limits

    _check(max_time=max_time, max_size=max_size, min_speed=min_speed)
    _check_images(images)
    if not os.fspath(into):
        raise ValueError(f"into={into!r} is empty: name the folder that the files go into")
    engine = CurlEngine(connections, per_host=per_host, is_lent=False)
    folder = Folder(into, fsync=fsync)
    certificates = _certificates()
    fetch = Fetch(
        folder=folder,
        limits=Limits(max_seconds=max_time, max_bytes=max_size, min_speed=min_speed),
        headers=headers_of(headers),
        template=None if name is None else Template(name),
        robots=_robots(AGENT, certificates) if polite else None,
        certificates=certificates,
    )
    checked = None if images is None else Checked(folder.root)
    if total is None and isinstance(urls, Sized):
        total = len(urls)
    function: Any = fetch  # to the engine; to the run it is what gives records
    run: Run[DownloadRecord] = run_over(
        function,
        numbered(urls),
        on=engine,
        chunksize=CHUNK,
        buffersize=BUFFERED,
        errors=partial(_record_of, fetch),
        retries=Retry(
            retries,
            wait=WAIT_SECONDS,
            on=(TransientDownloadError,),
            longest_wait=LONGEST_WAIT_SECONDS,
        ),
        limit=limit,
        journal=_journal(folder, checked, again=again),
        ordered=ordered,
        total=total,
        progress=progress if images is None else None,
    )
    if images is None or checked is None:
        return run
    from gearshift.jobs.download.images import checked_run  # for those who have pictures

    return checked_run(
        run, folder, checked, images, ordered=ordered, total=total, progress=progress
    )


def _robots(agent: str, certificates: str | None) -> Robots:
    """Return what will know the sites' robots.txt."""
    from gearshift.jobs.download.robots import Robots  # 12 ms, for the polite

    return Robots(agent, certificates=certificates)


def _journal(folder: Folder, checked: Checked | None, *, again: bool) -> Journal:
    """Return the journal of a folder, which knows files by what was made of them where those are checked.

    With `again`, nothing that it has holds.
    """
    path = folder.root / JOURNAL
    if again:
        return Journal(path, key=_key, still=lambda _record: False)
    if checked is None:
        return Journal(path, key=_key, still=lambda record: _is_there(folder, record))
    from gearshift.jobs.download.images import is_kept  # for those who have pictures

    return Journal(path, key=_key, still=lambda record: is_kept(folder, checked, record))


def _key(numbered: tuple[int, Entry]) -> str:
    """Return what an entry is known by: what is asked for, and under which name; a URL may hold a password."""
    entry = numbered[1]
    text = "\n".join((entry.url, entry.name or "", entry.checksum or ""))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).hexdigest()


def _is_there(folder: Folder, record: DownloadRecord) -> bool:
    """Whether the file of a record is still there."""
    return record.path is not None and folder.holds(record.path, record.bytes)


def _record_of(fetch: Fetch, failure: Failure) -> DownloadRecord:
    """Return the record of an entry that was not fetched."""
    half = fetch.partials.pop(failure.item[0], None)
    if half is not None:
        half.file.discard()
    error = failure.exception
    entry: Entry = failure.item[1]
    if isinstance(error, DownloadError):
        final_url, status, words = error.final_url, error.status, str(error)
    else:
        final_url, status, words = None, None, f"{type(error).__name__}: {error}"
    return DownloadRecord(
        url=redacted(entry.url),
        final_url=final_url,
        seconds=failure.seconds,
        attempts=failure.attempts,
        status=status,
        error=words,
    )


def _check_images(images: object) -> None:
    """Refuse what says nothing about pictures.

    Raises:
        TypeError: It is no `gs.Images`.
    """
    if images is None:
        return
    from gearshift.jobs.download import pictures  # says what to install where Pillow is not
    from gearshift.jobs.download.images import Images  # beside it

    del pictures
    if not isinstance(images, Images):
        raise TypeError(f"images={images!r} is not a gs.Images, such as gs.Images(max_side=1024)")


def _check(*, max_time: float | None, max_size: int | None, min_speed: int) -> None:
    """Refuse numbers that make no sense.

    Raises:
        TypeError: One is no number.
        ValueError: One is.
    """
    for name, value, kind in (
        ("max_time", max_time, int | float),
        ("max_size", max_size, int),
        ("min_speed", min_speed, int),
    ):
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise TypeError(f"{name}={value!r} is not a {'whole ' * (kind is int)}number")
    if max_time is not None and not 0 < max_time <= LONGEST_SECONDS:
        raise ValueError(f"max_time={max_time!r} is not a number of seconds above 0")
    if max_size is not None and max_size < 1:
        raise ValueError(f"max_size={max_size!r} is below 1: no file would be small enough")
    if not 0 <= min_speed < 2**31:
        raise ValueError(f"min_speed={min_speed!r} is not a number of bytes a second, 0 or more")


def _certificates() -> str | None:
    """Return a file of certificates that this system trusts, or None to leave it to libcurl.

    The libcurl of a wheel looks where the machine that built it had them.
    """
    named = os.environ.get("CURL_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE")
    for path in (named, *CERTIFICATES):
        if path and Path(path).is_file():
            return path
    import ssl  # 10 ms, where none of those is there

    return ssl.get_default_verify_paths().cafile
