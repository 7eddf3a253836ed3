"""Tell functions that call nothing: they cannot ask for their context, so none has to be made for them.

A copy of the context for each task takes as long as a trivial function itself. What such
a function still runs of other code are the operators and properties of its items; one
that sets a context variable there and hopes that the next task does not see it is not served.
"""

from __future__ import annotations

from opcode import opmap
from types import FunctionType

__all__ = ["calls_nothing"]

# Of instructions that run other code, or hand control over; by parts of their names, which differ by version.
_WORDS = (
    *("CALL", "IMPORT", "YIELD", "AWAIT", "SEND", "GENERATOR", "ITER", "MAKE_FUNCTION"),
    *("BEFORE_WITH", "WITH_EXCEPT", "LOAD_SPECIAL"),
)
_OTHERS = frozenset(
    number for name, number in opmap.items() if any(word in name for word in _WORDS)
)


def calls_nothing(function: object) -> bool:
    """Whether a function's code neither calls, imports, iterates nor yields."""
    if type(function) is not FunctionType:
        return False
    return _OTHERS.isdisjoint(function.__code__.co_code[::2])
