"""A comparison as text, Markdown and JSON."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gearshift.reports.comparison import as_json, as_markdown, show_comparison
from gearshift.trials import COLUMNS, Comparison, Trial

SERIAL = Trial(
    on="serial",
    engine="serial",
    workers=1,
    seconds=(1.0, 1.2, 1.1),
    cpu_seconds=1.05,
    peak_bytes=1_500_000,
    start_seconds=0.0001,
)
THREADS = Trial(
    on="threads:8",
    engine="threads",
    workers=8,
    seconds=(0.5,),
    cpu_seconds=None,
    peak_bytes=None,
    start_seconds=0.002,
    predicted_seconds=0.45,
)
WRONG = Trial(
    on="processes",
    engine="processes",
    workers=2,
    seconds=(0.7,),
    agrees=False,
    difference="item 3 (7) gave 1 on processes, and 2 on serial.",
)
ABSENT = Trial(on="asyncio", engine="asyncio", agrees=None, why_not="it is no coroutine function")


def comparison(*trials: Trial, **more: Any) -> Comparison:
    values: dict[str, Any] = {
        "function": "crunch",
        "items": 24,
        "trials": trials,
        "runs": 4,
        "best": "threads:8",
        "words": ("Use threads:8.",),
        "ended": "stable",
        "seconds": 5.0,
        "cores": 2,
        "python": "3.11.7",
    }
    return Comparison(**values | more)


def on_terminal(shown: Comparison, width: int) -> str:
    file = StringIO()
    show_comparison(shown, Console(file=file, width=width, force_terminal=True, color_system=None))
    return file.getvalue()


def test_text_is_a_heading_a_table_and_words() -> None:
    assert str(comparison(SERIAL, THREADS)) == (
        "crunch over 24 items, on 2 cores, Python 3.11.7: 3 rounds, then the ranking was stable\n"
        "\n"
        "on         workers       time  predicted  speed-up     CPU  memory  start-up\n"
        "serial           1  1.1 s \N{PLUS-MINUS SIGN}9%          -     1.00x  1.05 s  1.5 MB    0.1 ms\n"
        "threads:8        8     500 ms     450 ms     2.20x       -       -      2 ms\n"
        "\n"
        "All of them gave the same results.\n"
        "Use threads:8."
    )


def test_results_that_differ_are_loud_in_the_row_and_below() -> None:
    shown = comparison(SERIAL, WRONG)
    assert not shown.agree
    assert shown.table()[2][COLUMNS.index("speed-up")] == "DIFFERS"
    assert shown.lines()[0] == f"RESULTS DIFFER: {WRONG.difference}"


def test_an_engine_that_did_not_run_has_a_row_and_the_reason() -> None:
    shown = comparison(SERIAL, ABSENT)
    assert shown.agree
    assert shown.table()[2] == ("asyncio", *["-"] * (len(COLUMNS) - 1))
    assert shown.lines()[0] == "asyncio did not run: it is no coroutine function"


def test_results_that_cannot_be_compared_are_said_to_be_so() -> None:
    unknown = Trial(on="threads", engine="threads", seconds=(1.0,), agrees=None)
    shown = comparison(SERIAL, unknown)
    assert shown.agree
    assert shown.lines()[0] == "Results of threads cannot be compared: they have no usable `==`."


def test_speedups_need_serial() -> None:
    assert comparison(THREADS).speedup(THREADS) is None
    assert comparison(ABSENT).speedup(ABSENT) is None
    assert comparison(SERIAL, THREADS).speedup(THREADS) == pytest.approx(2.2)


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ("stable", "3 rounds, then the ranking was stable"),
        ("rounds", "3 rounds, as many as there were to be"),
        ("seconds", "3 rounds, more would have taken too long"),
    ],
)
def test_heading_says_why_there_was_no_further_round(ended: str, said: str) -> None:
    assert comparison(SERIAL, ended=ended).heading().endswith(said)


def test_json_has_every_value_and_comes_back_as_it_was() -> None:
    shown = comparison(SERIAL, THREADS, ABSENT)
    read = json.loads(as_json(shown))
    assert read == shown.as_dict()
    assert read["schema"] == 1
    assert read["agree"] is True
    first, second, absent = read["trials"]
    assert first["seconds"] == [1.0, 1.2, 1.1]
    assert second["speedup"] == pytest.approx(2.2)
    assert absent["median"] is None
    given = {name: absent[name] for name in Trial.__slots__}
    given |= {"seconds": tuple(given["seconds"]), "reasons": tuple(given["reasons"])}
    assert Trial(**given) == ABSENT


def test_markdown_marks_the_best_and_keeps_its_columns() -> None:
    shown = comparison(SERIAL, THREADS, function="<lambda>_x")
    lines = as_markdown(shown).splitlines()
    assert lines[0].startswith("&lt;lambda>\\_x over 24 items")
    table = [line for line in lines if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}
    assert table[3].startswith("| **threads:8** | **8** |")
    assert lines[-1] == "- Use threads:8."


@pytest.mark.parametrize("width", [80, 120])
def test_table_fits_a_terminal(width: int) -> None:
    text = on_terminal(comparison(SERIAL, THREADS, WRONG, ABSENT), width)
    assert max(map(len, text.splitlines())) <= width
    rows = [line for line in text.splitlines() if line.startswith(("serial", "threads:8"))]
    assert len(rows) == 2
    assert "2.20x" in rows[1]


def test_long_sentences_break_between_words_on_a_terminal() -> None:
    words = ("With fewer than about 20 such items, or items shorter than 2 ms, all changes.",)
    text = on_terminal(comparison(SERIAL, words=words), 40)
    assert " ".join(text.split()).endswith(words[0])
