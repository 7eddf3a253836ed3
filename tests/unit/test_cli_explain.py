"""`gearshift explain`: what a person reads, and the exit status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gearshift.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

FUNCTIONS = """
import time

def nap(text):
    time.sleep(float(text))

def add(a, b):
    return int(a) + int(b)

def fail(text):
    raise OSError(f"no {text}")
"""


@pytest.fixture
def target(tmp_path: Path) -> str:
    file = tmp_path / "functions.py"
    file.write_text(FUNCTIONS)
    return str(file)


def explain(*words: str) -> Result:
    return CliRunner().invoke(main, ["explain", *words])


def test_plan_is_printed_in_a_few_lines(target: str) -> None:
    done = explain(f"{target}:nap", *["0.02"] * 40)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("nap: ")
    assert "choice: threads" in done.output
    assert len(lines) <= 5


def test_plan_is_printed_as_json(target: str) -> None:
    done = explain(f"{target}:nap", "--json", *["0.001"] * 3)
    plan = json.loads(done.output)
    assert plan["schema"] == 1
    assert plan["engine"] in {"serial", "threads"}
    assert plan["profile"]["remaining"] == 3


def test_rows_are_keywords(target: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("a,b\n1,2\n3,4\n")
    done = explain(f"{target}:add", "--csv", str(rows))
    assert done.exit_code == 0, done.output
    assert "choice: serial" in done.output


def test_function_that_fails_is_named_with_its_error(target: str) -> None:
    done = explain(f"{target}:fail", "disk", "disk")
    assert done.exit_code == 1
    assert "OSError: no disk" in done.output


def test_wrong_use_ends_with_two(target: str) -> None:
    assert explain(f"{target}:nap").exit_code == 2
    assert "no inputs" in explain(f"{target}:nap").output
    assert explain(f"{target}:nopp", "1").exit_code == 2
    assert explain(f"{target}:nap", "1", "--workers", "0").exit_code != 0
