"""The second stage of a download: each file decoded, in worker processes, while others are still on their way.

    download run -> Feed -> gs.map(PictureCheck, on="processes") -> records

What is no whole picture goes away again. A file is changed only while it is the one that was fetched (the
same digest, and the same inode to the end): its place is given to the new one at once.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, BinaryIO

from gearshift import Failure, TaskTimeoutError, per_worker
from gearshift import map as run_over
from gearshift.jobs.download.checked import Checked, Outcome
from gearshift.jobs.download.feed import Feed
from gearshift.jobs.download.folder import Folder, sha256_of
from gearshift.jobs.download.record import NO_PICTURE, DownloadError, DownloadRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift import Progress, Run
    from gearshift.jobs.download.pictures import Picture

__all__ = ["Images", "PictureCheck", "check_image", "checked_run", "is_kept"]

FORMATS = ("jpeg", "png", "webp")
PICTURE_SECONDS = 60.0  # for one; a camera's takes below 1 s
THUMBNAILS = "thumbnails"
_HASH_BYTES = 1 << 20


@dataclass(frozen=True)
class Images:
    """What `gs.download(images=)` makes of pictures; every one is decoded in full, whatever is asked for.

    Attributes:
        max_side: Pixels; what is longer or higher is reduced to that, in proportion, and takes the file's place.
        thumbnails: Pixels; a JPEG or PNG that fits into such a square is put under `thumbnails/`.
        format: "jpeg", "png" or "webp"; others are converted, and their file's extension follows.
    """

    max_side: int | None = None
    thumbnails: int | None = None
    format: str | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            TypeError: A number is none.
            ValueError: A number is below 1, or there is no such format.
        """
        for name in ("max_side", "thumbnails"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}={value!r} is not a whole number of pixels")
            if value < 1:
                raise ValueError(f"{name}={value!r} is below 1 pixel")
        if self.format is not None and self.format not in FORMATS:
            names = ", ".join(map(repr, FORMATS))
            raise ValueError(f"format={self.format!r} is not one of {names}")


def checked_run(
    run: Run[DownloadRecord],
    folder: Folder,
    checked: Checked,
    images: Images,
    *,
    ordered: bool,
    total: int | None,
    progress: bool | Callable[[Progress], object] | None,
) -> Run[DownloadRecord]:
    """Return the second stage of a download run, which ends with it."""
    root = os.path.abspath(folder.root)  # noqa: PTH100 - the workers' own folder may be another one day
    folder.became = lambda path, sha256: _is_changed(folder, checked, path, sha256)
    check: Any = PictureCheck(root, images, fsync=folder.fsync)

    def closed() -> None:
        checked.close()
        folder.sweep()  # a worker that was killed may have left something hidden

    return run_over(
        check,
        Feed(run, closed),
        on="processes",
        task_timeout=PICTURE_SECONDS,
        errors=lambda failure: _record_of(folder, failure),
        ordered=ordered,
        total=total,
        progress=progress,
    )


class PictureCheck:
    """The function of the second stage: a good record is returned, another is raised, so that it is counted."""

    def __init__(self, root: str, images: Images, *, fsync: bool) -> None:
        """Keep what the workers need."""
        self._images = images
        self._tools = per_worker(_Making(root, fsync=fsync))

    def __call__(self, record: DownloadRecord) -> DownloadRecord:
        """Check one.

        Raises:
            DownloadError: It is no picture, or was not fetched.
        """
        record = check_image(record, self._images, self._tools())
        if not record.ok:
            raise DownloadError(str(record.error), url=record.url, record=record)
        return record


class _Making:
    """Makes a worker's tools."""

    def __init__(self, root: str, *, fsync: bool) -> None:
        self._root = root
        self._fsync = fsync

    def __call__(self) -> _Tools:
        return _Tools(self._root, fsync=self._fsync)


class _Tools:
    """Folder and notes of one worker."""

    def __init__(self, root: str, *, fsync: bool) -> None:
        self.folder: Folder = Folder(root, fsync=fsync, is_made=True)
        self.checked: Checked = Checked(self.folder.root)

    def close(self) -> None:
        self.checked.close()


