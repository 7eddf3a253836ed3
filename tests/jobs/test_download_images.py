"""`gs.download(images=)`: a picture is whole or not there, and what is made of it takes its place at once."""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import io
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.jobs.download.checked import Checked, Outcome
from gearshift.jobs.download.images import _Tools, check_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pycurl")
Image = pytest.importorskip("PIL.Image")

SECONDS = 40.0


def encoded(
    kind: str, size: tuple[int, int] = (400, 300), *, mode: str = "RGB", **options: Any
) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(out, kind, **options)
    return out.getvalue()


def moving(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.effect_noise((200, 150), 60).convert("L") for _ in range(3)]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def bomb() -> bytes:
    data = bytearray(encoded("PNG", (8, 8)))
    data[16:24] = struct.pack(">II", 30_000, 30_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


class Site:
    """A server of what a test puts there; `/slow` answers when the test is over."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.is_over = threading.Event()
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.lstrip("/")
                site.asked.append(name)
                if name == "slow":
                    site.is_over.wait(SECONDS)
                body = site.files.get(name)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = False  # those are not waited for at its end

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that was cancelled is gone

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def put(self, **files: bytes) -> list[str]:
        """Serve files, `a_jpg` as a.jpg, and return their addresses."""
        named = {name.replace("_", "."): data for name, data in files.items()}
        self.files.update(named)
        return [self.url(name) for name in named]

    def close(self) -> None:
        self.is_over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[_Tools]:
    tools = _Tools(str(tmp_path), fsync=False)
    yield tools
    tools.close()


def stored(folder: Path, name: str, data: bytes) -> gs.DownloadRecord:
    """Return the record of a file as the first stage leaves it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    return gs.DownloadRecord(url="http://a/", path=name, bytes=len(data), sha256=digest, attempts=1)


def files_in(folder: Path) -> set[str]:
    names = {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}
    return {name for name in names if not name.startswith(".gearshift.")}


def opened(path: Path) -> Any:
    with Image.open(path) as image:
        image.load()
        return image


def is_true(folder: Path, record: gs.DownloadRecord) -> bool:
    """Whether a record says what is there."""
    data = (folder / str(record.path)).read_bytes()
    image = opened(folder / str(record.path))
    return (
        record.ok
        and (record.bytes, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        and (record.width, record.height) == image.size
        and record.format == image.format.lower()
    )


# One file


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_whole_picture_stays_as_it_is(tmp_path: Path, tools: _Tools, kind: str) -> None:
    data = encoded(kind)
    record = check_image(stored(tmp_path, "a.x", data), gs.Images(), tools)
    assert is_true(tmp_path, record)
    assert (record.width, record.height, record.format) == (400, 300, kind.lower())
    assert (tmp_path / "a.x").read_bytes() == data
    assert files_in(tmp_path) == {"a.x"}


@pytest.mark.parametrize("images", [gs.Images(), gs.Images(max_side=50, thumbnails=20)])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {}),
        ("TIFF", {}),
        ("BMP", {}),
    ],
)
def test_picture_that_is_cut_goes_away(
    tmp_path: Path, tools: _Tools, kind: str, options: dict[str, Any], images: gs.Images
) -> None:
    data = encoded(kind, **options)
    for share in (0.01, 0.3, 0.6, 0.9):
        cut = data[: int(share * len(data))]
        record = check_image(stored(tmp_path, "a.x", cut), images, tools)
        assert str(record.error).startswith("it is no whole picture: "), share
        assert (record.path, record.bytes, record.sha256) == (None, 0, None)
        assert not files_in(tmp_path)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_every_frame_counts(tmp_path: Path, tools: _Tools, kind: str) -> None:
    data = moving(kind)
    whole = check_image(stored(tmp_path, "a.x", data), gs.Images(max_side=50), tools)
    assert is_true(tmp_path, whole)
    assert whole.width == 200, "a moving picture is not reduced"
    cut = data[: int(0.8 * len(data))]
    record = check_image(stored(tmp_path, "b.x", cut), gs.Images(), tools)
    assert not record.ok
    assert files_in(tmp_path) == {"a.x"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "its format is none of"),
        (b"\n<!DOCTYPE html><html>", "begins like a web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "its format is none of"),
        (bomb(), "decompression bomb"),
    ],
)
def test_what_is_no_picture_goes_away(
    tmp_path: Path, tools: _Tools, data: bytes, words: str
) -> None:
    record = check_image(stored(tmp_path, "a.jpg", data), gs.Images(max_side=50), tools)
    assert words in str(record.error)
    assert not files_in(tmp_path)


