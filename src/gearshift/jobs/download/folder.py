"""The folder that files go into: whole under their final names, or not there at all.

    open_file() -> a file without a name (Linux: O_TMPFILE), or with a hidden one -> place(): its name, at once
                                                     -> replace(): the name of one of ours, at once

A name is given by a link, which fails where the name is taken: two files never meet under one name, and
nothing is ever overwritten. A program that is killed leaves nothing, or a hidden file that the next
one takes away. Used by several threads; `_lock` guards the numbers of names that are taken.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gearshift.jobs.download.names import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Folder", "PartFile", "sha256_of"]

HIDDEN = ".gearshift-{pid}-{number}.part"
_STALE = re.compile(r"\.gearshift-(\d+)-\d+\.part")
_NO_TMPFILE = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
_MOST_NAMES = 65_536  # of which the last number is remembered
_HASH_BYTES = 1 << 20


class PartFile:
    """A file that has no final name yet."""

    def __init__(self, fd: int, path: Path | None) -> None:
        """Take an open descriptor and, where the system gives none without a name, the hidden path."""
        self.fd: int = fd
        self.path: Path | None = path
        self.size: int = 0

    def write(self, data: bytes) -> None:
        """Append all of it.

        Raises:
            OSError: It cannot be written, such as on a full disk.
        """
        view = memoryview(data)
        while view:
            written = os.write(self.fd, view)
            self.size += written
            view = view[written:]

    def write_all(self, pieces: list[bytes]) -> None:
        """Append pieces, in one call where the system takes them.

        Raises:
            OSError: They cannot be written.
        """
        written = os.writev(self.fd, pieces[:1024])
        self.size += written
        for piece in pieces:
            if written >= len(piece):
                written -= len(piece)
            else:
                self.write(piece[written:])
                written = 0

    def truncate(self, size: int = 0) -> None:
        """Drop what comes after so many bytes."""
        os.ftruncate(self.fd, size)
        os.lseek(self.fd, size, os.SEEK_SET)
        self.size = size

    def discard(self) -> None:
        """Leave nothing of it; may be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)
        if self.path is not None:
            with suppress(FileNotFoundError):
                self.path.unlink()
            self.path = None

    def __del__(self) -> None:
        """Leave nothing of what nobody holds any more."""
        self.discard()


class _Taken:
    """The numbered files of a name: the last number, and which there are of a size."""

    def __init__(self) -> None:
        self.last: int = 1
        self.by_size: dict[int, list[str]] = {}