def is_kept(folder: Folder, checked: Checked, record: DownloadRecord) -> bool:
    """Whether a file that was fetched is still there, as it was or as what was made of it."""
    if record.path is None or record.sha256 is None:
        return False
    if folder.holds(record.path, record.bytes):
        return True
    with suppress(OSError):  # of the notes: then it is fetched again
        return _outcome(folder, checked, record.path, record.sha256) is not None
    return False


def check_image(record: DownloadRecord, images: Images, tools: _Tools) -> DownloadRecord:
    """Decode a file, make of it what was asked for, and return its record.

    One that was not fetched is returned as it is. A file that this has seen before, for the same `images`,
    is not decoded again while it has its size.
    """
    if not record.ok or record.path is None or record.sha256 is None:
        return record
    fetched = (record.path, record.sha256)
    try:
        kept = _outcome(tools.folder, tools.checked, *fetched)
        if kept is not None and kept.path != record.path:
            _remove(tools.folder, *fetched)  # a program was killed before it did
        if kept is not None and kept.asked == repr(images) and _has_thumbnail(tools.folder, kept):
            return _with(record, kept)
        if kept is not None:
            record = replace(record, path=kept.path, bytes=kept.bytes, sha256=kept.sha256)
        return _Check(record, fetched, images, tools).run()
    except OSError as error:
        words = error.strerror or str(error)
        return replace(
            record, error=f"its picture cannot be stored in {tools.folder.root}: {words}"
        )


class _Check:
    """One file under check."""

    def __init__(
        self, record: DownloadRecord, fetched: tuple[str, str], images: Images, tools: _Tools
    ) -> None:
        assert record.path is not None
        self._record = record
        self._path: str = record.path
        self._fetched = fetched
        self._images = images
        self._folder = tools.folder
        self._checked = tools.checked

    def run(self) -> DownloadRecord:
        """Return the record.

        Raises:
            OSError: Something cannot be read or stored.
        """
        from gearshift.jobs.download.pictures import (  # Pillow, for those who have pictures
            CannotMakeError,
            NoPictureError,
            read_picture,
        )

        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            file = os.fdopen(os.open(self._folder.root / self._path, flags), "rb")
        except FileNotFoundError:
            return self._gone()
        with file:
            if os.fstat(file.fileno()).st_size != self._record.bytes:
                return self._gone()
            try:
                picture = read_picture(file, self._images)
            except NoPictureError as error:
                return self._refused(file, str(error))
            except CannotMakeError as error:
                words = f"it is a picture, but what was asked for cannot be made of it: {error}"
                return replace(self._record, error=words)
            return self._store(file, picture)

    def _store(self, file: BinaryIO, picture: Picture) -> DownloadRecord:
        """Put what was made of a picture into the folder."""
        record = self._record
        assert record.sha256 is not None
        outcome = Outcome(
            path=self._path,
            bytes=record.bytes,
            sha256=record.sha256,
            width=picture.width,
            height=picture.height,
            format=picture.format.lower(),
            thumbnail=None,
            asked=repr(self._images),
        )
        path = self._wanted(picture)
        if picture.thumbnail is not None:
            outcome = replace(outcome, thumbnail=self._thumbnail(path, picture))
        if picture.changed is None and path == self._path:
            self._checked.note(*self._fetched, outcome)
            return _with(record, outcome)
        if not self._is_ours(file):
            return self._gone()
        data = picture.changed
        if data is None:
            file.seek(0)
            data = file.read()
        sha256 = hashlib.sha256(data).hexdigest()
        outcome = replace(outcome, bytes=len(data), sha256=sha256)
        part = self._folder.open_file()
        try:
            part.write(data)
        except BaseException:
            part.discard()
            raise
        was = os.fstat(file.fileno())
        if path == self._path:
            self._checked.note(*self._fetched, outcome)
            is_done = self._folder.replace(part, path, was)
        else:
            outcome = replace(outcome, path=self._folder.place(part, path.split("/"), sha256))
            self._checked.note(*self._fetched, outcome)
            is_done = self._folder.remove(self._path, was)
        return _with(record, outcome) if is_done else self._gone()

    def _wanted(self, picture: Picture) -> str:
        """Return the path that a picture should have."""
        if self._images.format is None:
            return self._path
        from gearshift.jobs.download.pictures import named  # loaded by now

        folders, slash, name = self._path.rpartition("/")
        return folders + slash + named(name, picture.format)

    def _thumbnail(self, path: str, picture: Picture) -> str:
        """Store the thumbnail, and return its path."""
        from gearshift.jobs.download.pictures import named  # loaded by now

        assert picture.thumbnail is not None
        *folders, name = path.split("/")
        part = self._folder.open_file()
        try:
            part.write(picture.thumbnail)
        except BaseException:
            part.discard()
            raise
        parts = (THUMBNAILS, *folders, named(name, picture.thumbnail_format))
        return self._folder.place(part, parts, hashlib.sha256(picture.thumbnail).hexdigest())

    def _is_ours(self, file: BinaryIO) -> bool:
        """Whether an open file has the content that was fetched."""
        file.seek(0)
        digest = hashlib.sha256()
        while data := file.read(_HASH_BYTES):
            digest.update(data)
        return digest.hexdigest() == self._record.sha256

    def _refused(self, file: BinaryIO, words: str) -> DownloadRecord:
        """Take what is no picture away, and say why it is none."""
        if self._is_ours(file):
            self._folder.remove(self._path, os.fstat(file.fileno()))
        return _failed(self._record, NO_PICTURE + words)

    def _gone(self) -> DownloadRecord:
        """Return the record of a file that is not there, or another one now.

        Two lines of a list may have the same file; then the first has changed it, and noted that.
        """
        kept = _outcome(self._folder, self._checked, *self._fetched)
        if kept is not None and kept.asked == repr(self._images):
            return _with(self._record, kept)
        words = "its file is gone, or was changed by another program; or the same one was no picture before"
        return _failed(self._record, NO_PICTURE + words)


