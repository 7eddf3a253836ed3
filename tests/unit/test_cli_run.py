"""`gearshift run` as it is used: what is written, where, and with which exit status."""

from __future__ import annotations

import inspect
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from gearshift.cli import main
from gearshift.cli import run as cli_run_module  # noqa: F401 - loaded here, patched below

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

GEARSHIFT = (sys.executable, "-m", "gearshift", "run")
ENGINES = ("auto", "serial", "threads", "processes")

WORK = """
import os, sys, time
from dataclasses import dataclass
from pathlib import Path

SCALE = int(os.environ.get("CLI_RUN_SCALE", "2"))


class OwnError(Exception):
    pass


@dataclass
class Point:
    x: int
    at: Path


def double(item):
    return int(item) * SCALE


async def adouble(item):
    return int(item) * SCALE


def point(item):
    if item == "own":
        raise OwnError("of the file's own type")
    return Point(int(item), Path("a"))


def nap(item):
    if float(item) > 1:
        time.sleep(0.3)  # others that began with it have ended by then
        Path("napping").touch()
    time.sleep(float(item))
    return item


def chatty(item):
    print(f"chatty {item}\\n", end="")
    os.system("echo child")
    return item


def fragile(item):
    if item == "die":
        os._exit(9)
    return item


def flaky(item):
    seen = Path(item)
    tries = len(seen.read_text()) if seen.exists() else 0
    seen.write_text("x" * (tries + 1))
    if tries < 2:
        raise OSError("not yet")
    return tries
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the working directory, with a file of functions in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys.modules["gearshift.cli.run"], "leave", lambda status: None)
    (tmp_path / "cli_run_work.py").write_text(WORK, "utf-8")
    yield tmp_path
    sys.modules.pop("cli_run_work", None)


def gearshift(*arguments: str, stdin: bytes = b"") -> Result:
    """Run the command in this process."""
    # before click 8.2 the two streams come together unless asked otherwise
    mixes = "mix_stderr" in inspect.signature(CliRunner).parameters
    options: dict[str, Any] = {"mix_stderr": False} if mixes else {}
    return CliRunner(**options).invoke(main, ["run", *arguments], input=stdin)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    """Start the command as a program of its own."""
    # unbuffered: `communicate` would not see what `readline` has read ahead
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "bufsize": 0, **options}
    return subprocess.Popen([*GEARSHIFT, *arguments], **options)


def test_values_are_written_in_order() -> None:
    done = gearshift("cli_run_work.py:double", "3", "1", "2")
    assert done.exit_code == 0
    assert done.stdout == (
        '{"item": "3", "value": 6}\n{"item": "1", "value": 2}\n{"item": "2", "value": 4}\n'
    )
    assert done.stderr.startswith("3 items in ")
    assert ": all succeeded." in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_failures_are_written_in_their_place_and_counted() -> None:
    done = gearshift("cli_run_work.py:double", "1", "x", "2", "-q")
    assert done.exit_code == 1
    first, second, third = lines(done.stdout)
    assert (first["value"], third["value"]) == (2, 4)
    assert second == {
        "item": "x",
        "error": {
            "type": "ValueError",
            "message": "invalid literal for int() with base 10: 'x'",
            "attempts": 1,
        },
    }
    assert done.stderr == ""


def test_paragraph_tells_the_first_failure() -> None:
    done = gearshift("cli_run_work.py:double", "1", "x", "y", "--on", "serial")
    assert "1 succeeded, 2 failed. The first: 'x' failed: ValueError: invalid" in done.stderr
    assert "on serial with 1 worker" in done.stderr


def test_bare_values_are_written_alone() -> None:
    done = gearshift("cli_run_work.py:double", "1", "x", "2", "--values")
    assert done.exit_code == 1
    assert done.stdout == "2\n4\n"
    assert done.stderr.startswith("'x' failed: ValueError: invalid literal")
    assert "The first" not in done.stderr


def test_value_that_is_not_json_fails_its_item() -> None:
    done = gearshift("builtins:str.encode", "a", "-q")
    assert done.exit_code == 1
    (line,) = lines(done.stdout)
    assert line["error"]["type"] == "TypeError"
    assert "it holds bytes: return text, such as value.decode()" in line["error"]["message"]


def test_unwritten_values_are_among_the_failures() -> None:
    done = gearshift("builtins:str.encode", "a", "b")
    assert ": 0 succeeded, 2 failed. The first: 'a' failed: TypeError: the value" in done.stderr


def test_kinds_of_input_are_combined(folder: Path) -> None:
    (folder / "list.txt").write_text("3\n4\n", "utf-8")
    (folder / "5").touch()
    done = gearshift(
        "cli_run_work.py:double", "1", "-", "--lines", "list.txt", "--glob", "[0-9]",
        "--values", stdin=b"2\n",
    )  # fmt: skip
    assert done.stdout == "2\n4\n6\n8\n10\n"


def test_odd_names_come_out_as_json(folder: Path) -> None:
    name = os.fsdecode(b"\xff.txt")
    (folder / name).write_text("content", "utf-8")
    done = gearshift("os.path:getsize", "-", stdin=b"\xff.txt\n")
    assert lines(done.stdout) == [{"item": name, "value": 7}]


def test_unordered_lines_come_as_they_are_ready() -> None:
    done = gearshift(
        "cli_run_work.py:nap", "0.3", "0", "--unordered", "--on", "threads", "--values"
    )
    assert done.stdout == '"0"\n"0.3"\n'


def test_failed_items_are_tried_again() -> None:
    done = gearshift("cli_run_work.py:flaky", "seen", "--retries", "2")
    assert lines(done.stdout) == [{"item": "seen", "value": 2}]
    assert "2 attempts were retries." in done.stderr


def test_attempts_are_written() -> None:
    done = gearshift("cli_run_work.py:double", "x", "--retries", "1")
    assert lines(done.stdout)[0]["error"]["attempts"] == 2


def test_seed_reaches_the_function(folder: Path) -> None:
    (folder / "cli_run_seeded.py").write_text(
        "import gearshift\ndef f(_): return str(gearshift.item_seed())", "utf-8"
    )
    runs = [gearshift("cli_run_seeded.py:f", "a", "b", "--seed", seed) for seed in ("1", "1", "2")]
    sys.modules.pop("cli_run_seeded", None)
    assert runs[0].stdout == runs[1].stdout != runs[2].stdout


def test_first_failure_ends_it_where_that_is_asked_for() -> None:
    done = gearshift(
        "cli_run_work.py:double", *"1x2", "--fail-fast", "--on", "serial", "-o", "out.jsonl"
    )
    assert done.exit_code == 1
    assert "Stopped at the first failure: 2 of 3 items were written." in done.stderr
    assert "The lines so far are in out.jsonl.part." in done.stderr
    assert not Path("out.jsonl").exists()
    assert [line["item"] for line in lines(Path("out.jsonl.part").read_text())] == ["1", "x"]


def test_output_file_is_whole_although_items_failed() -> None:
    done = gearshift("cli_run_work.py:double", "1", "x", "-o", "out.jsonl")
    assert (done.exit_code, done.stdout) == (1, "")
    assert [line["item"] for line in lines(Path("out.jsonl").read_text())] == ["1", "x"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cli_run_work.py"], "no inputs"),
        (["cli_run_work.py", "1"], "It has: double, adouble, point, nap, chatty, fragile, flaky."),
        (["cli_run_work.py:doble", "1"], "Did you mean 'double'?"),
        (["cli_run_work.py:SCALE", "1"], "cannot be called"),
        (["no.py:f", "1"], "no file 'no.py'."),
        (["cli_run_work.py:double", "--lines", "no.txt"], "--lines no.txt: No such file"),
        (["cli_run_work.py:double", "--glob", "*.no"], "matches no file"),
        (["cli_run_work.py:double", "1", "--on", "thread"], "did you mean 'threads'?"),
        (["cli_run_work.py:double", "1", "--workers", "0"], "workers=0"),
        (["cli_run_work.py:double", "1", "--chunksize", "0"], "chunksize=0"),
        (["cli_run_work.py:double", "1", "--buffersize", "0"], "buffersize=0"),
        (["cli_run_work.py:double", "1", "--retries", "-1"], "retries=-1"),
        (["cli_run_work.py:double", "1", "--limit", "fast"], "'fast' is not a rate"),
        (["cli_run_work.py:double", "1", "--timeout", "0"], "'0' is not a length of time"),
        (["cli_run_work.py:double", "1", "--on", "serial", "--timeout", "1"], "engine serial"),
        (["cli_run_work.py:double", "1", "-o", "no/out"], "Make its folder first"),
        (["cli_run_work.py:double", "cli_run_work.py", "-o", "cli_run_work.py"], "also the input"),
    ],
)
def test_wrong_use_is_refused_in_one_message(arguments: list[str], words: str) -> None:
    done = gearshift(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "items in" not in done.stderr
    assert [path.name for path in Path().iterdir()] == ["cli_run_work.py"]


def test_module_that_prints_at_import_does_not_disturb_the_lines(folder: Path) -> None:
    (folder / "cli_run_loud.py").write_text("print('loud')\ndef f(i): return i", "utf-8")
    done = gearshift("cli_run_loud.py:f", "a")
    sys.modules.pop("cli_run_loud", None)
    assert done.stdout == '{"item": "a", "value": "a"}\n'
    assert done.stderr.startswith("loud\n")


@pytest.mark.slow
@pytest.mark.parametrize("engine", [*ENGINES, "asyncio"])
@pytest.mark.parametrize("where", ["cli_run_work.py", "cli_run_work", "json.py"])
def test_function_of_a_file_runs_on_every_engine(folder: Path, engine: str, where: str) -> None:
    (folder / "json.py").write_text(WORK, "utf-8")  # a name that is taken
    function = "adouble" if engine == "asyncio" else "double"
    items = [str(number) for number in range(50)]
    environment = {**os.environ, "CLI_RUN_SCALE": "3"}
    with start(f"{where}:{function}", *items, "--on", engine, "--values", env=environment) as run:
        out, err = run.communicate()
    assert out.decode().split() == [str(number * 3) for number in range(50)]
    assert run.returncode == 0
    if engine != "auto":
        assert f" on {engine} with " in err.decode()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_types_of_the_file_come_back_from_workers(engine: str) -> None:
    with start("cli_run_work.py:point", "1", "own", "--on", engine, "-q") as run:
        out, _ = run.communicate()
    assert lines(out.decode()) == [
        {"item": "1", "value": {"x": 1, "at": "a"}},
        {
            "item": "own",
            "error": {"type": "OwnError", "message": "of the file's own type", "attempts": 1},
        },
    ]
    assert run.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_what_the_function_prints_goes_to_standard_error(engine: str) -> None:
    with start("cli_run_work.py:chatty", "1", "2", "--on", engine, "--values", "-q") as run:
        out, err = run.communicate()
    assert out == b'"1"\n"2"\n'
    assert sorted(err.decode().splitlines()) == ["chatty 1", "chatty 2", "child", "child"]


@pytest.mark.slow
@pytest.mark.parametrize(("closed", "status"), [("0<&-", 0), ("1>&-", 2), ("2>&-", 0)])
def test_closed_stream_is_no_place_for_prints(closed: str, status: int) -> None:
    line = shlex.join([*GEARSHIFT, "cli_run_work.py:chatty", "1"])
    done = subprocess.run(
        ["sh", "-c", f"{line} {closed}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    if status:
        assert done.stderr == "Error: standard output is closed: say -o FILE.\n"
    else:
        assert done.stdout == '{"item": "1", "value": "1"}\n'
        assert "Traceback" not in done.stderr
    into_file = shlex.join([*GEARSHIFT, "cli_run_work.py:chatty", "1", "-o", "out.jsonl"])
    subprocess.run(["sh", "-c", f"{into_file} {closed}"], capture_output=True, check=True)
    assert Path("out.jsonl").read_text() == '{"item": "1", "value": "1"}\n'


@pytest.mark.slow
def test_line_is_there_while_the_next_item_runs() -> None:
    with start("cli_run_work.py:nap", "0", "60", "--on", "serial") as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b'{"item": "0", "value": "0"}\n'
        run.send_signal(signal.SIGINT)
        run.communicate()
    assert run.returncode == 130


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_line_is_there_while_the_next_input_is_awaited(engine: str) -> None:
    with start(
        "cli_run_work.py:nap", "-", "--values", "--on", engine, stdin=subprocess.PIPE
    ) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        for _ in range(3):
            run.stdin.write(b"0\n")
            run.stdin.flush()
            assert run.stdout.readline() == b'"0"\n'
        out, _ = run.communicate()
    assert out == b""
    assert run.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_reader_that_stops_reading_ends_it_quietly(engine: str) -> None:
    with (
        subprocess.Popen(["yes", "0"], stdout=subprocess.PIPE) as endless,
        start("cli_run_work.py:nap", "-", "--on", engine, stdin=endless.stdout) as run,
    ):
        assert endless.stdout is not None
        assert run.stdout is not None
        assert run.stderr is not None
        endless.stdout.close()
        assert run.stdout.readline() == b'{"item": "0", "value": "0"}\n'
        run.stdout.close()
        assert run.stderr.read() == b""
        assert run.wait(20) == 141
        endless.wait(20)


def _interrupt(
    run: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT
) -> tuple[str, str]:
    """Send the signal to the whole group, as a terminal does; return what was written."""
    os.killpg(run.pid, number)
    out, err = run.communicate(timeout=20)
    return out.decode(), err.decode()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_writes_what_has_settled_and_does_not_wait(
    engine: str, number: signal.Signals
) -> None:
    with start(
        "cli_run_work.py:nap", "0", "0", "60", "0", "--on", engine, "--grace", "1s",
        start_new_session=True,
    ) as run:  # fmt: skip
        _wait_until(Path("napping").exists)
        began = time.monotonic()
        out, err = _interrupt(run, number)
        took = time.monotonic() - began
    assert [line["item"] for line in lines(out)] in (["0", "0"], ["0", "0", "0"])
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"Stopped by {name}: " in err
    assert "Traceback" not in err
    assert run.returncode == 128 + number
    assert took < 6
    assert not _group(run.pid)


@pytest.mark.slow
def test_interrupted_output_file_keeps_its_former_content(folder: Path) -> None:
    (folder / "out.jsonl").write_text("before\n", "utf-8")
    with start(
        "cli_run_work.py:nap", "0", "60", "--on", "serial", "-o", "out.jsonl", "-q",
        start_new_session=True,
    ) as run:  # fmt: skip
        _wait_until(Path("napping").exists)
        _, err = _interrupt(run)
    assert err == "The lines so far are in out.jsonl.part.\n"
    assert (folder / "out.jsonl").read_text("utf-8") == "before\n"
    assert lines((folder / "out.jsonl.part").read_text("utf-8")) == [{"item": "0", "value": "0"}]
    assert run.returncode == 130


@pytest.mark.slow
def test_interrupted_wait_for_input_ends() -> None:
    with start("cli_run_work.py:nap", "-", stdin=subprocess.PIPE, start_new_session=True) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(b"0\n")
        run.stdin.flush()
        assert run.stdout.readline() == b'{"item": "0", "value": "0"}\n'
        _, err = _interrupt(run)
    assert "Stopped by Ctrl-C: 1 item was written." in err
    assert run.returncode == 130


@pytest.mark.slow
def test_worker_that_dies_costs_its_item_alone() -> None:
    with start("cli_run_work.py:fragile", "1", "die", "2", "--on", "processes") as run:
        out, err = run.communicate(timeout=20)
    assert run.returncode == 1
    first, died, last = lines(out.decode())
    assert "value" in first
    assert "value" in last
    assert died["error"]["type"] == "WorkerDiedError"
    assert "item 1: the worker of processes" in died["error"]["message"]
    assert "Traceback" not in err.decode()


@pytest.mark.slow
def test_endless_input_needs_no_memory() -> None:
    with (
        subprocess.Popen(["yes", "1"], stdout=subprocess.PIPE) as endless,
        start("cli_run_work.py:double", "-", stdin=endless.stdout) as run,
    ):
        assert endless.stdout is not None
        assert run.stdout is not None
        endless.stdout.close()
        sizes = []
        for _ in range(2):
            for _ in range(50_000):
                run.stdout.readline()
            sizes.append(_resident_bytes(run.pid))
        run.stdout.close()
        run.wait(20)
        endless.wait(20)
    assert sizes[1] - sizes[0] < 5 << 20


@pytest.mark.slow
@pytest.mark.parametrize("bare", [(), ("--values",)])
def test_terminal_gets_a_bar_and_the_lines_above_it(bare: tuple[str, ...]) -> None:
    screen = _on_terminal("cli_run_work.py:nap", "0", "0.2", "x", "0.2", *bare)
    assert "/4" in screen
    assert "left" in screen
    assert "\x1b[2K" in screen
    assert "4 items in " in screen.replace("\r\n", " ")
    if bare:
        assert '"0.2"\r\n' in screen
        assert "'x' failed: ValueError" in screen
    else:
        assert '{"item": "0.2", "value": "0.2"}\r\n' in screen


@pytest.mark.slow
def test_quiet_terminal_gets_the_lines_only() -> None:
    assert _on_terminal("cli_run_work.py:nap", "0", "--quiet") == '{"item": "0", "value": "0"}\r\n'


def _on_terminal(*arguments: str) -> str:
    """Return all that a terminal gets."""
    outer, inner = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
        with start(*arguments, stdin=inner, stdout=inner, stderr=inner, env=environment) as run:
            os.close(inner)
            got = b""
            try:
                while data := os.read(outer, 65536):
                    got += data
            except OSError:  # what Linux says at the end of a terminal
                pass
            run.wait(20)
    finally:
        os.close(outer)
    return got.decode()


def _wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def _group(leader: int) -> list[str]:
    """Return the processes that are left of a process group."""
    left = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] != "Z":
            left.append(stat.parent.name)
    return left


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
def test_report_is_written_whole_also_of_a_run_that_was_cut_short(folder: Path) -> None:
    (folder / "report.json").write_text("before", "utf-8")
    with start(
        *("cli_run_work.py:nap", "0", "60", "--on", "serial", "-q", "--report", "report.json"),
        start_new_session=True,
    ) as run:
        _wait_until(Path("napping").exists)
        _interrupt(run)
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert (report["items"], report["finished"], report["engine"]) == (1, False, "serial")
    assert not [path for path in folder.iterdir() if path.name.startswith("report.json.")]


@pytest.mark.parametrize("path", ["-", "out.jsonl"])
def test_report_needs_a_file_of_its_own(folder: Path, path: str) -> None:
    result = gearshift("cli_run_work.py:double", "1", "-o", "out.jsonl", "--report", path)
    assert result.exit_code == 2
    assert "give it a file of its own" in result.stderr
    assert not (folder / "out.jsonl").exists()


def test_report_that_cannot_be_written_is_an_error(folder: Path) -> None:
    result = gearshift("cli_run_work.py:double", "1", "--report", "nowhere/report.json")
    assert result.exit_code == 1
    assert "writing nowhere/report.json failed: No such file or directory" in result.stderr
