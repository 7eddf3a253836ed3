"""The tour from end to end, small, and what it says of wrong results."""

from __future__ import annotations

import pytest

import gearshift as gs
from gearshift.jobs.tour.factors import factor
from gearshift.jobs.tour.pictures import PictureServer
from gearshift.jobs.tour.racks import has_reactivex
from gearshift.jobs.tour.stations import Sizes, take_factors, take_pictures, take_tour
from gearshift.reports.tour_table import Machine

TINY = Sizes(
    pictures=3,
    delay_seconds=0.01,
    numbers=40,
    job_seconds=0.004,
    rounds=1,
    events=300,
    readings=9_000,
)
MACHINE = Machine(
    python="3.11.7", implementation="CPython", gil=True, cores=2, system="Linux x86_64"
)


@pytest.mark.slow
def test_every_call_of_the_tour_can_be_pasted() -> None:
    told: list[str] = []
    done = take_tour(TINY, tell=told.append)
    assert [len(group.rows) for group in done.groups] == [4, 3, 3, 3, 3, 4, 2 + has_reactivex()]
    assert told
    for group in done.groups:
        assert group.wrong == ()
        assert group.rows[0].speedup == 1.0
        names: dict[str, object] = {"gs": gs}
        exec("\n".join(group.setup), names)  # noqa: S102 - what a reader does
        try:
            for row in group.rows:
                assert row.reasons
                assert eval(row.call, names)  # noqa: S307 - what a reader does
        finally:
            server = names.get("server")
            if isinstance(server, PictureServer):
                server.close()


@pytest.mark.slow
def test_auto_rows_tell_the_engine_of_the_run() -> None:
    for group in (take_pictures(TINY, MACHINE, print), take_factors(TINY, MACHINE, print)):
        auto = group.rows[-1]
        assert 'on="auto"' in auto.call
        assert auto.reasons[0].startswith(f"It ran on {auto.engine}, {auto.workers} worker")


@pytest.mark.slow
def test_wrong_factors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets_one(number: int) -> list[int]:
        return factor(number)[1:]

    monkeypatch.setattr("gearshift.jobs.tour.stations.factor", forgets_one)
    group = take_factors(TINY, MACHINE, print)
    assert len(group.wrong) == 3
    assert "wrong for 40 of 40 numbers, the first" in group.wrong[0]


@pytest.mark.slow
def test_wrong_pictures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gearshift.jobs.tour.stations.picture", lambda number: b"")
    group = take_pictures(TINY, MACHINE, print)
    assert len(group.wrong) == 4
