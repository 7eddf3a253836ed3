"""Instructions and exception handlers of a code object, read from its bytes.

Apart from `code`, which walks them. `dis.get_instructions` says the same, and takes 2 to 4 µs an
instruction for positions and texts that nobody here reads; this takes 0.3. A test holds the two
to the same words on every version of Python.
"""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["Handler", "Instruction", "handlers", "instructions"]


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        offset: Where it begins, in bytes.
        name: Its name, as in `dis`.
        opcode: Its number.
        arg: Its argument, None where it takes none.
        value: What that argument stands for, as `argval` of `dis`.
    """

    offset: int
    name: str
    opcode: int
    arg: int | None
    value: Any


class Handler(NamedTuple):
    """Where an exception in a stretch of code leads to.

    Attributes:
        start: The stretch's first byte.
        target: The handler's first byte.
        depth: How much of the stack is left there.
        pushed: What is put on top of it: the exception, and before it the place, where that is kept.
    """

    start: int
    target: int
    depth: int
    pushed: int


_CACHE = dis.opmap["CACHE"]
_EXTENDED = dis.opmap["EXTENDED_ARG"]
_JUMPS = frozenset(dis.hasjrel)
_BACKWARD = frozenset(code for name, code in dis.opmap.items() if "BACKWARD" in name)
# Since 3.12 `hasarg` says it; before, the names from HAVE_ARGUMENT on.
_ARGUMENTS = frozenset(getattr(dis, "hasarg", range(dis.HAVE_ARGUMENT, 256)))
_CONSTANTS = frozenset((*dis.hasconst, dis.opmap.get("KW_NAMES", -1))) - {
    dis.opmap.get("LOAD_SMALL_INT", -1)
}
_NAMES = frozenset(dis.hasname)
_VARIABLES = frozenset((*dis.haslocal, *dis.hasfree))
# Some instructions keep flags in the low bits of their argument.
_FLAG_BITS = {dis.opmap["LOAD_GLOBAL"]: 1}
if sys.version_info >= (3, 12):
    _FLAG_BITS |= {dis.opmap["LOAD_ATTR"]: 1, dis.opmap["LOAD_SUPER_ATTR"]: 2}
_PAIRS = frozenset(
    code
    for name, code in dis.opmap.items()
    if name.count("_FAST") > 1  # two variables, four bits each
)


def instructions(code: CodeType) -> Iterator[Instruction]:
    """Return the instructions, without the caches between them."""
    raw = code.co_code
    cells = (name for name in code.co_cellvars if name not in code.co_varnames)
    variables = (*code.co_varnames, *cells, *code.co_freevars)
    extended = 0
    for offset in range(0, len(raw), 2):
        opcode = raw[offset]
        if opcode == _CACHE:
            continue
        arg = raw[offset + 1] | extended
        extended = 0
        if opcode == _EXTENDED:
            extended = arg << 8
        elif opcode not in _ARGUMENTS:
            yield Instruction(offset, dis.opname[opcode], opcode, None, None)
        else:
            value = _value(code, raw, variables, offset, arg)
            yield Instruction(offset, dis.opname[opcode], opcode, arg, value)


def _value(code: CodeType, raw: bytes, variables: tuple[str, ...], offset: int, arg: int) -> Any:
    """Return what the argument of the instruction there stands for."""
    opcode = raw[offset]
    if opcode in _NAMES:
        return code.co_names[arg >> _FLAG_BITS.get(opcode, 0)]
    if opcode in _PAIRS:
        return variables[arg >> 4], variables[arg & 15]
    if opcode in _VARIABLES:
        return variables[arg]
    if opcode in _CONSTANTS:
        return code.co_consts[arg]
    if opcode in _JUMPS:
        after = _after(raw, offset)
        return after - 2 * arg if opcode in _BACKWARD else after + 2 * arg
    return arg


def _after(raw: bytes, offset: int) -> int:
    """Return where the next instruction begins."""
    offset += 2
    while offset < len(raw) and raw[offset] == _CACHE:
        offset += 2
    return offset


def handlers(code: CodeType) -> list[Handler]:
    """Return the code's exception handlers, innermost first."""
    numbers = _numbers(code.co_exceptiontable)
    return [
        Handler(2 * start, 2 * target, depth >> 1, 1 + (depth & 1))
        for start, _, target, depth in zip(numbers, numbers, numbers, numbers, strict=True)
    ]


def _numbers(table: bytes) -> Iterator[int]:
    number = 0
    for byte in table:
        number = number << 6 | byte & 0x3F
        if not byte & 0x40:
            yield number
            number = 0
