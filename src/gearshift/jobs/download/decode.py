"""Undo a Content-Encoding that nobody asked for.

Apart from the fetching: it knows no connection and no file, only bytes. Each coding of the chain is a
stage, which takes a piece, and gives pieces on to the next:

    wire -> _Stage("br") -> _Stage("gzip") -> pieces of at most 256 KB

Invariant: what is held at any time is a few pieces per stage, however much the input would become;
and `end` returns only when every stage has seen the end that its format marks.
"""

from __future__ import annotations

import zlib
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from gearshift.errors import GearshiftError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["DecodeError", "Decoder", "TooLargeError"]

PIECE_BYTES = 2**18  # given out at most
SLICE_BYTES = 2**16  # taken in at a time: zlib copies the rest of it for every piece
FREE_BYTES = 2**20  # of output, before its size is held against the input
MOST_TIMES = 200  # the input; zlib itself reaches 1032, and pictures seldom 10
MOST_CODINGS = 4  # in a chain; libcurl takes 5
ZSTD_WINDOW_LOG = 23  # 8 MB: what RFC 9659 allows in HTTP
GZIP_BITS, ZLIB_BITS, RAW_BITS = 31, 15, -15
ZLIB_HEAD_BYTES = 2
SHOWN_CHARACTERS = 80


class DecodeError(GearshiftError, ValueError):
    """What came is not what its Content-Encoding says, not all of it, or more than it."""


class TooLargeError(GearshiftError, ValueError):
    """What came becomes larger than was allowed, or than honest data does."""


class Decoder:
    """The bytes of one answer, decoded as they come.

    Attributes:
        taken_bytes: As they came.
        given_bytes: Decoded.
    """

    def __init__(self, encoding: str, *, most_bytes: int | None = None) -> None:
        """Begin an answer.

        Args:
            encoding: Its Content-Encoding: codings in the order in which they were applied.
            most_bytes: Decoded bytes at most.

        Raises:
            DecodeError: A coding is unknown here, or there are too many.
        """
        codings = [each.strip().lower() for each in encoding.split(",")]
        codings = [each for each in codings if each not in {"", "identity"}]
        if len(codings) > MOST_CODINGS:
            raise DecodeError(
                f"the answer says that it is encoded {len(codings)} times, which is done only to do "
                f"harm ({MOST_CODINGS} are decoded): ask its server for it with no encoding"
            )
        self._stages = [_Stage(each, _kind(each)) for each in reversed(codings)]
        self._encoding = ", ".join(codings)
        self._most_bytes = most_bytes
        self.taken_bytes: int = 0
        self.given_bytes: int = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode what came; what is given has to be taken to its end before more is fed.

        Args:
            data: The next bytes, any number of them.

        Yields:
            Pieces of 1 byte to 256 KB.

        Raises:
            TooLargeError: It is more than `most_bytes`, or than 200 times what came.
        """
        for start in range(0, len(data), SLICE_BYTES):
            part = data[start : start + SLICE_BYTES]
            self.taken_bytes += len(part)
            for piece in self._through(part, 0):
                self.given_bytes += len(piece)
                if self._most_bytes is not None and self.given_bytes > self._most_bytes:
                    raise TooLargeError(
                        f"got {self.given_bytes} bytes and more, decoded, where at most "
                        f"{self._most_bytes} are allowed: allow more, or leave it out"
                    )
                yield piece

    def end(self) -> None:
        """Say that all has come.

        Raises:
            DecodeError: It cannot be all.
        """
        for stage in self._stages:
            stage.end()

    def _through(self, data: bytes, index: int) -> Iterator[bytes]:
        """Send bytes through the stages from one on.

        Raises:
            TooLargeError: One gives too much for what came.
        """
        if index == len(self._stages):
            yield data
            return
        stage = self._stages[index]
        for piece in stage.feed(data):
            if stage.given_bytes > max(FREE_BYTES, MOST_TIMES * self.taken_bytes):
                raise TooLargeError(
                    f"{self.taken_bytes} bytes of {self._encoding} became {stage.given_bytes} and "
                    f"more, over {MOST_TIMES} times as many, as is made to fill a disk: if it is "
                    "meant, ask its server for it with no encoding"
                )
            yield from self._through(piece, index + 1)


class _Codec(Protocol):
    """One member of a stream; some formats have several, one after another."""

    @property
    def ended(self) -> bool:
        """The format's own mark of the end has come."""
        ...

    @property
    def rest(self) -> bytes:
        """What came behind that."""
        ...

    def push(self, data: bytes) -> Iterator[bytes]:
        """Yield all that can be given, in pieces."""
        ...


class _Kind(NamedTuple):
    make: Callable[[], _Codec]
    error: type[Exception]
    is_repeated: bool  # members may follow each other