def test_record_that_is_not_good_is_passed_on(tools: _Tools) -> None:
    record = gs.DownloadRecord(url="http://a/", error="the server answers 404", status=404)
    assert check_image(record, gs.Images(), tools) is record


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_large_picture_is_reduced_in_its_place(tmp_path: Path, tools: _Tools, kind: str) -> None:
    record = check_image(stored(tmp_path, "a/b.x", encoded(kind)), gs.Images(max_side=100), tools)
    assert is_true(tmp_path, record)
    assert (record.path, record.width, record.height) == ("a/b.x", 100, 75)
    assert files_in(tmp_path) == {"a/b.x"}


def test_orientation_is_honoured(tmp_path: Path, tools: _Tools) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded("JPEG", exif=exif)
    left = check_image(stored(tmp_path, "left.jpg", data), gs.Images(), tools)
    assert (left.width, left.height) == (300, 400)
    reduced = check_image(stored(tmp_path, "a.jpg", data), gs.Images(max_side=100), tools)
    assert is_true(tmp_path, reduced)
    assert (reduced.width, reduced.height) == (75, 100)


@pytest.mark.parametrize(
    ("kind", "mode", "thumbnail", "form"),
    [
        ("JPEG", "RGB", "a.jpeg", "JPEG"),
        ("JPEG", "CMYK", "a.jpeg", "JPEG"),
        ("WEBP", "RGB", "a.jpg", "JPEG"),
        ("PNG", "RGBA", "a.png", "PNG"),
        ("GIF", "P", "a.png", "PNG"),
    ],
)
def test_thumbnail_fits_into_a_square(
    tmp_path: Path, tools: _Tools, kind: str, mode: str, thumbnail: str, form: str
) -> None:
    name = f"sub/a.{kind.lower()}"
    data = encoded(kind, mode=mode)
    record = check_image(stored(tmp_path, name, data), gs.Images(thumbnails=64), tools)
    expected = f"thumbnails/sub/{thumbnail}"
    assert record.thumbnail == expected
    small = opened(tmp_path / expected)
    assert (small.size, small.format) == ((64, 48), form)
    assert (tmp_path / name).read_bytes() == data
    assert (record.width, record.height) == (400, 300)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize(
    ("mode", "white", "kind"),
    [
        ("1", 1, "TIFF"),
        ("L", 255, "TIFF"),
        ("I;16", 65_535, "TIFF"),
        ("CMYK", (0, 0, 0, 0), "TIFF"),
        ("LA", (255, 255), "PNG"),
        ("P", 0, "GIF"),
        ("RGBA", (255, 255, 255, 255), "WEBP"),
    ],
)
def test_format_is_converted_and_the_name_follows(
    tmp_path: Path, tools: _Tools, form: str, mode: str, white: Any, kind: str
) -> None:
    image = Image.new(mode, (40, 30), white)
    if mode == "P":
        image.putpalette([255] * 3)
    out = io.BytesIO()
    image.save(out, kind)
    record = check_image(stored(tmp_path, "a.x", out.getvalue()), gs.Images(format=form), tools)
    assert is_true(tmp_path, record)
    assert record.path == {"jpeg": "a.jpg", "png": "a.png", "webp": "a.webp"}[form]
    assert files_in(tmp_path) == {record.path}
    pixel = opened(tmp_path / record.path).convert("RGB").getpixel((20, 15))
    assert min(pixel) > 250, "white stays white"


