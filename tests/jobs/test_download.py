"""`gs.download` against loopback servers, on good days and bad ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift.testing.servers import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("pycurl")

SECONDS = 30.0


@pytest.fixture(scope="module")
def fast() -> Iterator[Server]:
    with Server("fast", files=200, size=24_000) as server:
        yield server


def fetched(urls: Any, into: Path, **options: Any) -> list[gs.DownloadRecord]:
    with gs.download(urls, into, **options) as run:
        return list(run)


def visible(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir() if not each.name.startswith(".")}


def hidden(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir() if each.name.endswith(".part")}


def test_files_are_whole_and_records_in_the_order_of_the_list(fast: Server, tmp_path: Path) -> None:
    records = fetched(fast.urls, tmp_path)
    assert [record.url for record in records] == fast.urls
    for index, record in enumerate(records):
        body = fast.body(index)
        assert record.path is not None
        assert (tmp_path / record.path).read_bytes() == body
        assert record.sha256 == hashlib.sha256(body).hexdigest()
        assert (record.bytes, record.status, record.attempts) == (len(body), 200, 1)
        assert record.final_url == record.url
        assert record.ok
        assert record.unverified is None
    assert visible(tmp_path) == {f"{index}.bin" for index in range(200)}
    assert not hidden(tmp_path)


def test_run_is_a_run(fast: Server, tmp_path: Path) -> None:
    with gs.download(fast.urls, tmp_path, ordered=False) as run:
        paths = {record.path for record in run}
    assert len(paths) == 200
    assert run.report.engine == "curl"
    assert run.report.finished
    assert run.report.succeeded == 200


def test_second_call_fetches_only_what_is_not_there(tmp_path: Path) -> None:
    with Server("fast", files=30) as server:
        first = fetched(server.urls, tmp_path)
        (tmp_path / "3.bin").unlink()
        (tmp_path / "4.bin").write_bytes(b"cut")
        before = server.requests()
        assert fetched(server.urls[:3], tmp_path) == first[:3]
        assert server.requests() == before
        again = fetched(server.urls, tmp_path)
        assert server.requests() == before + 2
        assert again[3].path == "3.bin"
        assert again[4].path == "4 (2).bin"  # what is there is never overwritten
        assert len(fetched(server.urls, tmp_path, again=True)) == 30
        assert server.requests() == before + 2 + 30
    assert (tmp_path / "4.bin").read_bytes() == b"cut"


def test_equal_names_are_numbered_and_equal_files_are_kept_once(
    fast: Server, tmp_path: Path
) -> None:
    entries = [{"url": fast.url(index), "name": "same.jpg"} for index in (0, 1, 2, 0, 1)]
    records = [fetched([entry], tmp_path, again=True)[0] for entry in entries[:3]]
    assert [record.path for record in records] == ["same.jpg", "same (2).jpg", "same (3).jpg"]
    records = fetched([entries[0], *entries], tmp_path, again=True)[1:]
    assert records[0].path == records[3].path == "same.jpg"
    for record, index in zip(records, (0, 1, 2, 0, 1), strict=True):
        assert (tmp_path / str(record.path)).read_bytes() == fast.body(index)


def test_names_come_from_list_template_and_answer(fast: Server, tmp_path: Path) -> None:
    into = tmp_path / "into"
    (named,) = fetched([{"url": fast.url(1), "name": "a/b/c.jpg"}], into)
    assert named.path == "a/b/c.jpg"
    (told,) = fetched([fast.at("/disposition?name=..%2F..%2Fevil.txt")], into)
    assert told.path is not None
    assert "/" not in told.path
    assert (into / told.path).exists()
    template = fetched(fast.urls[5:7], into, name="{index:03}-{name}")
    assert [record.path for record in template] == ["000-5.bin", "001-6.bin"]
    assert {each.name for each in tmp_path.iterdir()} == {"into"}


def test_folder_that_is_a_link_out_is_not_followed(fast: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    into = tmp_path / "into"
    into.mkdir()
    (into / "link").symlink_to(outside)
    (record,) = fetched([{"url": fast.url(0), "name": "link/a.jpg"}], into)
    assert not record.ok
    assert "leads out of" in str(record.error)
    assert not list(outside.iterdir())


def test_checksum_is_held_against_the_file(fast: Server, tmp_path: Path) -> None:
    right = hashlib.sha256(fast.body(0)).hexdigest()
    md5 = hashlib.md5(fast.body(1)).hexdigest()  # noqa: S324 - lists have it
    records = fetched(
        [
            {"url": fast.url(0), "checksum": f"sha256:{right}"},
            {"url": fast.url(1), "md5": md5},
            {"url": fast.url(2), "checksum": f"sha256:{right}"},
        ],
        tmp_path,
        retries=1,
    )
    assert [record.ok for record in records] == [True, True, False]
    assert records[2].attempts == 2
    assert "and the list says" in str(records[2].error)
    assert visible(tmp_path) == {"0.bin", "1.bin"}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/status/404", 404, "the server answers 404"),
        ("/status/403", 403, "the server answers 403"),
        ("/loop", 302, "redirects"),
        ("/redirect/40", 302, "redirects"),
        ("/gzip-bomb", 200, "gzip"),
    ],
)
def test_what_cannot_be_fetched_is_a_record_and_not_tried_again(
    fast: Server, tmp_path: Path, path: str, status: int, words: str
) -> None:
    (record,) = fetched([fast.at(path)], tmp_path)
    assert not record.ok
    assert record.attempts == 1
    assert record.status == status
    assert words in str(record.error)
    assert not visible(tmp_path)
    assert not hidden(tmp_path)


def test_server_errors_are_tried_again(fast: Server, tmp_path: Path) -> None:
    (record,) = fetched([fast.at("/status/500")], tmp_path, retries=2)
    assert (record.status, record.attempts, record.ok) == (500, 3, False)


def test_lines_that_are_no_urls_fail_alone(fast: Server, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/a"
        lines = [
            "file:///etc/passwd",
            "nonsense",
            fast.url(0),
            closed,
            {"name": "x"},
            "http://a b/",
        ]
        records = fetched(lines, tmp_path, retries=0)
    assert [record.ok for record in records] == [False, False, True, False, False, False]
    assert all(record.status is None for record in records if not record.ok)
    assert visible(tmp_path) == {"0.bin"}


def test_credentials_are_not_written_down(fast: Server, tmp_path: Path) -> None:
    url = fast.at("/status/404?token=hunter2").replace("http://", "http://me:hunter2@")
    good = fast.url(0).replace("http://", "http://me:hunter2@")
    (record, _) = fetched([url, good], tmp_path)
    assert "hunter2" not in json.dumps(record.as_dict())
    for path in tmp_path.iterdir():
        assert b"hunter2" not in path.read_bytes(), path


def test_redirects_are_followed(fast: Server, tmp_path: Path) -> None:
    (record,) = fetched([fast.at("/redirect/3")], tmp_path)
    assert record.final_url == fast.url(0)
    assert (tmp_path / str(record.path)).read_bytes() == fast.body(0)


def test_coding_that_nobody_asked_for_is_undone(fast: Server, tmp_path: Path) -> None:
    (record,) = fetched([fast.at("/gzip")], tmp_path)
    assert record.ok
    data = (tmp_path / str(record.path)).read_bytes()
    assert record.bytes == len(data)
    assert record.sha256 == hashlib.sha256(data).hexdigest()
    assert b"gearshift sent this" in data


def test_size_is_bounded(fast: Server, tmp_path: Path) -> None:
    (record,) = fetched([fast.url(0)], tmp_path, max_size=1000)
    assert "max_size is 1,000" in str(record.error)
    (record,) = fetched([fast.url(0)], tmp_path, max_size=24_000)
    assert record.ok


def test_time_is_bounded(fast: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    (record,) = fetched([fast.at("/trickle")], tmp_path, max_time=0.3, retries=0)
    assert not record.ok
    assert time.monotonic() - began < SECONDS
    assert not visible(tmp_path)


def test_polite_asks_what_machines_may_fetch(tmp_path: Path) -> None:
    with Server("fast", files=10, robots="User-agent: *\nDisallow: /files/3") as server:
        records = fetched(server.urls, tmp_path, polite=True)
        (noai,) = fetched([server.at("/noai")], tmp_path, polite=True)
        (rude,) = fetched([server.at("/noai")], tmp_path)
    assert [record.ok for record in records] == [index != 3 for index in range(10)]
    assert "robots.txt does not allow" in str(records[3].error)
    assert "noai" in str(noai.error)
    assert rude.ok


@pytest.mark.slow
def test_large_files_are_whole(tmp_path: Path) -> None:
    with Server("big", files=3, size=5_000_000) as server:
        records = fetched(server.urls, tmp_path)
        for index, record in enumerate(records):
            body = server.body(index)
            assert record.sha256 == hashlib.sha256(body).hexdigest()
            assert (tmp_path / str(record.path)).read_bytes() == body


@pytest.mark.slow
def test_flaky_server_gives_every_file_right_and_none_wrong(tmp_path: Path) -> None:
    with Server("flaky", files=300) as server:
        urls = [url for index, url in enumerate(server.urls) if index != server.endless]
        with gs.download(urls, tmp_path) as run:
            records = list(run)
        assert run.report.seconds < 15  # the longest wait is one of 1 s, for a Retry-After
        assert [record.error for record in records] == [None] * len(urls)
        assert [record.unverified for record in records] == [None] * len(urls)
        for index in range(300):
            if index != server.endless:
                got = (tmp_path / f"{index}.bin").read_bytes()
                assert got == server.body(index), server.fault(index)
    assert not hidden(tmp_path)
    assert len(visible(tmp_path)) == 299


@pytest.mark.slow
def test_endless_answer_is_given_up(tmp_path: Path) -> None:
    with Server("flaky", files=3) as server:
        assert server.endless is not None
        (record,) = fetched([server.url(server.endless)], tmp_path, max_time=1.0)
    assert not record.ok
    assert not visible(tmp_path)


def test_cancelled_run_ends_and_leaves_nothing(fast: Server, tmp_path: Path) -> None:
    with gs.download([fast.at("/trickle")] * 50, tmp_path) as run:
        threading.Timer(0.1, run.cancel).start()
        with pytest.raises(gs.RunCancelledError):
            list(run)
    assert not visible(tmp_path)
    assert not hidden(tmp_path)


def test_loop_that_is_left_leaves_nothing(fast: Server, tmp_path: Path) -> None:
    with gs.download(fast.urls, tmp_path) as run:
        for record in run:
            assert record.ok
            break
    assert not hidden(tmp_path)
    for name in visible(tmp_path):
        assert (tmp_path / name).stat().st_size == 24_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"connections": 0}, "connections=0 is below 1"),
        ({"max_time": 0}, "max_time=0 is not"),
        ({"max_size": 0}, "max_size=0 is below 1"),
        ({"min_speed": -1}, "min_speed=-1 is not"),
        ({"name": "{surprise}"}, "surprise"),
        ({"name": "../{name}"}, "name template"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        gs.download(["http://127.0.0.1/"], tmp_path, **options)


def test_single_url_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="put it in"):
        gs.download("http://127.0.0.1/", tmp_path)


def test_proxy_of_the_environment_is_used(
    fast: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", fast.at(""))
    (record,) = fetched(["http://nowhere.invalid/files/7.bin"], tmp_path)
    assert (tmp_path / str(record.path)).read_bytes() == fast.body(7)


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Serve this page's folder over TLS, with a certificate that nobody has signed."""
    certificate = tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    files = ["-out", str(certificate), "-keyout", str(tmp_path / "key.pem")]
    made = subprocess.run(
        [*command.split(), "subjectAltName=DNS:localhost", *files], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("there is no openssl to make a certificate with")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, tmp_path / "key.pem")
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"https://localhost:{server.server_address[1]}/certificate.pem", certificate
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_certificates_are_checked(
    https: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = https
    (record,) = fetched([url], tmp_path / "into")
    assert "certificate" in str(record.error)
    assert record.attempts == 1
    monkeypatch.setenv("CURL_CA_BUNDLE", str(certificate))
    (record,) = fetched([url], tmp_path / "into")
    assert record.error is None
    assert (tmp_path / "into" / str(record.path)).read_bytes() == certificate.read_bytes()


# The command


def command(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gearshift", "download", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["lines", "jsonl", "csv"])
def test_command_takes_a_list(fast: Server, tmp_path: Path, form: str) -> None:
    urls = fast.urls[:5]
    text = {
        "lines": "# pictures\n" + "\n".join(urls) + "\n\n",
        "jsonl": "\n".join(json.dumps({"url": url}) for url in urls),
        "csv": "name,url\n" + "\n".join(f"{index}.bin,{url}" for index, url in enumerate(urls)),
    }[form]
    into, report = tmp_path / "into", tmp_path / "report.jsonl"
    done = command("--from", "-", "--into", str(into), "--report", str(report), stdin=text)
    assert done.returncode == 0, done.stderr
    assert visible(into) == {f"{index}.bin" for index in range(5)}
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["url"] for line in lines} == set(urls)
    assert "5 files in" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('\n{"url": "URL"}\n{"url": \n', "line 3, column 9: "),
        ("url,name\nURL,a.bin\nURL,b.bin,c\n", "line 3, cell 3: 3 cells in this row"),
        ("# two\nURL\nnonsense\n", "has no http:// or https:// before it"),
    ],
)
def test_bad_line_of_a_list_fails_alone_and_is_named(
    fast: Server, tmp_path: Path, text: str, words: str
) -> None:
    listed = tmp_path / "list.gz"
    listed.write_bytes(gzip.compress(text.replace("URL", fast.url(0)).encode()))
    done = command("--from", str(listed), "--into", str(tmp_path / "into"))
    assert done.returncode == 1
    assert words in done.stderr
    assert "1 file in" in done.stderr
    assert "1 failed" in done.stderr