def _outcome(folder: Folder, checked: Checked, path: str, sha256: str) -> Outcome | None:
    """Return what a fetched file has become, if that is there."""
    kept = checked.of(path, sha256)
    return kept if kept is not None and folder.holds(kept.path, kept.bytes) else None


def _is_changed(folder: Folder, checked: Checked, path: str, sha256: str) -> bool:
    """Whether what lies there now was made of a file with that digest."""
    with suppress(OSError):  # of the notes: then the name gets a number
        kept = _outcome(folder, checked, path, sha256)
        return kept is not None and kept.path == path
    return False


def _has_thumbnail(folder: Folder, kept: Outcome) -> bool:
    return kept.thumbnail is None or (folder.root / kept.thumbnail).is_file()


_SHARED = tuple(each.name for each in fields(Outcome) if each.name != "asked")


def _with(record: DownloadRecord, outcome: Outcome) -> DownloadRecord:
    """Return a record of what a file has become."""
    return replace(record, **{name: getattr(outcome, name) for name in _SHARED})


def _failed(record: DownloadRecord, words: str) -> DownloadRecord:
    """Return the record of a file that is not there."""
    return replace(record, error=words, path=None, bytes=0, sha256=None)


def _record_of(folder: Folder, failure: Failure) -> DownloadRecord:
    """Return what stands in the place of a record that could not be checked, or was not good."""
    error = failure.exception
    if isinstance(error, DownloadError) and error.record is not None:
        return error.record
    record: DownloadRecord = failure.item
    if not record.ok or record.path is None:
        return record
    _remove(folder, record.path, record.sha256)
    if isinstance(error, TaskTimeoutError):
        words = f"it takes more than {PICTURE_SECONDS:.0f} s to decode"
    else:
        words = f"{type(error).__name__}: {error}"
    return _failed(record, NO_PICTURE + words)


def _remove(folder: Folder, path: str, sha256: str | None) -> None:
    """Take a file away, if it is the one that was fetched."""
    with suppress(OSError):  # it is gone already
        full = folder.root / path
        was = full.lstat()
        if sha256_of(full) == sha256:
            folder.remove(path, was)
