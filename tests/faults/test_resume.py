"""`gearshift run --journal` dies in every way there is, and is resumed: the output is that of an undisturbed run.

The rows of docs/explanation/surviving.md name these tests.
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

import gearshift as gs
from gearshift.cli.desk import Desk as CliDesk
from gearshift.cli.records import JsonRecords
from gearshift.cli.resume import JournalSink
from gearshift.cli.writer import LineWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = """
import os, time

def double(item):
    with open("calls", "a") as file:
        file.write(item + "\\n")
    time.sleep(float(os.environ.get("PAUSE", "0.002")))
    if item == os.environ.get("BAD"):
        raise ValueError("bad")
    if item == os.environ.get("DEADLY"):
        os.kill(os.getpid(), 9)
    return int(item) * 2

def long(item):
    return item * 2000

def slow_long(item):
    time.sleep(0.004)
    return item * 2000

def longest(item):
    if item == os.environ.get("BAD"):
        raise ValueError("bad")
    return item * 200_000
"""
GO_ON = "To go on: gearshift "


class Desk:
    """A folder with a program and its inputs."""

    def __init__(self, folder: Path, items: int) -> None:
        self.folder = folder
        self.items = [str(number) for number in range(items)]
        (folder / "work.py").write_text(PROGRAM)
        (folder / "items").write_text("".join(f"{item}\n" for item in self.items))

    def command(self, *options: str, function: str = "double", out: str = "out.jsonl") -> list[str]:
        return [
            *(sys.executable, "-m", "gearshift", "run", f"work.py:{function}"),
            *("--lines", "items", "--journal", "journal", "-o", out, *options),
        ]

    def run(self, *options: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, **settings.pop("environ", {})}
        names = ("function", "out")
        command = self.command(*options, **{k: settings.pop(k) for k in names if k in settings})
        return subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            **settings,
        )

    def kill_after(
        self, seconds: float, *options: str, environ: dict[str, str] | None = None, **settings: Any
    ) -> int:
        """Run, kill the whole process group after so long, and return the exit status."""
        child = self._start(*options, environ=environ, **settings)
        with suppress(subprocess.TimeoutExpired):
            child.wait(seconds)
        return self._kill(child)

    def kill_at(self, calls: int, *options: str, **settings: Any) -> None:
        """Run items of 5 ms and kill the whole process group once so many were begun."""
        self.kill_when(lambda: self.calls() >= calls, *options, **settings)

    def kill_when(self, condition: Callable[[], bool], *options: str, **settings: Any) -> None:
        child = self._start(*options, environ={"PAUSE": "0.005"}, **settings)
        self.wait_for(condition)
        assert self._kill(child) == -signal.SIGKILL

    def _start(
        self, *options: str, environ: dict[str, str] | None, **settings: Any
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*options, **settings),
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _kill(self, child: subprocess.Popen[bytes]) -> int:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        return child.wait()

    def interrupted(self, number: int, *options: str, times: int = 1, **environ: str) -> Any:
        """Run until a few outcomes are committed, send a signal, and return the completed process."""
        child = subprocess.Popen(
            self.command(*options),
            cwd=self.folder,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for(lambda: self.calls() >= 5)
        for _ in range(times):
            child.send_signal(number)
            time.sleep(0.05 if times > 1 else 0)
        out, err = child.communicate(timeout=30)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.01)

    def calls(self) -> int:
        path = self.folder / "calls"
        return len(path.read_text().split()) if path.exists() else 0

    def lines(self, name: str = "out.jsonl") -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def check_whole(self) -> None:
        assert self.lines() == [{"item": item, "value": int(item) * 2} for item in self.items]
        assert not (self.folder / "out.jsonl.part").exists()

    def summary(self) -> gs.JournalSummary:
        return gs.Journal(self.folder / "journal").summary()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, 300)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_twenty_kills_and_the_output_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 5000)
    chance = random.Random()
    engines = (
        ("serial",),
        ("threads", "--workers", "2"),
        ("processes", "--workers", "2"),
        ("auto", "--workers", "2"),
    )
    for _ in range(20):
        engine = chance.choice(engines)
        after = chance.uniform(0.25, 0.6)
        status = desk.kill_after(after, "--resume", "--on", *engine, environ={"PAUSE": "0.004"})
        assert status == -signal.SIGKILL
    done = desk.run("--resume", environ={"PAUSE": "0"})
    assert done.returncode == 0, done.stderr
    desk.check_whole()
    again = Counter((tmp_path / "calls").read_text().split())
    assert set(again) == set(desk.items)
    # Two workers' items of 4 ms: a tenth of a second not committed, and what was under way.
    assert sum(again.values()) - 5000 < 20 * 2 * 0.5 / 0.004


@pytest.mark.slow
@pytest.mark.parametrize("out", ["out.jsonl", "out.csv"])
def test_killed_program_goes_on_in_the_middle_of_its_file(desk: Desk, out: str) -> None:
    desk.kill_at(120, "--on", "serial", out=out)
    before = desk.calls()
    assert 0 < before < 300
    assert desk.run("--resume", "--on", "serial", out=out).returncode == 0
    assert desk.calls() <= 300 + 60
    if out.endswith("csv"):
        with (desk.folder / out).open(newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0] == ["item", "value", "error_type", "error_message", "attempts"]
        assert [row[:2] for row in rows[1:]] == [[item, str(int(item) * 2)] for item in desk.items]
    else:
        desk.check_whole()


@pytest.mark.slow
def test_resumed_file_without_order_has_each_item_once(desk: Desk) -> None:
    desk.kill_at(120, "--unordered", "--on", "threads")
    assert desk.run("--resume", "--unordered", "--on", "threads").returncode == 0
    assert sorted(int(line["item"]) for line in desk.lines()) == list(range(300))


@pytest.mark.slow
def test_one_interrupt_commits_and_says_how_to_go_on(desk: Desk) -> None:
    done = desk.interrupted(signal.SIGINT, "--on", "threads", "--workers", "2", PAUSE="0.02")
    assert done.returncode == 130
    assert f"{GO_ON}run work.py:double" in done.stderr
    assert "--resume" in done.stderr.splitlines()[-1]
    summary = desk.summary()
    assert summary.done == desk.calls()  # what ran had its grace
    assert desk.run("--resume").returncode == 0
    assert desk.calls() == 300
    desk.check_whole()


@pytest.mark.slow
def test_second_interrupt_ends_it_at_once(desk: Desk) -> None:
    done = desk.interrupted(signal.SIGINT, "--on", "threads", times=2, PAUSE="3")
    assert done.returncode == 130
    assert desk.run("--resume", environ={"PAUSE": "0"}).returncode == 0
    desk.check_whole()


@pytest.mark.slow
def test_sigterm_ends_it_like_an_interrupt(desk: Desk) -> None:
    done = desk.interrupted(signal.SIGTERM, "--on", "threads", "--workers", "2", PAUSE="0.02")
    assert done.returncode == 143
    assert desk.summary().done == desk.calls()
    assert desk.run("--resume").returncode == 0
    assert desk.calls() == 300
    desk.check_whole()


@pytest.mark.slow
def test_grace_that_is_over_stops_what_runs(desk: Desk) -> None:
    started = time.monotonic()
    done = desk.interrupted(
        signal.SIGINT, "--on", "threads", "--grace", "0.2", "--workers", "8", PAUSE="60"
    )
    assert done.returncode == 130
    assert time.monotonic() - started < 30
    assert desk.summary().done == 0


@pytest.mark.slow
def test_dead_worker_costs_its_item_alone(desk: Desk) -> None:
    done = desk.run("--on", "processes", environ={"DEADLY": "200"})
    assert done.returncode == 1
    assert "WorkerDiedError" in done.stderr
    assert (desk.summary().done, desk.summary().failed) == (299, 1)
    assert desk.run("--resume").returncode == 0
    desk.check_whole()


@pytest.mark.slow
def test_failures_run_again_and_their_lines_are_replaced(desk: Desk) -> None:
    done = desk.run(environ={"BAD": "100", "PAUSE": "0"})
    assert done.returncode == 1
    assert GO_ON in done.stderr
    assert desk.lines()[100]["error"]["type"] == "ValueError"
    assert desk.run("--resume").returncode == 0
    assert desk.calls() == 301
    desk.check_whole()


@pytest.mark.slow
def test_only_failures_run_and_the_rest_stays_left(desk: Desk) -> None:
    desk.run("--fail-fast", "--on", "serial", "--chunksize", "1", environ={"BAD": "100"})
    before = desk.calls()
    done = desk.run("--resume-failed")
    assert done.returncode == 0
    assert desk.calls() == before + 1
    assert [line["item"] for line in desk.lines("out.jsonl.part")] == desk.items[:101]
    assert desk.summary().left == 199
    assert desk.run("--resume").returncode == 0
    desk.check_whole()


@pytest.mark.slow
def test_part_that_is_gone_or_short_is_made_from_the_journal(desk: Desk) -> None:
    for calls, spoil in ((80, os.unlink), (200, lambda path: os.truncate(path, 10))):
        desk.kill_at(calls, "--resume", "--on", "serial")
        spoil(desk.folder / "out.jsonl.part")
    assert desk.run("--resume").returncode == 0
    desk.check_whole()


@pytest.mark.slow
def test_full_disk_ends_it_with_a_word_and_it_goes_on_with_room(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 3000)

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    done = desk.run(function="long", preexec_fn=little)
    assert done.returncode == 1
    assert "make room" in done.stderr or "writing the output failed" in done.stderr
    check_long(desk)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kills_and_full_disks_in_turn(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as folder:
        desk = Desk(folder, 3000)
        filler = folder / "filler"
        for turn in range(6):
            with suppress(OSError):  # it is as full as that
                filler.write_bytes(b"x" * (3_000_000 if turn % 2 else 2_000_000))
            desk.kill_after(0.7, "--resume", "--on", "threads", function="long")
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=200m", str(folder)], check=True)
        check_long(desk)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if (
        mount is None
        or subprocess.run([mount, *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check_long(desk: Desk) -> None:
    done = desk.run("--resume", function="long")
    assert done.returncode == 0, done.stderr
    assert desk.lines() == [{"item": item, "value": item * 2000} for item in desk.items]


@pytest.mark.slow
def test_second_program_is_refused_and_spoils_nothing(desk: Desk) -> None:
    first = subprocess.Popen(
        desk.command("--on", "serial"),
        cwd=desk.folder,
        env={**os.environ, "PAUSE": "0.01"},
        stderr=subprocess.DEVNULL,
    )
    desk.wait_for(lambda: desk.calls() >= 5)
    second = desk.run("--resume")
    assert second.returncode == 2
    assert f"(pid {first.pid})" in second.stderr
    shown = subprocess.run(
        [*desk.command()[:4], "--journal", "journal", "--show"],
        cwd=desk.folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"(pid {first.pid})" in shown
    assert first.wait() == 0
    desk.check_whole()


def test_reader_that_goes_away_ends_it_quietly(desk: Desk) -> None:
    command = [
        part for part in desk.command() if part not in {"--journal", "journal", "-o", "out.jsonl"}
    ]
    child = subprocess.Popen(
        command, cwd=desk.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    with child.stderr:
        assert child.stderr.read() == b""
    assert child.wait() == 141


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_machine_that_loses_power_has_a_journal_of_some_commit(desk: Desk, share: float) -> None:
    # What reached the disk is the log up to some point, which need not be the end of a commit.
    desk.kill_at(120, "--on", "serial")
    log = desk.folder / "journal-wal"
    os.truncate(log, int(log.stat().st_size * share))
    assert desk.run("--resume", "--on", "serial").returncode == 0
    desk.check_whole()


def test_output_that_was_lost_is_made_from_the_journal(desk: Desk) -> None:
    assert desk.run(environ={"PAUSE": "0"}).returncode == 0
    (desk.folder / "out.jsonl").unlink()
    (desk.folder / "out.jsonl.part").write_text('{"item": "0", "va')
    assert desk.run("--resume").returncode == 0
    assert desk.calls() == 300
    desk.check_whole()


def test_source_that_raises_keeps_what_came_before(tmp_path: Path) -> None:
    def broken() -> Iterator[int]:
        yield from range(10)
        raise OSError("the source")

    run = gs.map(abs, broken(), journal=tmp_path / "journal", on="serial")
    with pytest.raises(OSError, match="the source"):
        list(run)
    assert gs.Journal(tmp_path / "journal").summary().done == 10


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], "say --journal FILE"),
        (["--journal", "j"], "say -o FILE"),
        (["--journal", "j", "-o", "-"], "say -o FILE"),
        (["--journal", "", "-o", "o"], "an empty name"),
        (["--journal", "j", "-o", "/dev/null"], "say -o FILE"),
        (["--journal", "j", "-o", "o", "--resume-failed"], "no failures"),
        (["--journal", "work.py", "-o", "o", "--resume"], "not a journal of gearshift"),
        (["--show"], "say --journal FILE"),
        (["--show", "--journal", "j"], "there is no journal j"),
    ],
)
def test_wrong_use_is_named(desk: Desk, options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "gearshift", "run", "work.py:double", "1", *options]
    done = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert words in done.stderr


def test_begun_journal_is_not_gone_on_with_unasked(desk: Desk) -> None:
    assert desk.run(environ={"PAUSE": "0"}).returncode == 0
    done = desk.run()
    assert done.returncode == 2
    assert "is begun already: --resume goes on with it" in done.stderr


def test_missing_journal_is_begun_with_a_word(desk: Desk) -> None:
    done = desk.run("--resume", environ={"PAUSE": "0"})
    assert done.returncode == 0
    assert "There is no journal journal yet: it is begun." in done.stderr
    shown = desk.run("--show").stdout
    assert "done      300" in shown
    assert "left      0" in shown


def test_nothing_is_left_of_the_lock(desk: Desk) -> None:
    assert desk.run(environ={"PAUSE": "0"}).returncode == 0
    assert {path.name for path in desk.folder.iterdir()} - {"__pycache__"} == {
        *("calls", "items", "journal", "out.jsonl", "work.py"),
    }
    assert not [
        child for child in psutil.Process().children() if "gearshift" in str(child.cmdline())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("spoil", ["another program's", "zeros"])
def test_part_that_is_not_as_it_was_is_made_from_the_journal(desk: Desk, spoil: str) -> None:
    part = desk.folder / "out.jsonl.part"
    desk.kill_when(
        lambda: part.exists() and part.stat().st_size > 400_000,
        *("--on", "serial"),
        function="slow_long",
    )
    data = part.read_bytes()
    half = len(data) // 2
    assert half > len(desk.items) * 100
    zeros = data[:half] + b"\0" * (
        len(data) - half
    )  # as a loss of power leaves it on some file systems
    part.write_bytes(zeros if spoil == "zeros" else data.replace(b"1111", b"2222"))
    done = desk.run("--resume", "--on", "serial", function="slow_long")
    assert done.returncode == 0, done.stderr
    assert desk.lines() == [{"item": item, "value": item * 2000} for item in desk.items]


@pytest.mark.slow
def test_cells_longer_than_the_csv_module_likes_are_gone_on_with(tmp_path: Path) -> None:
    desk = Desk(tmp_path, 6)
    for _ in range(2):
        done = desk.run(
            "--resume", "--on", "serial", function="longest", out="o.csv", environ={"BAD": "4"}
        )
        assert done.returncode == 1, done.stderr
        (desk.folder / "o.csv").replace(desk.folder / "o.csv.part")
    assert desk.run("--resume", "--on", "serial", function="longest", out="o.csv").returncode == 0
    assert len((desk.folder / "o.csv").read_bytes()) > 6 * 200_000


@pytest.mark.parametrize(
    ("journal", "lines"), [("o.jsonl", "items"), ("o.jsonl.part", "items"), ("j", "o.jsonl.part")]
)
def test_files_that_would_spoil_each_other_are_refused(
    desk: Desk, journal: str, lines: str
) -> None:
    part = desk.folder / "o.jsonl.part"
    if lines == part.name:
        shutil.copy(desk.folder / "items", part)
    command = [sys.executable, "-m", "gearshift", "run", "work.py:double", "--lines", lines]
    command += ["--journal", journal, "-o", "o.jsonl"]
    done = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert part.exists() == (lines == part.name)
    assert not part.exists() or part.read_text() == (desk.folder / "items").read_text()


def test_lines_after_one_that_was_lost_do_not_count(tmp_path: Path) -> None:
    sink = JournalSink(str(tmp_path / "out"), in_order=True, form="jsonl")
    journal = gs.Journal(tmp_path / "journal")
    records = JsonRecords(bare=False)
    sink.attach(journal, CliDesk(LineWriter(sink.write), None, bare=False), records)
    assert journal._begun is not None
    assert journal._marks is not None
    journal._begun({})
    sink.write(b"first\n")
    assert journal._marks()["output"]["bytes"] == 6
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            sink.write(b"second\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    with suppress(OSError):
        sink.write(b"third\n")
    assert journal._marks() == {}
    sink.close(whole=False)


def test_command_to_go_on_is_one(desk: Desk) -> None:
    command = [*desk.command("--on", "serial", "-q"), "--", "x"]
    done = subprocess.run(command, cwd=desk.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("--resume -- x")