def test_clear_becomes_white_in_jpeg(tmp_path: Path, tools: _Tools) -> None:
    out = io.BytesIO()
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(out, "PNG")
    record = check_image(stored(tmp_path, "a.png", out.getvalue()), gs.Images(format="jpeg"), tools)
    assert opened(tmp_path / str(record.path)).getpixel((1, 1)) == (255, 255, 255)


def test_name_that_is_taken_by_a_stranger_is_left_alone(tmp_path: Path, tools: _Tools) -> None:
    (tmp_path / "a.webp").write_bytes(b"theirs")
    record = check_image(stored(tmp_path, "a.png", encoded("PNG")), gs.Images(format="webp"), tools)
    assert record.path == "a (2).webp"
    assert (tmp_path / "a.webp").read_bytes() == b"theirs"


@pytest.mark.parametrize("theirs", [b"short", encoded("JPEG", (410, 300))])
@pytest.mark.parametrize("same_size", [False, True])
def test_file_that_became_a_strangers_is_left_alone(
    tmp_path: Path, tools: _Tools, theirs: bytes, *, same_size: bool
) -> None:
    record = stored(tmp_path, "a.jpg", encoded("JPEG"))
    (tmp_path / "a.jpg").write_bytes(theirs)
    if same_size:
        record = replace(record, bytes=len(theirs))
    record = check_image(record, gs.Images(max_side=50), tools)
    assert not record.ok
    assert (tmp_path / "a.jpg").read_bytes() == theirs
    assert not (tmp_path / "a (2).jpg").exists()


def test_what_cannot_be_made_of_a_picture_leaves_it(tmp_path: Path, tools: _Tools) -> None:
    data = encoded("PNG", (17_000, 1), mode="L")  # WebP's sides end at 16,383
    record = check_image(stored(tmp_path, "a.png", data), gs.Images(format="webp"), tools)
    assert "cannot be made of it" in str(record.error)
    assert (tmp_path / str(record.path)).read_bytes() == data


def test_what_was_checked_for_the_same_is_not_decoded_again(tmp_path: Path, tools: _Tools) -> None:
    fetched = stored(tmp_path, "a.jpg", encoded("JPEG"))
    images = gs.Images(max_side=100, thumbnails=32)
    first = check_image(fetched, images, tools)
    before = (tmp_path / "a.jpg").stat()
    assert check_image(fetched, images, tools) == first
    assert os.path.samestat(before, (tmp_path / "a.jpg").stat())
    smaller = check_image(fetched, gs.Images(max_side=50), tools)
    assert is_true(tmp_path, smaller)
    assert smaller.width == 50
    assert check_image(fetched, gs.Images(max_side=300), tools).width == 50


