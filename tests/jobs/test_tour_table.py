"""The table: what a terminal, a narrow one, a pipe and a colourless one get."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from gearshift.reports.tour_table import Group, Machine, Row, Tour, show_tour

CALLS = (
    'list(gs.map(fetch, urls, on="threads", workers=10))',
    'list(gs.map(hashing, twice, on="processes", workers=2))',
)


def tour(*, wrong: tuple[str, ...] = (), quick: bool = False) -> Tour:
    rows = tuple(
        Row(
            call=call,
            seconds=1.034,
            speedup=1.0,
            engine="threads",
            workers=10,
            reasons=(
                "The server saw up to ten requests [at once], which is a rather long reason.",
                "- 66 µs an item",
            ),
            chapter='"an order of magnitude" faster.',
        )
        for call in CALLS
    )
    group = Group(
        title="10 pictures from a server that answers after 0.1 s",
        setup=("from gearshift.jobs.tour.pictures import PictureServer, fetch, fetch_async",),
        rows=rows,
        notes=("2,000 of the chapter's 10,000 numbers, because this is the quick tour",),
        wrong=wrong,
    )
    machine = Machine(
        python="3.11.7", implementation="CPython", gil=True, cores=2, system="Linux x86_64"
    )
    return Tour(machine=machine, quick=quick, groups=(group, group), seconds=11.2)


def shown(
    width: int, *, finished: Tour | None = None, terminal: bool = False, colours: bool = True
) -> str:
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=terminal,
        no_color=not colours,
        highlight=False,
        markup=False,
    )
    show_tour(finished or tour(), console)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_calls_and_setup_stay_whole_and_lines_fit(width: int) -> None:
    lines = shown(width).splitlines()
    for call in CALLS:
        assert f"   1.03      1.0x  {call}" in lines
    assert "from gearshift.jobs.tour.pictures import PictureServer, fetch, fetch_async" in lines
    assert max(map(len, lines)) <= width


def test_small_numbers_keep_two_digits() -> None:
    done = tour()
    row = replace(done.groups[0].rows[0], seconds=0.00871, speedup=0.00524)
    group = replace(done.groups[0], rows=(row,))
    assert f" 0.0087   0.0052x  {CALLS[0]}" in shown(80, finished=replace(done, groups=(group,)))


def test_narrow_window_loses_no_character_of_a_call() -> None:
    squeezed = "".join(shown(40).split())
    for call in CALLS:
        assert call.replace(" ", "") in squeezed


def test_reasons_notes_chapter_and_machine_are_shown() -> None:
    text = shown(120)
    for expected in (
        "CPython 3.11.7 with the GIL, 2 cores usable, Linux x86_64",
        "ten requests [at once]",
        'The chapter: "an order of magnitude" faster.',
        "(2,000 of the chapter's 10,000 numbers, because this is the quick tour)",
    ):
        assert expected in text
    assert "WRONG" not in text
    title = '"Speed It Up!", measured here in 11 s'
    assert text.startswith(f"gearshift tour: {title}\n")
    assert shown(120, finished=tour(quick=True)).startswith(f"gearshift tour --quick: {title}\n")


def test_wrong_results_are_said_to_be_wrong() -> None:
    assert "WRONG: 3 wrong factorings, the first of 6." in shown(
        80, finished=tour(wrong=("3 wrong factorings, the first of 6.",))
    )


def test_a_file_gets_plain_lines_without_blanks_at_their_ends() -> None:
    text = shown(80)
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_colours_are_left_out_where_they_are_not_wanted() -> None:
    assert "\x1b[36m" in shown(80, terminal=True)
    assert "\x1b[36m" not in shown(80, terminal=True, colours=False)


def test_a_terminal_without_unicode_gets_readable_lines() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, "ascii"), width=80, highlight=False, markup=False)
    show_tour(tour(), console)
    console.file.flush()
    assert b"- 66 us an item" in raw.getvalue()
