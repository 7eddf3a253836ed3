"""Whether two outcomes of the same item are the same.

Apart from the comparison because the question is hard enough: values may be arrays, not
equal to themselves, without an `==`, or with one that raises. Invariant: nothing that a
value does comes out of here; what cannot be told is None.
"""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from gearshift._work.pickling import dumps
from gearshift.facts import Failure, message_of, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["is_same", "shown"]

_SHOWN_CHARACTERS = 60


def is_same(one: object, other: object) -> bool | None:
    """Say whether two outcomes are the same.

    Failures are, when type and message of their exceptions are. Values are when `==` says so.
    NaN is the same as NaN, also inside of lists, tuples, dicts and arrays; arrays are compared
    as a whole. Objects whose class has no `==` are compared by what they hold, or else by how
    they are pickled.

    Returns:
        True or False, or None where it cannot be told.
    """
    try:
        return _is_same(one, other)
    except Exception:  # an `==` of the user's, a value without an end
        return None


def shown(outcome: object) -> str:
    """Write an outcome for a message, short, and even where its `repr` fails."""
    if isinstance(outcome, Failure):
        error = outcome.exception
        text = f"{type_name(error)}: {message_of(error)}"
    else:
        try:
            text = repr(outcome)
        except Exception:
            text = f"a {type(outcome).__qualname__} whose repr fails"
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _is_same(one: Any, other: Any) -> bool | None:
    if isinstance(one, Failure) or isinstance(other, Failure):
        return _are_same_failures(one, other)
    if one is other:
        return True
    if type(one) is type(other) and type(one) in {list, tuple, dict}:
        return _are_same_containers(one, other)
    if _is_array(one) or _is_array(other):
        return _are_same_arrays(one, other)
    return _are_same_values(one, other)


def _are_same_values(one: Any, other: Any) -> bool | None:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)  # noqa: PLR0124 - NaN
    if _has_no_equality(one) and _has_no_equality(other):
        return _hold_the_same(one, other)
    return _says_equal(one, other)


def _has_no_equality(value: object) -> bool:
    equality: object = type(value).__eq__
    return equality is object.__eq__


def _are_same_failures(one: object, other: object) -> bool:
    if not (isinstance(one, Failure) and isinstance(other, Failure)):
        return False
    mine, theirs = one.exception, other.exception
    return type_name(mine) == type_name(theirs) and message_of(mine) == message_of(theirs)


def _are_same_containers(one: Any, other: Any) -> bool | None:
    if len(one) != len(other):
        return False
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return False
        return _all_same((one[key], other[key]) for key in one)
    return _all_same(zip(one, other, strict=True))


def _all_same(pairs: Iterable[tuple[Any, Any]]) -> bool | None:
    """Say whether all pairs are the same; one that differs outweighs those that cannot be told."""
    answer: bool | None = True
    for one, other in pairs:
        same = is_same(one, other)
        if same is False:
            return False
        if same is None:
            answer = None
    return answer


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray | numpy.generic)


def _are_same_arrays(one: Any, other: Any) -> bool | None:
    numpy: Any = sys.modules["numpy"]
    if numpy.shape(one) != numpy.shape(other):
        return False
    if getattr(one, "dtype", None) != getattr(other, "dtype", None):
        return False
    if getattr(one.dtype, "kind", "") == "O":
        return _all_same(zip(numpy.ravel(one), numpy.ravel(other), strict=True))
    has_nan = one.dtype.kind in "fcmM"
    return bool(numpy.array_equal(one, other, equal_nan=has_nan))


def _hold_the_same(one: Any, other: Any) -> bool | None:
    """Compare objects whose class has no `==`."""
    if type(one) is not type(other):
        return False
    if hasattr(one, "__dict__") and type(one).__flags__ & _IS_HEAP_TYPE and vars(one):
        return _are_same_containers(vars(one), vars(other))
    mine, theirs = dumps(one), dumps(other)
    # As both are after one way there and back: only one of them may have gone it before.
    return mine == theirs or dumps(pickle.loads(mine)) == dumps(pickle.loads(theirs))


_IS_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a `class` statement


def _says_equal(one: Any, other: Any) -> bool | None:
    """Ask `==`, and where that says neither yes nor no, `equals`, as tables have it."""
    answer = one == other
    if isinstance(answer, bool):
        # What holds a NaN, or an object without an `==`, is not equal to its own copy.
        return answer or (type(one) is type(other) and _hold_the_same(one, other) is True)
    if callable(getattr(one, "equals", None)):
        return bool(one.equals(other))
    return bool(answer)
