"""The group `gearshift`: a quick start, its help, and names that were probably meant."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import gearshift
from gearshift.cli import main

LATE = ("asyncio", "concurrent.futures", "multiprocessing", "rich", "gearshift.engines")


def loaded_by(*arguments: str) -> set[str]:
    """Return the modules that a command line loads."""
    script = (
        "import json, sys\n"
        "from gearshift.cli import main\n"
        f"main({list(arguments)!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(
    "arguments", [("--version",), ("--help",), ("run", "--help"), ("compare", "--help")]
)
def test_help_and_version_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & set(LATE)


def test_version_is_the_packages() -> None:
    shown = CliRunner().invoke(main, ["--version"])
    assert shown.output == f"gearshift, version {gearshift.__version__}\n"


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command(flag: str) -> None:
    shown = CliRunner().invoke(main, [flag])
    assert shown.exit_code == 0
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert f"  {name} " in shown.output


def test_command_that_was_meant_is_named() -> None:
    shown = CliRunner().invoke(main, ["rum"])
    assert shown.exit_code == 2
    assert "no command 'rum'. Did you mean 'run'?" in shown.output


def test_unknown_command_gets_the_list() -> None:
    shown = CliRunner().invoke(main, ["frobnicate"])
    assert shown.exit_code == 2
    assert (
        "no command 'frobnicate'. There is: run, explain, compare, download, tour, turtle."
        in shown.output
    )


def test_every_listed_command_can_be_loaded() -> None:
    for name in main.list_commands(None):  # type: ignore[arg-type]
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


def test_interrupt_anywhere_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(main), "resolve_command", interrupted)
    assert CliRunner().invoke(main, ["run"]).exit_code == 130