@pytest.mark.slow
def test_record_does_not_wait_for_the_next_line_of_a_pipe(tmp_path: Path) -> None:
    with Server("slow", files=2, delay=0.3) as server:
        options = f"--from - --report - --into {tmp_path} --quiet".split()
        program = subprocess.Popen(
            [sys.executable, "-m", "gearshift", "download", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert program.stdin is not None
        assert program.stdout is not None
        with program, program.stdin, program.stdout:
            for index in range(2):
                program.stdin.write(f"{server.url(index)}\n".encode())
                program.stdin.flush()
                ready, _, _ = select.select([program.stdout], [], [], SECONDS)
                assert ready  # the second line is written after the first record is read
                assert json.loads(program.stdout.readline())["url"] == server.url(index)


@pytest.mark.slow
def test_command_says_what_failed_and_ends_with_1(fast: Server, tmp_path: Path) -> None:
    done = command(fast.url(0), fast.at("/status/404"), "file:///x", "--into", str(tmp_path))
    assert done.returncode == 1
    assert "the server answers 404" in done.stderr
    assert "2 failed" in done.stderr
    assert visible(tmp_path) == {"0.bin"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--into", "x"], "Nothing to fetch"),
        (["http://a/", "--from", "x", "--into", "x"], "not both"),
        (["--from", "missing.txt", "--into", "x"], "No such file"),
        (["http://a/", "--into", "/dev/null/x"], "--into /dev/null/x"),
        (["http://a/", "--into", "x", "--header", "nocolon"], "is not like"),
    ],
)
def test_command_refuses_wrong_use(tmp_path: Path, arguments: list[str], words: str) -> None:
    arguments = [str(tmp_path / "x") if each == "x" else each for each in arguments]
    done = command(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("moment", [0.25, 0.4, 0.6])
def test_killed_program_leaves_no_wrong_file_and_the_next_goes_on(
    tmp_path: Path, moment: float
) -> None:
    with Server("slow", files=300, delay=0.05) as server:
        listed = tmp_path / "list.txt"
        listed.write_text("\n".join(server.urls))
        into = tmp_path / "into"
        options = f"--from {listed} --into {into} --connections 8 --quiet".split()
        program = subprocess.Popen([sys.executable, "-m", "gearshift", "download", *options])
        time.sleep(moment)  # the moment is what is tested
        program.send_signal(signal.SIGKILL)
        program.wait(SECONDS)
        there = visible(into) if into.exists() else set()
        for name in there:
            assert (into / name).read_bytes() == server.body(int(name.removesuffix(".bin")))
        done = command("--from", str(listed), "--into", str(into))
        assert done.returncode == 0, done.stderr
        assert visible(into) == {f"{index}.bin" for index in range(300)}
        assert not hidden(into)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system takes root to mount")
@pytest.mark.slow
def test_full_disk_fails_files_and_leaves_none_wrong(fast: Server, tmp_path: Path) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)], check=False
    )
    if mounted.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        listed = tmp_path.parent / "list.txt"
        listed.write_text("\n".join(fast.urls))
        done = command("--from", str(listed), "--into", str(tmp_path))
        assert done.returncode == 1
        assert "full" in done.stderr or "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        stored = visible(tmp_path)
        assert 5 < len(stored) < 60
        for name in stored:
            assert (tmp_path / name).read_bytes() == fast.body(int(name.removesuffix(".bin")))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
