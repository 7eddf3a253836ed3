"""`gearshift explain TARGET [INPUT...]`: run a few items, say which engine and why.

Status: 0 explained; 1 the function failed on all that was run; 2 wrong use; 130 Ctrl-C.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from gearshift.cli.asked import input_options, items_at_hand
from gearshift.cli.problems import Broken, WrongUse

if TYPE_CHECKING:
    from gearshift.plans import Plan

__all__ = ["explain"]

MOST_ITEMS = 1_000_000

_EXAMPLES = """\b
Examples:
  gearshift explain hashing.py:digest --glob 'photos/**/*.jpg'
  gearshift explain mypackage.tools:fetch --lines urls.txt
  gearshift explain math:factorial:int 900 1000 1100

The first items are run for real, until it is clear which engine would be chosen for all of
them: some ten milliseconds, or as long as one item takes. Their values are dropped.
"""


@click.command(epilog=_EXAMPLES)
@click.argument("target")
@click.argument("arguments", metavar="[INPUT]...", nargs=-1)
@input_options
@click.option("--workers", type=int, metavar="N", help="Tasks at once at most.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def explain(target: str, *, workers: int | None, as_json: bool, **given: Any) -> None:
    """Run a few inputs, and say which engine would be chosen for all, and why.

    TARGET and INPUT are those of `gearshift run`.
    """
    plan = _explained(target, workers, given)
    click.echo(json.dumps(plan.as_dict(), indent=2, default=repr) if as_json else str(plan))


def _explained(target: str, workers: int | None, given: dict[str, Any]) -> Plan:
    """Return the plan.

    Raises:
        Broken: The function failed on all that was run.
        WrongUse: There is nothing to run.
    """
    # All of ours first: what the target's folder holds may be called like something of these.
    from gearshift._api.explain import explain as measure
    from gearshift.cli.target import load_target

    cure = "which are all to be held: give fewer, such as by: head -n 1000 FILE | gearshift explain TARGET -"
    items, star, _ = items_at_hand(given, MOST_ITEMS, cure)
    function = load_target(target)
    if not items:
        raise WrongUse("there are no inputs in what was named: nothing can be measured.")

    try:
        return measure(function, items, workers=workers, star=star)
    except Exception as error:
        raise Broken(f"the function failed: {type(error).__name__}: {error}") from None