def test_program_that_was_killed_before_the_file_was_replaced_begins_anew(
    tmp_path: Path, tools: _Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = stored(tmp_path, "a.jpg", encoded("JPEG"))

    def killed(*_: Any) -> bool:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(tools.folder, "replace", killed)
        with pytest.raises(SystemExit):
            check_image(fetched, gs.Images(max_side=100), tools)
    assert is_true(tmp_path, check_image(fetched, gs.Images(max_side=100), tools))
    assert files_in(tmp_path) == {"a.jpg"}


def test_program_that_was_killed_before_the_old_file_went_leaves_no_second(
    tmp_path: Path, tools: _Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = stored(tmp_path, "a.png", encoded("PNG"))

    def killed(*_: Any) -> bool:
        raise SystemExit

    images = gs.Images(format="webp", thumbnails=9)
    with monkeypatch.context() as patch:
        patch.setattr(tools.folder, "remove", killed)
        with pytest.raises(SystemExit):
            check_image(fetched, images, tools)
    assert files_in(tmp_path) == {"a.png", "a.webp", "thumbnails/a.png"}
    assert is_true(tmp_path, check_image(fetched, images, tools))
    assert files_in(tmp_path) == {"a.webp", "thumbnails/a.png"}


def test_full_disk_is_said_and_the_file_stays(
    tmp_path: Path, tools: _Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded("JPEG")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gearshift.jobs.download.folder.PartFile.write", full)
    record = check_image(stored(tmp_path, "a.jpg", data), gs.Images(max_side=100), tools)
    assert "No space left" in str(record.error)
    assert (tmp_path / str(record.path)).read_bytes() == data


def test_record_travels_with_what_is_known_of_the_picture(tmp_path: Path, tools: _Tools) -> None:
    record = check_image(stored(tmp_path, "a.jpg", encoded("JPEG")), gs.Images(thumbnails=9), tools)
    assert pickle.loads(pickle.dumps(record)) == record
    told = record.as_dict()
    assert told["thumbnail"] == "thumbnails/a.jpg"
    assert (told["width"], told["height"], told["format"]) == (400, 300, "jpeg")


@pytest.mark.parametrize(
    ("wishes", "error", "words"),
    [
        ({"max_side": 0}, ValueError, "max_side=0 is below 1"),
        ({"thumbnails": -1}, ValueError, "thumbnails=-1 is below 1"),
        ({"max_side": 1.5}, TypeError, "max_side=1.5 is not a whole number"),
        ({"thumbnails": True}, TypeError, "thumbnails=True is not"),
        ({"format": "jpg"}, ValueError, "format='jpg' is not one of 'jpeg'"),
    ],
)
def test_wish_that_makes_no_sense_is_refused(
    wishes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        gs.Images(**wishes)


@pytest.mark.slow
def test_notes_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def note(turn: int, number: int) -> None:
        checked = Checked(tmp_path / str(turn))
        together.wait(SECONDS)
        checked.note("a.jpg", str(number), Outcome("a.jpg", 1, "", 1, 1, "png", None, ""))
        assert checked.of("a.jpg", str(number)) is not None
        checked.close()

    with ThreadPoolExecutor(4) as pool:
        for turn in range(25):
            (tmp_path / str(turn)).mkdir()
            for noted in [pool.submit(note, turn, number) for number in range(4)]:
                noted.result(SECONDS)


# Runs


@pytest.mark.slow
def test_pictures_are_checked_while_others_are_fetched(site: Site, tmp_path: Path) -> None:
    urls = site.put(a_png=encoded("PNG"), b_html=b"<html>", c_jpg=encoded("JPEG"))
    urls[2:2] = [site.url("gone"), urls[0]]
    with gs.download(urls, tmp_path, images=gs.Images(max_side=100)) as run:
        records = list(run)
    assert [record.url for record in records] == urls
    assert [record.ok for record in records] == [True, False, False, True, True]
    assert all(is_true(tmp_path, record) for record in records if record.ok)
    assert records[2].status == 404
    assert run.report.failed == 2
    assert run.report.kinds[0].type == "DownloadError"
    assert {str(record.path) for record in records if record.ok} == files_in(tmp_path)


@pytest.mark.slow
def test_second_call_fetches_no_picture_again(site: Site, tmp_path: Path) -> None:
    urls = site.put(a_png=encoded("PNG"), b_jpg=encoded("JPEG"), c_html=b"<html>")
    images = gs.Images(max_side=100, format="webp")
    with gs.download(urls, tmp_path, images=images) as run:
        first = list(run)
    site.asked.clear()
    with gs.download(urls, tmp_path, images=images, ordered=False) as run:
        again = {record.url: record for record in run}
    assert [again[url] for url in urls[:2]] == first[:2]
    assert site.asked == ["c.html"]
    (tmp_path / "a.webp").unlink()
    with gs.download(urls[:2], tmp_path, images=images) as run:
        assert [record.path for record in run] == ["a.webp", "b.webp"]
    assert site.asked == ["c.html", "a.png"]
    with gs.download(urls[:2], tmp_path, images=images, again=True) as run:
        assert [record.path for record in run] == ["a.webp", "b.webp"]
    assert len(site.asked) == 4
    assert files_in(tmp_path) == {"a.webp", "b.webp"}


@pytest.mark.slow
def test_what_is_ready_is_given_while_another_is_waited_for(site: Site, tmp_path: Path) -> None:
    urls = [*site.put(a_jpg=encoded("JPEG"), b_jpg=encoded("JPEG")), site.url("slow")]
    with gs.download(urls, tmp_path, images=gs.Images()) as run:
        assert [next(run).path for _ in range(2)] == ["a.jpg", "b.jpg"]
        run.cancel()
        with pytest.raises(gs.RunCancelledError):
            next(run)
    assert files_in(tmp_path) == {"a.jpg", "b.jpg"}


@pytest.mark.slow
def test_loop_that_is_left_leaves_nothing(site: Site, tmp_path: Path) -> None:
    data = {f"p{index}_jpg": encoded("JPEG", (60, 50)) for index in range(40)}
    urls = [*site.put(**data), site.url("slow")]
    with gs.download(urls, tmp_path, images=gs.Images(max_side=40), ordered=False) as run:
        for record in run:
            assert record.ok
            break
    for name in files_in(tmp_path):
        assert opened(tmp_path / name).size in {(60, 50), (40, 33)}


@pytest.mark.slow
def test_run_that_nobody_holds_ends(site: Site, tmp_path: Path) -> None:
    urls = [*site.put(a_jpg=encoded("JPEG")), site.url("slow")]
    for record in gs.download(urls, tmp_path, images=gs.Images()):
        assert record.ok
        break


def test_run_that_was_not_begun_leaves_nothing(tmp_path: Path) -> None:
    with gs.download(["http://127.0.0.1/"], tmp_path, images=gs.Images()):
        pass


@pytest.mark.filterwarnings("default")
def test_run_that_was_dropped_says_so_once(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="never iterated") as told:
        gs.download(["http://127.0.0.1/"], tmp_path, images=gs.Images())
    assert len(told) == 1


@pytest.mark.slow
def test_async_for_gives_the_same(site: Site, tmp_path: Path) -> None:
    urls = site.put(a_jpg=encoded("JPEG"), b_html=b"<html>", c_jpg=encoded("PNG"))

    async def main() -> list[str | None]:
        async with gs.download(urls, tmp_path, images=gs.Images()) as run:
            return [record.error async for record in run]

    first, second, third = asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert (first, third) == (None, None)
    assert "begins like a web page" in str(second)


@pytest.mark.slow
def test_list_that_breaks_is_raised(site: Site, tmp_path: Path) -> None:
    (good,) = site.put(a_jpg=encoded("JPEG"))

    def urls() -> Iterator[str]:
        yield good
        raise LookupError("the list broke")

    with gs.download(urls(), tmp_path, images=gs.Images()) as run:
        assert next(run).ok
        with pytest.raises(LookupError, match="the list broke"):
            next(run)


def test_images_is_not_just_anything(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="images=True is not"):
        gs.download(["http://127.0.0.1/"], tmp_path / "into", images=True)  # type: ignore[arg-type]
    assert not (tmp_path / "into").exists()


# Programs of their own


def program(text: str, *arguments: str) -> list[str]:
    """Run a program that prints JSON lines, and return them."""
    done = subprocess.run(
        [sys.executable, "-c", text, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


DEADLY = """
import os, signal, sys
from pathlib import Path
import gearshift as gs
from gearshift.jobs.download import images, pictures
images.PICTURE_SECONDS = 0.5
read = pictures.read_picture
def deadly(file, images):
    begins = file.read(6)
    if begins == b"deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if begins == b"sleepy":
        signal.pause()
    file.seek(0)
    return read(file, images)
pictures.read_picture = deadly  # only a worker that was forked knows it
with gs.download(sys.argv[2:], sys.argv[1], images=gs.Images()) as run:
    for record in run:
        print(record.path, record.error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are not forked")
def test_picture_that_kills_its_worker_costs_its_record_only(site: Site, tmp_path: Path) -> None:
    urls = site.put(a_jpg=encoded("JPEG"), b_jpg=b"deadly", c_jpg=encoded("JPEG"), d_jpg=b"sleepy")
    lines = program(DEADLY, str(tmp_path), *urls)
    assert [lines[0], lines[2]] == ["a.jpg None", "c.jpg None"]
    assert lines[1].startswith("None it is no whole picture: WorkerDiedError")
    assert "SIGKILL" in lines[1]
    assert lines[3].startswith("None it is no whole picture: it takes more than")
    assert files_in(tmp_path) == {"a.jpg", "c.jpg"}


@pytest.mark.slow
def test_without_pillow_it_is_said_what_to_install(site: Site, tmp_path: Path) -> None:
    text = """
import sys
sys.modules["PIL"] = None
import gearshift as gs
try:
    gs.download([sys.argv[1]], sys.argv[2], images=gs.Images())
except gs.UnsupportedError as error:
    print(error)
"""
    (line,) = program(text, site.url("a.jpg"), str(tmp_path / "into"))
    assert "pip install 'gearshift[images]'" in line
    assert not site.asked
    assert not (tmp_path / "into").exists()


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gearshift", "download", *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.slow
def test_command_says_how_many_were_no_pictures(site: Site, tmp_path: Path) -> None:
    urls = site.put(a_png=encoded("PNG"), b_html=b"<html>", c_jpg=encoded("JPEG"))
    into, report = tmp_path / "into", tmp_path / "report.jsonl"
    wishes = ["--max-side", "100", "--thumbnails", "32", "--format", "jpeg"]
    done = command(*urls, site.url("gone"), "--into", str(into), *wishes, "--report", str(report))
    assert done.returncode == 1
    assert "2 files in" in done.stderr
    assert "2 failed, 1 of them no whole pictures" in done.stderr
    assert "begins like a web page" in done.stderr
    assert files_in(into) == {"a.jpg", "c.jpg", "thumbnails/a.png", "thumbnails/c.jpg"}
    told = {line["url"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert told[urls[0]]["path"] == "a.jpg"
    assert (told[urls[0]]["width"], told[urls[0]]["format"]) == (100, "jpeg")
    assert told[urls[1]]["path"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wishes", "words"),
    [(["--max-side", "0"], "max_side=0 is below 1"), (["--format", "gif"], "gif")],
)
def test_command_refuses_wishes_that_make_no_sense(
    tmp_path: Path, wishes: list[str], words: str
) -> None:
    done = command("http://127.0.0.1/", "--into", str(tmp_path / "into"), *wishes)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.slow
def test_command_that_is_interrupted_leaves_no_wrong_file(site: Site, tmp_path: Path) -> None:
    urls = [*site.put(a_jpg=encoded("JPEG"), b_html=b"<html>"), site.url("slow")]
    arguments = [*urls, "--into", str(tmp_path), "--images", "--report", "-"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "gearshift", "download", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert "web page" in running.stderr.readline()
        running.send_signal(signal.SIGINT)
        told = running.stderr.read()
        assert running.wait(SECONDS) == -signal.SIGINT or running.returncode == 130
    assert "Stopped by the user" in told
    assert "Traceback" not in told
    assert files_in(tmp_path) <= {"a.jpg"}


@pytest.mark.slow
@pytest.mark.parametrize("wishes", [["--max-side", "100"], ["--format", "webp"]])
def test_command_that_is_killed_and_called_again_ends_as_if_nothing_had_been(
    site: Site, tmp_path: Path, wishes: list[str]
) -> None:
    data = {f"p{index}_jpg": encoded("JPEG", (800, 600)) for index in range(40)}
    data["p7_jpg"] = data["p7_jpg"][:9000]
    listed, into = tmp_path / "list.txt", tmp_path / "into"
    listed.write_text("\n".join(site.put(**data)))
    arguments = ["--from", str(listed), "--into", str(into), *wishes]
    for moment in (0.3, 0.4, 0.5):
        begun = [sys.executable, "-m", "gearshift", "download", *arguments, "--quiet"]
        with subprocess.Popen(begun, stderr=subprocess.DEVNULL) as running:
            time.sleep(moment)  # the moment is what is tested
            running.kill()
    done = command(*arguments)
    assert "39 files in" in done.stderr
    assert "1 failed, 1 of them no whole pictures" in done.stderr
    end, side = (".webp", 800) if "webp" in wishes else (".jpg", 100)
    assert files_in(into) == {f"p{index}{end}" for index in range(40) if index != 7}
    assert {opened(each).size[0] for each in into.glob(f"p*{end}")} == {side}
    assert not list(into.glob("*.part"))
