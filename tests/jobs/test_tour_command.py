"""The command: its output as data, its exit status, and what Ctrl-C leaves behind."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from gearshift.cli.tour import _show_status, tour
from gearshift.jobs.tour import stations
from gearshift.reports.tour_table import Group, Machine, Row, Tour

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift.jobs.tour.calls import Call, Measured

ROW = Row(
    call="list(gs.map(f, xs))",
    seconds=1.0,
    speedup=1.0,
    engine="serial",
    workers=1,
    reasons=("Because.",),
)
MACHINE = Machine(
    python="3.11.7", implementation="CPython", gil=True, cores=2, system="Linux x86_64"
)


def finished(*, wrong: tuple[str, ...] = (), quick: bool = False) -> Tour:
    group = Group(title="Some work", setup=("xs = [1]",), rows=(ROW,), wrong=wrong)
    return Tour(machine=MACHINE, quick=quick, groups=(group,), seconds=3.0)


@pytest.fixture
def fake_tour(monkeypatch: pytest.MonkeyPatch) -> Callable[[Tour], list[stations.Sizes]]:
    """Return a function that sets the finished tour, and gives the sizes it was asked for."""

    def put(done: Tour) -> list[stations.Sizes]:
        asked: list[stations.Sizes] = []

        def take_tour(sizes: stations.Sizes, *, tell: Callable[[str], object]) -> Tour:
            asked.append(sizes)
            tell("pictures")
            return done

        monkeypatch.setattr(stations, "take_tour", take_tour)
        return asked

    return put


def test_table_is_printed_and_full_sizes_are_taken(
    fake_tour: Callable[[Tour], list[stations.Sizes]],
) -> None:
    asked = fake_tour(finished())
    result = CliRunner().invoke(tour, [])
    assert result.exit_code == 0
    assert "list(gs.map(f, xs))" in result.stdout
    assert result.stderr == ""
    assert asked == [stations.FULL]


def test_json_is_all_of_standard_output(fake_tour: Callable[[Tour], list[stations.Sizes]]) -> None:
    asked = fake_tour(finished(quick=True))
    result = CliRunner().invoke(tour, ["--quick", "--json"])
    data = json.loads(result.stdout)
    assert data["machine"] == {
        "python": "3.11.7",
        "implementation": "CPython",
        "gil": True,
        "cores": 2,
        "system": "Linux x86_64",
    }
    assert data["groups"][0]["rows"][0]["call"] == "list(gs.map(f, xs))"
    assert data["groups"][0]["rows"][0]["reasons"] == ["Because."]
    assert asked == [stations.QUICK]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_wrong_results_show_in_output_and_exit_status(
    options: list[str], fake_tour: Callable[[Tour], list[stations.Sizes]]
) -> None:
    fake_tour(finished(wrong=("3 wrong factorings.",)))
    result = CliRunner().invoke(tour, options)
    assert result.exit_code == 1
    assert "3 wrong factorings." in result.stdout


def test_interrupt_ends_with_130_and_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[bool] = []

    def interrupted(call: Call) -> Measured:
        running.extend(thread.name == "tour-pictures" for thread in threading.enumerate())
        raise KeyboardInterrupt

    monkeypatch.setattr(stations, "measure", interrupted)
    monkeypatch.setattr(stations, "_pay_imports", lambda url: None)
    result = CliRunner().invoke(tour, [])
    assert result.exit_code == 130
    assert result.stdout == ""
    assert "Interrupted" in result.stderr
    assert any(running)
    assert not [thread for thread in threading.enumerate() if thread.name == "tour-pictures"]


class FakeTerminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_status_line_is_replaced_and_never_longer_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = FakeTerminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "20")
    _show_status("pictures, one after another")
    _show_status("")
    assert terminal.getvalue() == "\r\x1b[2Kmeasuring pictures,\r\x1b[2K"