class _Stage:
    """One coding of the chain."""

    def __init__(self, coding: str, kind: _Kind) -> None:
        self._coding = coding
        self._kind = kind
        self._codec: _Codec | None = None
        self._ended = 0  # members
        self.given_bytes: int = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._codec is None:
                if self._ended and not self._kind.is_repeated:
                    raise self._wrong("has something behind its end")
                self._codec = self._kind.make()
            try:
                for piece in self._codec.push(data):
                    self.given_bytes += len(piece)
                    yield piece
            except self._kind.error as error:
                what = "has something behind its end" if self._ended else "is broken"
                raise self._wrong(f"{what} ({error})") from error
            if not self._codec.ended:
                return
            data, self._codec = self._codec.rest, None
            self._ended += 1

    def end(self) -> None:
        if self._codec is not None or not self._ended:
            raise self._wrong("stops before its end")

    def _wrong(self, what: str) -> DecodeError:
        return DecodeError(
            f"the answer's {self._coding} data {what}, after {self.given_bytes} decoded bytes: "
            "fetch it again, or ask its server for it with no encoding"
        )


class _Inflate:
    """A member of gzip or deflate."""

    def __init__(self, window_bits: int | None) -> None:
        """Begin; without `window_bits` the first two bytes tell whether it is zlib's or bare."""
        self._zlib = None if window_bits is None else zlib.decompressobj(window_bits)
        self._head = b""

    @property
    def ended(self) -> bool:
        return self._zlib is not None and self._zlib.eof

    @property
    def rest(self) -> bytes:
        return b"" if self._zlib is None else self._zlib.unused_data

    def push(self, data: bytes) -> Iterator[bytes]:
        if self._zlib is None:
            data = self._head = self._head + data
            if len(data) < ZLIB_HEAD_BYTES:
                return
            self._zlib = zlib.decompressobj(ZLIB_BITS if _is_zlib(data) else RAW_BITS)
        while True:
            piece = self._zlib.decompress(data, PIECE_BYTES)
            data = self._zlib.unconsumed_tail
            if piece:
                yield piece
            if self._zlib.eof or (not data and len(piece) < PIECE_BYTES):
                return


class _Zstd:
    """A frame of Zstandard, with the module of Python 3.14."""

    def __init__(self, zstd: Any) -> None:
        options = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        self._zstd = zstd.ZstdDecompressor(options=options)

    @property
    def ended(self) -> bool:
        return bool(self._zstd.eof)

    @property
    def rest(self) -> bytes:
        return bytes(self._zstd.unused_data)

    def push(self, data: bytes) -> Iterator[bytes]:
        while True:
            piece, data = self._zstd.decompress(data, PIECE_BYTES), b""
            if piece:
                yield piece
            if self._zstd.eof or self._zstd.needs_input:
                return


class _Brotli:
    """A stream of Brotli, which refuses by itself what comes behind its end."""

    rest = b""

    def __init__(self, brotli: Any) -> None:
        self._brotli = brotli.Decompressor()

    @property
    def ended(self) -> bool:
        return bool(self._brotli.is_finished())

    def push(self, data: bytes) -> Iterator[bytes]:
        while True:
            made, data = self._brotli.process(data, output_buffer_limit=PIECE_BYTES), b""
            for start in range(0, len(made), PIECE_BYTES):  # the limit is a rough one
                yield made[start : start + PIECE_BYTES]
            if self._brotli.is_finished() or (
                not made and self._brotli.can_accept_more_data()  # it takes more with output left
            ):
                return


def _is_zlib(data: bytes) -> bool:
    """Whether it has zlib's head (RFC 1950), which no encoder's bare data begins with."""
    return data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2], "big") % 31 == 0


def _kind(coding: str) -> _Kind:
    if coding in {"gzip", "x-gzip"}:
        return _Kind(partial(_Inflate, GZIP_BITS), zlib.error, is_repeated=True)
    if coding == "deflate":
        return _Kind(partial(_Inflate, None), zlib.error, is_repeated=False)
    if coding == "zstd" and (zstd := _module("compression.zstd")):
        return _Kind(partial(_Zstd, zstd), zstd.ZstdError, is_repeated=True)
    # One before 1.2 cannot be held to a piece at a time.
    brotli = _module("brotli") if coding == "br" else None
    if brotli and hasattr(brotli.Decompressor, "can_accept_more_data"):
        return _Kind(partial(_Brotli, brotli), brotli.error, is_repeated=False)
    raise DecodeError(
        f"the answer's Content-Encoding {coding[:SHOWN_CHARACTERS]!r} is not known here: gzip and "
        "deflate are, zstd from Python 3.14 on, br with brotli 1.2; ask its server for no encoding"
    )


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None