class Folder:
    """See the module's head."""

    def __init__(
        self, root: str | os.PathLike[str], *, fsync: bool = False, is_made: bool = False
    ) -> None:
        """Make the folder if it is not there, and take away what killed programs have left.

        Args:
            root: Where the files go.
            fsync: Have each file on the disk before it has its name, and the name, too.
            is_made: Another process has done that.

        Raises:
            OSError: It cannot be made, or not be written to.
        """
        self.root: Path = Path(root).absolute()  # the program may go to another folder meanwhile
        self._path = str(self.root)  # pathlib would take a tenth of a small file's time
        self.fsync: bool = fsync
        # Asked with a path and a digest: is what lies there what became of a file with that digest?
        self.became: Callable[[str, str], bool] | None = None
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._taken: OrderedDict[str, _Taken] = OrderedDict()  # by the first path of a name
        self._known: OrderedDict[str, tuple[int, int, str]] = OrderedDict()  # size, mtime, digest
        self._has_nameless = hasattr(os, "O_TMPFILE")
        if not is_made:
            self.root.mkdir(parents=True, exist_ok=True)
            self.sweep()
            self.open_file().discard()  # says now what could not be written later

    def sweep(self) -> None:
        """Remove the hidden files of programs that are gone."""
        for entry in os.scandir(self.root):
            found = _STALE.fullmatch(entry.name)
            if found is not None and not _is_alive(int(found[1])):
                with suppress(OSError):
                    Path(entry.path).unlink()

    def open_file(self) -> PartFile:
        """Return a new file to be written.

        Raises:
            OSError: It cannot be made.
        """
        if self._has_nameless:
            try:
                return PartFile(
                    os.open(self._path, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666), None
                )
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
                self._has_nameless = False
        path = self.root / HIDDEN.format(pid=os.getpid(), number=next(self._numbers))
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        return PartFile(os.open(path, flags, 0o666), path)

    def place(self, file: PartFile, parts: Sequence[str], sha256: str) -> str:
        """Give a file its name, and return its path below the folder.

        Where the name is taken by a file of the same content, or by what became of that, that one
        stays and is returned; else the name gets a number.

        Args:
            file: The whole file; it is closed.
            parts: Wanted path below the folder, safe names each.
            sha256: Digest of the file.

        Raises:
            OSError: It cannot be named.
        """
        *folders, name = parts
        above = self._path if not folders else self._folder(folders)
        try:
            if self.fsync:
                os.fsync(file.fd)
            placed = self._name(file, above, name, sha256)
            if self.fsync:
                _sync_folder(above)
        finally:
            file.discard()
        return "/".join((*folders, placed))

    def _folder(self, folders: Sequence[str]) -> str:
        """Return the path of a folder below, which is made if it is not there.

        Raises:
            OSError: It leads out, by a link that was there.
        """
        above = self.root.joinpath(*folders)
        for _ in range(2):  # before anything is made, too
            if not above.resolve().is_relative_to(self.root.resolve()):
                raise OSError(errno.EXDEV, f"{'/'.join(folders)} leads out of {self.root}")
            above.mkdir(parents=True, exist_ok=True)
        return str(above)

    def holds(self, path: str, size: int) -> bool:
        """Whether there is a file of that size."""
        try:
            return os.stat(f"{self._path}/{path}").st_size == size  # noqa: PTH116 - once for each kept record
        except OSError:
            return False

    def replace(self, file: PartFile, path: str, was: os.stat_result) -> bool:
        """Put a file in the place of one of ours, at once, and return whether that one was still there.

        Args:
            file: The whole file; it is closed.
            path: Of the other, below the folder.
            was: What is known of that.

        Raises:
            OSError: It cannot be put there.
        """
        hidden = f"{self._path}/{HIDDEN.format(pid=os.getpid(), number=next(self._numbers))}"
        target = f"{self._path}/{path}"
        try:
            if self.fsync:
                os.fsync(file.fd)
            if file.path is None:
                self._try_link(file, hidden)
                file.path = Path(hidden)  # `discard` takes it away from now on
            if not _is_still(target, was):
                return False
            file.path.replace(target)
            file.path = None
            if self.fsync:
                _sync_folder(os.path.dirname(target))  # noqa: PTH120 - as everywhere here
        finally:
            file.discard()
        return True

    def remove(self, path: str, was: os.stat_result) -> bool:
        """Take one of our files away, and return whether it was still there.

        Raises:
            OSError: It cannot be taken away.
        """
        target = f"{self._path}/{path}"
        if not _is_still(target, was):
            return False
        os.unlink(target)  # noqa: PTH108 - the same
        return True

    def _name(self, file: PartFile, above: str, name: str, sha256: str) -> str:
        """Link the file under the first free name, and return that."""
        key = f"{above}/{name}"
        if self._try_link(file, key):
            return name
        if self._is_same(key, file.size, sha256):
            return name
        if self.became is not None and self.became(key[len(self._path) + 1 :], sha256):
            return name
        with self._lock:
            taken = self._taken.get(key)
            if taken is None:
                taken = self._taken[key] = self._numbered_files(above, name)
                if len(self._taken) > _MOST_NAMES:
                    self._taken.popitem(last=False)
            number = taken.last
            twins = list(taken.by_size.get(file.size, ()))
        for twin in twins:
            if self._is_same(f"{above}/{twin}", file.size, sha256):
                return twin
        while True:
            number += 1
            placed = numbered(name, number)
            if self._try_link(file, f"{above}/{placed}"):
                break
        with self._lock:
            taken.last = max(number, taken.last)
            taken.by_size.setdefault(file.size, []).append(placed)
        return placed

    def _numbered_files(self, above: str, name: str) -> _Taken:
        """Return what there is of a name with numbers, from programs before us, too."""
        taken = _Taken()
        while True:
            placed = numbered(name, taken.last + 1)
            try:
                size = os.lstat(f"{above}/{placed}").st_size
            except OSError:
                return taken
            taken.last += 1
            taken.by_size.setdefault(size, []).append(placed)

    def _try_link(self, file: PartFile, path: str) -> bool:
        """Give the file this name, unless it is taken.

        Raises:
            OSError: It cannot be given.
        """
        try:
            if file.path is None:
                link = f"/proc/self/fd/{file.fd}"
                os.link(link, path, src_dir_fd=file.fd)  # with it Python follows the link
            else:
                os.link(file.path, path)
        except FileExistsError:
            return False
        except OSError as error:
            if file.path is None or error.errno not in {
                errno.EPERM,
                errno.EOPNOTSUPP,
                errno.ENOSYS,
            }:
                raise
            return self._try_rename(file, path)  # no links here, as on FAT
        return True

    def _try_rename(self, file: PartFile, path: str) -> bool:
        """Rename the file, unless the name is taken: by anybody else, that may be seen too late."""
        assert file.path is not None
        with self._lock:
            if os.path.lexists(path):
                return False
            file.path.rename(path)
            file.path = None
        return True

    def _is_same(self, path: str, size: int, sha256: str) -> bool:
        """Whether a file that is there has this content."""
        try:
            state = os.lstat(path)
            if state.st_size != size or not stat.S_ISREG(state.st_mode):
                return False
            mark = (state.st_size, state.st_mtime_ns)
            with self._lock:
                known = self._known.get(path)
            if known is None or known[:2] != mark:
                known = (*mark, sha256_of(path))
                with self._lock:
                    self._known[path] = known
                    if len(self._known) > _MOST_NAMES:
                        self._known.popitem(last=False)
        except OSError:  # it went meanwhile, or cannot be read
            return False
        return known[2] == sha256


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the digest of a file, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:  # noqa: PTH123 - a descriptor's path is none of Path
        while data := file.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest()


def _is_alive(pid: int) -> bool:
    """Whether there is such a process, as far as we may know."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def _is_still(path: str, was: os.stat_result) -> bool:
    """Whether a path leads to the file that it led to."""
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(state, was) and state.st_mtime_ns == was.st_mtime_ns


def _sync_folder(path: str) -> None:
    """Have the names in a folder on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
