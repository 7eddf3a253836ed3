"""Run what the pages show, and find every public name in them."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gearshift
import gearshift.engines

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


@pytest.mark.slow
def test_first_example_prints_what_the_readme_says() -> None:
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", README, re.DOTALL)[:2]
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert _without_times(done.stdout) == _without_times(shown)


@pytest.mark.slow
def test_stream_prints_what_the_readme_says(capsys: pytest.CaptureFixture[str]) -> None:
    section = README.split("## Items that come by themselves")[1]
    example, shown = re.findall(r"```(?:python|text)\n(.*?)```", section, re.DOTALL)[:2]
    exec(example, {})  # noqa: S102 - what a reader does
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    "module",
    [
        "gearshift._api.compare",
        "gearshift._api.map",
        "gearshift._work.per_worker",
        "gearshift.streams.stream",
        "gearshift.testing.clock",
        "gearshift.testing.marbles",
        "gearshift.units",
    ],
)
def test_examples_of_docstrings_are_true(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", gearshift.__all__)
def test_public_name_stands_in_the_reference(name: str) -> None:
    assert f"gs.{name}" in REFERENCE


@pytest.mark.parametrize("name", gearshift.engines.__all__)
def test_engine_stands_in_the_reference(name: str) -> None:
    assert f"gs.engines.{name}" in REFERENCE


@pytest.mark.parametrize("name", gearshift.__all__)
def test_public_name_loads(name: str) -> None:
    assert getattr(gearshift, name) is not None


def test_links_of_the_pages_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def _without_times(text: str) -> str:
    """Leave out what differs from machine to machine."""
    return re.sub(r"\d+(\.\d+)? (s|ms)\b|\d+%", "#", text)
