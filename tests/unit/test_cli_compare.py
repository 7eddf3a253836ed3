"""`gearshift compare` as it is used: what stands where, and with which exit status."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gearshift._api import entrants
from gearshift.cli import main

if TYPE_CHECKING:
    from click.testing import Result

GEARSHIFT = (sys.executable, "-m", "gearshift", "compare")

WORK = """
import os


def double(item):
    print("working")
    return 2 * int(item)


def add(x, y):
    return int(x) + int(y)


def process(item):
    return os.getpid()


async def adouble(item):
    return 2 * int(item)
"""


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = tmp_path / f"work_{tmp_path.name}.py"
    file.write_text(WORK)
    return file


def compare(work: Path, function: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["compare", f"{work.name}:{function}", *arguments])


def in_a_shell(work: Path, function: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*GEARSHIFT, f"{work.name}:{function}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_output_is_the_table_alone_and_the_rest_goes_to_standard_error(work: Path) -> None:
    done = in_a_shell(work, "double", "1", "2", "3", "--on", "serial,threads:2", "--rounds", "1")
    assert done.returncode == 0
    assert done.stderr.startswith("double will be called with each of 3 items at most 4 times")
    assert 3 * 2 + 2 <= done.stderr.count("working") <= 3 * 4
    heading, _, heads, serial, threads, *_ = done.stdout.splitlines()
    assert heading.startswith("double over 3 items, on ")
    assert heads.split()[:3] == ["on", "workers", "time"]
    assert serial.split()[0] == "serial"
    assert threads.split()[:2] == ["threads:2", "2"]
    assert "All of them gave the same results." in done.stdout


@pytest.mark.slow
def test_results_that_differ_give_exit_status_1(work: Path) -> None:
    done = in_a_shell(work, "process", "a", "--on", "serial", "--on", "processes", "-q")
    assert done.returncode == 1
    assert "RESULTS DIFFER: item 0 ('a') gave " in done.stdout
    assert done.stderr == ""


def test_json_is_the_comparison(work: Path) -> None:
    done = compare(work, "double", "1", "--on", "serial", "--export", "json", "-q")
    assert done.exit_code == 0
    read = json.loads(done.stdout)
    assert read["schema"] == 1
    assert [trial["on"] for trial in read["trials"]] == ["serial"]


@pytest.mark.parametrize(
    ("name", "options", "first"),
    [
        ("engines.md", (), "double over 1 item"),
        ("engines.json", (), "{"),
        ("engines.txt", ("--export", "json"), "{"),
        ("engines.txt", (), "double over 1 item"),
    ],
)
def test_file_gets_what_its_ending_or_export_says(
    work: Path, name: str, options: tuple[str, ...], first: str
) -> None:
    done = compare(work, "double", "1", "--on", "serial", "-q", "-o", name, *options)
    assert done.exit_code == 0
    assert set(done.stdout.splitlines()) == {"working"}  # what the function prints
    text = Path(name).read_text(encoding="utf-8")
    assert text.startswith(first)
    assert ("| on |" in text) == (name == "engines.md")


def test_jsonl_and_csv_are_read_as_run_reads_them(work: Path) -> None:
    Path("pairs.jsonl").write_text('{"x": 1, "y": 2}\n[1]\n')
    Path("pairs.csv").write_text("x,y\n3,4\n")
    read = ["--jsonl", "pairs.jsonl", "--csv", "pairs.csv"]
    done = compare(work, "add", *read, "--on", "serial", "-q", "--export", "json")
    trial = json.loads(done.stdout)["trials"][0]
    assert json.loads(done.stdout)["items"] == 3
    assert trial["failed"] == 1  # a list is one argument


def test_coroutine_functions_are_compared(work: Path) -> None:
    done = compare(work, "adouble", "1", "-q", "--rounds", "1", "--export", "json")
    assert [trial["on"] for trial in json.loads(done.stdout)["trials"]] == [
        "serial",
        "asyncio",
        "auto",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("double",), "no inputs"),
        (("duoble", "1"), "Did you mean 'double'?"),
        (("double", "1", "--on", "thread"), "did you mean 'threads'?"),
        (("double", "1", "--on", "serial:none"), "what follows the colon is how many workers"),
        (("double", "1", "--rounds", "0"), "rounds=0 is below 1"),
        (("double", "1", "--workers", "0"), "workers=0 is below 1"),
        (("double", "1", "--seconds", "soon"), "is not a length of time"),
        (("double", "1", "--export", "html"), "'html' is not one of 'md', 'json'"),
        (("double", "--lines", "gone.txt"), "gone.txt"),
    ],
)
def test_wrong_use_gives_exit_status_2_and_says_what_is_wrong(
    work: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = compare(work, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_input_is_never_written_over(work: Path) -> None:
    Path("items.md").write_text("1\n")
    done = compare(work, "double", "--lines", "items.md", "-o", "items.md")
    assert done.exit_code == 2
    assert Path("items.md").read_text() == "1\n"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_a_table_of_its_width(work: Path, columns: int) -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "COLUMNS": str(columns), "LINES": "40"}
    program = [*GEARSHIFT, f"{work.name}:add", "1", "--on", "serial", "--on", "threads", "-q"]
    with subprocess.Popen(program, stdout=theirs, stderr=subprocess.PIPE, env=environ) as done:
        os.close(theirs)
        said = b""
        try:
            while data := os.read(ours, 65536):
                said += data
        except OSError:  # the other side is closed
            pass
        os.close(ours)
    lines = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", said.decode()).splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("serial ") for line in lines)
    assert "\x1b[" in said.decode()


def test_inputs_without_an_end_are_refused(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entrants, "MOST_ITEMS", 10)
    Path("many.txt").write_text("1\n" * 11)
    done = compare(work, "double", "--lines", "many.txt")
    assert done.exit_code == 2
    assert "there are more than 10 items" in done.stderr
