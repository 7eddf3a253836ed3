"""Content-Encodings undone: whole or refused, in little memory."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import zlib
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gearshift.jobs.download.decode import (
    FREE_BYTES,
    PIECE_BYTES,
    DecodeError,
    Decoder,
    TooLargeError,
    _module,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TEXT = b"gearshift " * 500


def bare(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


ENCODE: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    " GZip , identity": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": bare,
    "gzip, deflate": lambda data: bare(gzip.compress(data)),
    "deflate,gzip": lambda data: gzip.compress(zlib.compress(data)),
    "gzip, gzip, gzip, gzip": lambda data: gzip.compress(
        gzip.compress(gzip.compress(gzip.compress(data)))
    ),
}


def decoded(encoding: str, parts: Iterable[bytes], **options: Any) -> bytes:
    decoder = Decoder(encoding, **options)
    data = b"".join(piece for part in parts for piece in decoder.feed(part))
    decoder.end()
    assert decoder.given_bytes == len(data)
    return data


def bomb(size: int) -> bytes:
    """So many zeros, packed a piece at a time."""
    deflater = zlib.compressobj(wbits=31)
    zeros = bytes(2**16)
    packed = [deflater.compress(zeros) for _ in range(size // len(zeros))]
    return b"".join([*packed, deflater.flush()])


@given(st.sampled_from(sorted(ENCODE)), st.binary(), st.lists(st.integers(0, 400), max_size=5))
def test_what_was_encoded_comes_back_however_it_is_split(
    encoding: str, data: bytes, cuts: list[int]
) -> None:
    wire = ENCODE[encoding](data)
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    parts = [wire[start:end] for start, end in pairwise(edges)]
    assert decoded(encoding, parts) == data


@pytest.mark.parametrize("encoding", ENCODE)
def test_byte_by_byte(encoding: str) -> None:
    wire = ENCODE[encoding](TEXT)
    assert decoded(encoding, (wire[at : at + 1] for at in range(len(wire)))) == TEXT


@pytest.mark.parametrize("encoding", ["identity", "gzip", "deflate"])
def test_pieces_are_bounded(encoding: str) -> None:
    data = random.Random(1).randbytes(2**19) + bytes(2**20)
    decoder = Decoder(encoding)
    pieces = list(decoder.feed(ENCODE[encoding](data)))
    decoder.end()
    assert b"".join(pieces) == data
    assert all(1 <= len(piece) <= PIECE_BYTES for piece in pieces)


def test_members_of_gzip_may_follow_each_other() -> None:
    wire = gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b")
    assert decoded("gzip", [wire]) == b"ab"
    assert decoded("gzip", (wire[at : at + 1] for at in range(len(wire)))) == b"ab"


@pytest.mark.parametrize(
    ("encoding", "wire", "why"),
    [
        ("gzip", b"", "stops before its end"),
        ("gzip", gzip.compress(TEXT)[:-1], "stops before its end"),
        ("gzip", gzip.compress(TEXT)[:5], "stops before its end"),
        ("gzip", gzip.compress(TEXT) + gzip.compress(TEXT)[:-1], "stops before its end"),
        ("gzip", TEXT, "is broken"),
        ("gzip", zlib.compress(TEXT), "is broken"),
        ("gzip", gzip.compress(TEXT)[:-8] + bytes(8), "is broken"),
        ("gzip", gzip.compress(TEXT) + b"rubbish", "behind its end"),
        ("gzip", gzip.compress(TEXT) + bytes(4), "behind its end"),
        ("deflate", b"", "stops before its end"),
        ("deflate", b"\x78", "stops before its end"),
        ("deflate", zlib.compress(TEXT)[:-1], "stops before its end"),
        ("deflate", bare(TEXT)[:-1], "stops before its end"),
        ("deflate", zlib.compress(TEXT)[:-4] + bytes(4), "is broken"),
        ("deflate", zlib.compress(TEXT) + b"x", "behind its end"),
        ("deflate", zlib.compress(TEXT) * 2, "behind its end"),
        ("deflate", bare(TEXT) + b"x", "behind its end"),
        ("deflate", b"\xff\xff\xff", "is broken"),
        ("gzip, deflate", bare(gzip.compress(TEXT)[:-1]), "gzip data stops before its end"),
        ("gzip, deflate", bare(gzip.compress(TEXT))[:-1], "deflate data stops before its end"),
        ("gzip, deflate", bare(TEXT), "gzip data is broken"),
    ],
)
def test_wrong_data_is_refused(encoding: str, wire: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decoded(encoding, [wire])
    with pytest.raises(DecodeError, match=why):
        decoded(encoding, (wire[at : at + 1] for at in range(len(wire))))


@pytest.mark.parametrize(
    "encoding", ["compress", "gzip;q=1", "zip", "none", "gzip, sdch", "x" * 9999]
)
def test_unknown_coding_is_refused(encoding: str) -> None:
    with pytest.raises(DecodeError, match="not known here") as refused:
        Decoder(encoding)
    assert len(str(refused.value)) < 400


def test_long_chain_is_refused() -> None:
    with pytest.raises(DecodeError, match="encoded 5 times"):
        Decoder(",gzip" * 5)


def test_more_than_allowed_is_refused() -> None:
    assert decoded("gzip", [gzip.compress(TEXT)], most_bytes=5000) == TEXT
    with pytest.raises(TooLargeError, match=r"got 5000 bytes.* at most 4999 are allowed"):
        decoded("gzip", [gzip.compress(TEXT)], most_bytes=4999)
    with pytest.raises(TooLargeError, match="at most 4999"):
        decoded("identity", [TEXT], most_bytes=4999)


def test_first_megabyte_may_be_of_any_ratio() -> None:
    assert len(decoded("gzip", [bomb(FREE_BYTES)])) == FREE_BYTES


def test_bomb_is_refused_before_it_fills_the_memory() -> None:
    wire = bomb(2**25)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match=r"\d+ bytes of gzip became \d+ and more, over 200"):
            for _ in Decoder("gzip").feed(wire):
                pass
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


def test_bomb_in_a_bomb_is_refused() -> None:
    with pytest.raises(TooLargeError, match="of gzip, gzip became"):
        decoded("gzip, gzip", [gzip.compress(bomb(2**23))])


def test_bomb_that_gives_nothing_at_its_end_is_refused() -> None:
    nothing = b"\x00\x00\x00\xff\xff" * 2**19  # stored blocks of no bytes
    with pytest.raises(TooLargeError, match="over 200 times"):
        decoded("deflate, gzip", [gzip.compress(nothing)])


class FakeZstd:
    """Python 3.14's decompressor, with zlib inside."""

    def __init__(self, *, options: dict[int, int]) -> None:
        assert options == {100: 23}
        self._zlib = zlib.decompressobj()
        self._input = b""
        self.needs_input = True

    eof = property(lambda self: self._zlib.eof)
    unused_data = property(lambda self: self._zlib.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            made = self._zlib.decompress(self._input + data, max_length)
        except zlib.error as error:
            raise ArithmeticError from error
        self._input = self._zlib.unconsumed_tail
        self.needs_input = not self._input and len(made) < max_length
        return made


class FakeBrotli:
    """Brotli 1.2's decompressor, with zlib inside."""

    def __init__(self) -> None:
        self._zstd = FakeZstd(options={100: 23})

    def process(self, data: bytes, *, output_buffer_limit: int) -> bytes:
        made = self._zstd.decompress(data, output_buffer_limit + 5)
        if self._zstd.unused_data:
            raise ArithmeticError
        return made

    def can_accept_more_data(self) -> bool:
        return not self._zstd._input

    def is_finished(self) -> bool:
        return bool(self._zstd.eof)


@pytest.fixture
def with_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    zstd = SimpleNamespace(
        DecompressionParameter=SimpleNamespace(window_log_max=100),
        ZstdDecompressor=FakeZstd,
        ZstdError=ArithmeticError,
    )
    brotli = SimpleNamespace(Decompressor=FakeBrotli, error=ArithmeticError)
    fakes = {"compression.zstd": zstd, "brotli": brotli}
    monkeypatch.setattr("gearshift.jobs.download.decode._module", fakes.get)


@pytest.mark.usefixtures("with_fakes")
@pytest.mark.parametrize("encoding", ["zstd", "br"])
def test_optional_coding_keeps_the_same_promises(encoding: str) -> None:
    data = random.Random(1).randbytes(20_000) * 50
    wire = zlib.compress(data)
    decoder = Decoder(encoding)
    pieces = list(decoder.feed(wire))
    decoder.end()
    assert b"".join(pieces) == data
    assert all(1 <= len(piece) <= PIECE_BYTES for piece in pieces)
    for broken, why in [
        (wire[:-1], "stops"),
        (b"rubbish", "is broken"),
        (wire + b"rubbish", "behind|broken"),
    ]:
        with pytest.raises(DecodeError, match=why):
            decoded(encoding, [broken])
    with pytest.raises(TooLargeError):
        decoded(encoding, [zlib.compress(bytes(2**22))])


@pytest.mark.usefixtures("with_fakes")
def test_frames_of_zstd_may_follow_each_other() -> None:
    assert decoded("zstd", [zlib.compress(b"a") + zlib.compress(b"b")]) == b"ab"


@pytest.mark.parametrize("encoding", ["zstd", "br"])
def test_optional_coding_is_unknown_without_its_module(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_brotli = SimpleNamespace(Decompressor=object)
    modules = {"brotli": old_brotli}
    monkeypatch.setattr("gearshift.jobs.download.decode._module", modules.get)
    with pytest.raises(DecodeError, match="not known here"):
        Decoder(encoding)


def test_missing_module_is_no_fault() -> None:
    assert _module("zlib") is zlib
    assert _module("no.such.module") is None


def test_real_brotli() -> None:
    brotli = pytest.importorskip("brotli", minversion="1.2", reason="needs brotli 1.2")
    data = random.Random(1).randbytes(20_000) * 50
    wire = brotli.compress(data)
    assert decoded("br", [wire]) == data
    for broken, why in [
        (wire[:-1], "stops"),
        (b"\xff" * 9, "is broken"),
        (wire + b"rubbish", "behind|broken"),
    ]:
        with pytest.raises(DecodeError, match=why):
            decoded("br", [broken])


def test_real_zstd() -> None:
    zstd = pytest.importorskip("compression.zstd", reason="needs Python 3.14")
    data = random.Random(1).randbytes(20_000) * 50
    wire = zstd.compress(data)
    assert decoded("zstd", [wire, wire]) == data * 2
    for broken, why in [
        (wire[:-1], "stops"),
        (b"\xff" * 9, "is broken"),
        (wire + b"rubbish", "behind"),
    ]:
        with pytest.raises(DecodeError, match=why):
            decoded("zstd", [broken])
