"""`gearshift tour`: the options, the status line, and the exit status."""

from __future__ import annotations

import shutil
import sys

import click

__all__ = ["tour"]

_INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


@click.command(short_help="Measure a book chapter's examples on this machine.")
@click.option("--quick", is_flag=True, help="Measure less: under 10 seconds instead of under 30.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON instead of a table.")
def tour(*, quick: bool, as_json: bool) -> None:
    """Measure the examples of a book chapter on concurrency, "Speed It Up!", on this machine.

    Ten pictures from a local server, ten thousand numbers to factor, the GIL made
    visible, events from another thread, and the thermometers of 1,000 racks: each with the
    call that was measured, to paste into your own program, and the reason for what it took.
    Nothing outside this machine is contacted.

    Exits with 1 if a call gave a wrong result.
    """
    try:
        from gearshift.jobs.tour.stations import FULL, QUICK, take_tour

        done = take_tour(QUICK if quick else FULL, tell=_show_status)
    except KeyboardInterrupt:
        _show_status("")
        click.echo("Interrupted; the tour's server and workers are stopped.", err=True)
        sys.exit(_INTERRUPTED)
    _show_status("")
    if as_json:
        import dataclasses
        import json

        click.echo(json.dumps(dataclasses.asdict(done), indent=2))
    else:
        from rich.console import Console

        from gearshift.reports.tour_table import show_tour

        show_tour(done, Console(highlight=False, markup=False))
    if any(group.wrong for group in done.groups):
        sys.exit(1)


def _show_status(words: str) -> None:
    """Replace the status line; only a terminal has one."""
    if sys.stderr.isatty():
        # By hand: rich's status line has a thread, beside which workers start more slowly.
        line = f"measuring {words}" if words else ""
        sys.stderr.write(f"\r\x1b[2K{line[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()
