"""What each instruction does to the stack of nodes, under every name it has had since Python 3.11.

Apart from `code`, whose `Walk` these functions move on: a new version of Python changes this
file only. An instruction that is not here is `Walk.other`'s. Over 400 lines since there are so many
instructions, a few lines each.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gearshift._measure.hazards.nodes import NULL, UNKNOWN, Node, make_node

if TYPE_CHECKING:
    from collections.abc import Callable

    from gearshift._measure.hazards.code import Walk
    from gearshift._measure.hazards.decode import Instruction

__all__ = ["ENDS", "STEPS"]

_IN_PLACE = range(13, 26)  # what BINARY_OP does: `+=` to `^=`
_SUBSCRIPT = 26  # the same, since 3.14
_LIST_TO_TUPLE = 6  # what CALL_INTRINSIC_1 does
_ATTRIBUTES_ARE_METHODS = sys.version_info >= (3, 12)  # LOAD_ATTR loads methods, too
_EXHAUSTED_IS_POPPED = sys.version_info < (3, 12)  # what FOR_ITER leaves when there is no more
_NULL_COMES_FIRST = sys.version_info < (3, 13)  # and the function after it
_FUNCTIONS_ARE_PLAIN = sys.version_info >= (3, 13)  # their attributes are set one by one
_SPREAD_ALWAYS_HAS_KEYWORDS = sys.version_info >= (3, 14)

ENDS = frozenset(
    {
        "JUMP_BACKWARD",
        "JUMP_BACKWARD_NO_INTERRUPT",
        "JUMP_FORWARD",
        "RAISE_VARARGS",
        "RERAISE",
        "RETURN_CONST",
        "RETURN_VALUE",
    }
)
STEPS: dict[str, Callable[[Walk, Instruction], None]] = {}


def _step(*names: str) -> Callable[[Any], Any]:
    def register(function: Any) -> Any:
        STEPS.update(dict.fromkeys(names, function))
        return function

    return register


@_step(
    "CACHE",
    "COPY_FREE_VARS",
    "EXTENDED_ARG",
    "GEN_START",
    "LIST_TO_TUPLE",
    "MAKE_CELL",
    "NOP",
    "NOT_TAKEN",
    "PRECALL",
    "RESUME",
    "SETUP_ANNOTATIONS",
    "GET_AWAITABLE",
    "TO_BOOL",
)
def _nothing(walk: Walk, instruction: Instruction) -> None:
    pass


@_step("JUMP_FORWARD", "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")
def _jump(walk: Walk, instruction: Instruction) -> None:
    walk.jump(instruction.value, instruction.offset)


@_step(
    *(
        f"POP_JUMP_{way}IF_{what}"
        for way in ("", "FORWARD_", "BACKWARD_")
        for what in ("TRUE", "FALSE", "NONE", "NOT_NONE")
    )
)
def _pop_jump(walk: Walk, instruction: Instruction) -> None:
    walk.test(walk.pop())
    walk.jump(instruction.value, instruction.offset)


@_step("JUMP_IF_TRUE_OR_POP", "JUMP_IF_FALSE_OR_POP")
def _jump_or_pop(walk: Walk, instruction: Instruction) -> None:
    walk.jump(instruction.value, instruction.offset)
    walk.test(walk.pop())


@_step("FOR_ITER")
def _for_iter(walk: Walk, instruction: Instruction) -> None:
    iterator = walk.pop()
    if not _EXHAUSTED_IS_POPPED:
        walk.push(iterator)
        walk.push(UNKNOWN)
        walk.jump(instruction.value, instruction.offset)
        walk.pops(2)
    else:
        walk.jump(instruction.value, instruction.offset)
    walk.push(iterator)
    walk.push(make_node("part", "", iterator))


@_step("POP_TOP", "POP_EXCEPT", "POP_ITER")
def _pop_top(walk: Walk, instruction: Instruction) -> None:
    walk.pop()


@_step("COPY")
def _copy(walk: Walk, instruction: Instruction) -> None:
    depth = instruction.arg or 1
    walk.push(walk.stack[-depth] if depth <= len(walk.stack) else UNKNOWN)


@_step("SWAP")
def _swap(walk: Walk, instruction: Instruction) -> None:
    depth = instruction.arg or 2
    walk.need(depth)
    walk.stack[-1], walk.stack[-depth] = walk.stack[-depth], walk.stack[-1]


@_step("PUSH_NULL")
def _push_null(walk: Walk, instruction: Instruction) -> None:
    walk.push(NULL)


@_step("LOAD_CONST", "LOAD_SMALL_INT")
def _load_const(walk: Walk, instruction: Instruction) -> None:
    walk.push(Node("const", instruction.value))


@_step("RETURN_CONST")
def _return_const(walk: Walk, instruction: Instruction) -> None:
    pass


@_step("RETURN_VALUE", "YIELD_VALUE")
def _return_value(walk: Walk, instruction: Instruction) -> None:
    walk.returned(walk.pop())
    if instruction.name == "YIELD_VALUE":
        walk.push(UNKNOWN)


@_step("LOAD_FAST", "LOAD_FAST_AND_CLEAR", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK")
def _load_fast(walk: Walk, instruction: Instruction) -> None:
    walk.load(instruction.value)


@_step("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
def _load_two(walk: Walk, instruction: Instruction) -> None:
    for name in instruction.value:
        walk.load(name)


@_step("STORE_FAST", "STORE_FAST_MAYBE_NULL")
def _store_fast(walk: Walk, instruction: Instruction) -> None:
    walk.store(instruction.value, walk.pop())


@_step("STORE_FAST_STORE_FAST")
def _store_two(walk: Walk, instruction: Instruction) -> None:
    for name in instruction.value:
        walk.store(name, walk.pop())


@_step("STORE_FAST_LOAD_FAST")
def _store_load(walk: Walk, instruction: Instruction) -> None:
    stored, loaded = instruction.value
    walk.store(stored, walk.pop())
    walk.load(loaded)


@_step("DELETE_FAST")
def _delete_fast(walk: Walk, instruction: Instruction) -> None:
    pass


@_step("STORE_NAME")
def _store_name(walk: Walk, instruction: Instruction) -> None:
    walk.pop()  # the name of a class being made


@_step("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
def _load_global(walk: Walk, instruction: Instruction) -> None:
    if instruction.name == "LOAD_FROM_DICT_OR_GLOBALS":
        walk.pop()
    null = instruction.name == "LOAD_GLOBAL" and bool((instruction.arg or 0) & 1)
    if null and _NULL_COMES_FIRST:
        walk.push(NULL)
    walk.use(Node("global", instruction.value))
    if null and not _NULL_COMES_FIRST:
        walk.push(NULL)


@_step("STORE_GLOBAL")
def _store_global(walk: Walk, instruction: Instruction) -> None:
    walk.emit("name", Node("global", instruction.value), (walk.pop(),))


@_step("DELETE_GLOBAL")
def _delete_global(walk: Walk, instruction: Instruction) -> None:
    walk.emit("name", Node("global", instruction.value))


@_step("LOAD_DEREF", "LOAD_CLOSURE", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF")
def _load_deref(walk: Walk, instruction: Instruction) -> None:
    if instruction.name == "LOAD_FROM_DICT_OR_DEREF":
        walk.pop()
    walk.load_shared(instruction.value)


@_step("STORE_DEREF")
def _store_deref(walk: Walk, instruction: Instruction) -> None:
    walk.store_shared(instruction.value, walk.pop())


@_step("DELETE_DEREF")
def _delete_deref(walk: Walk, instruction: Instruction) -> None:
    walk.store_shared(instruction.value, UNKNOWN)


@_step("LOAD_ATTR")
def _load_attr(walk: Walk, instruction: Instruction) -> None:
    walk.attribute(
        instruction.value, method=_ATTRIBUTES_ARE_METHODS and bool((instruction.arg or 0) & 1)
    )


@_step("LOAD_METHOD")
def _load_method(walk: Walk, instruction: Instruction) -> None:
    walk.attribute(instruction.value, method=True)


@_step("LOAD_SUPER_ATTR")
def _load_super(walk: Walk, instruction: Instruction) -> None:
    _, _, owner = walk.pops(3)
    walk.push(make_node("super", "", owner))
    walk.attribute(instruction.value, method=bool((instruction.arg or 0) & 1))


@_step("STORE_ATTR")
def _store_attr(walk: Walk, instruction: Instruction) -> None:
    value, owner = walk.pops(2)
    walk.emit("attr", owner, (value,), instruction.value)


@_step("DELETE_ATTR")
def _delete_attr(walk: Walk, instruction: Instruction) -> None:
    walk.emit("attr", walk.pop(), (), instruction.value)


@_step("BINARY_SUBSCR")
def _subscript(walk: Walk, instruction: Instruction) -> None:
    owner, key = walk.pops(2)
    walk.look_into(make_node("item", "", owner, key))


@_step("BINARY_SLICE")
def _slice(walk: Walk, instruction: Instruction) -> None:
    owner, _, _ = walk.pops(3)
    walk.push(make_node("iter", "", owner))


@_step("STORE_SUBSCR")
def _store_subscript(walk: Walk, instruction: Instruction) -> None:
    value, owner, key = walk.pops(3)
    walk.emit("item", owner, (value, key))


@_step("STORE_SLICE")
def _store_slice(walk: Walk, instruction: Instruction) -> None:
    value, owner, _, _ = walk.pops(4)
    walk.emit("item", owner, (value, UNKNOWN))


@_step("DELETE_SUBSCR")
def _delete_subscript(walk: Walk, instruction: Instruction) -> None:
    owner, key = walk.pops(2)
    walk.emit("item", owner, (UNKNOWN, key))


@_step("BINARY_OP")
def _binary(walk: Walk, instruction: Instruction) -> None:
    if instruction.arg == _SUBSCRIPT:
        _subscript(walk, instruction)
        return
    first, second = walk.pops(2)
    if instruction.arg in _IN_PLACE:
        walk.emit("inplace", first, (second,))
        walk.push(make_node("inplace", "", first, second))
    else:
        walk.push(make_node("op", "", first, second))


@_step("COMPARE_OP", "IS_OP")
def _compare(walk: Walk, instruction: Instruction) -> None:
    walk.push(make_node("op", "", *walk.pops(2)))


@_step("CONTAINS_OP")
def _contains(walk: Walk, instruction: Instruction) -> None:
    key, owner = walk.pops(2)
    walk.emit("loop", owner)
    walk.test(make_node("item", "", owner, key))
    walk.push(make_node("op", "", key, owner))


@_step("UNARY_NOT", "UNARY_NEGATIVE", "UNARY_INVERT", "UNARY_POSITIVE")
def _unary(walk: Walk, instruction: Instruction) -> None:
    walk.push(make_node("op", "", walk.pop()))


@_step("BUILD_TUPLE", "BUILD_LIST", "BUILD_SET")
def _build(walk: Walk, instruction: Instruction) -> None:
    walk.push(make_node("fresh", "", *walk.pops(instruction.arg or 0)))


@_step("BUILD_MAP")
def _build_map(walk: Walk, instruction: Instruction) -> None:
    walk.push(make_node("fresh", "", *walk.pops(2 * (instruction.arg or 0))[1::2]))


@_step("BUILD_CONST_KEY_MAP")
def _build_keys(walk: Walk, instruction: Instruction) -> None:
    walk.pop()
    walk.push(make_node("fresh", "", *walk.pops(instruction.arg or 0)))


@_step("LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE")
def _extend(walk: Walk, instruction: Instruction) -> None:
    added = walk.pop()
    walk.emit("loop", added)
    walk.grow(instruction.arg or 1, make_node("part", "", added))


@_step("LIST_APPEND", "SET_ADD")
def _append(walk: Walk, instruction: Instruction) -> None:
    walk.grow(instruction.arg or 1, walk.pop())


@_step("MAP_ADD")
def _add(walk: Walk, instruction: Instruction) -> None:
    _, value = walk.pops(2)
    walk.grow(instruction.arg or 1, value)


@_step("UNPACK_SEQUENCE", "UNPACK_EX")
def _unpack(walk: Walk, instruction: Instruction) -> None:
    source = walk.pop()
    walk.emit("loop", source)
    count = instruction.arg or 0
    if instruction.name == "UNPACK_EX":
        count = (count & 0xFF) + (count >> 8) + 1
    for _ in range(count):
        walk.push(make_node("part", "", source))


@_step("GET_ITER", "GET_YIELD_FROM_ITER", "GET_AITER")
def _iter(walk: Walk, instruction: Instruction) -> None:
    source = walk.pop()
    walk.emit("loop", source)
    walk.push(make_node("iter", "", source))


@_step("BEFORE_WITH", "BEFORE_ASYNC_WITH")
def _with(walk: Walk, instruction: Instruction) -> None:
    walk.enter()
    if instruction.name == "BEFORE_ASYNC_WITH":
        walk.push(UNKNOWN)  # an awaitable, whose value takes its place
        walk.pop()


@_step("LOAD_SPECIAL")
def _load_special(walk: Walk, instruction: Instruction) -> None:
    owner = walk.pop()  # since 3.14: 0 and 2 enter, 1 and 3 leave
    if (instruction.arg or 0) % 2:
        walk.emit("with", owner)
        walk.push(make_node("exit", "", owner))
    else:
        walk.push(make_node("attr", "__enter__", owner))
    walk.push(NULL)


@_step("KW_NAMES")
def _keywords(walk: Walk, instruction: Instruction) -> None:
    walk.keywords = instruction.value


@_step("CALL")
def _call(walk: Walk, instruction: Instruction) -> None:
    arguments = walk.pops(instruction.arg or 0)
    names, walk.keywords = walk.keywords, ()
    walk.called(arguments, names)


@_step("CALL_KW")
def _call_keywords(walk: Walk, instruction: Instruction) -> None:
    names = walk.pop().name
    walk.called(walk.pops(instruction.arg or 0), names)


@_step("CALL_FUNCTION_EX")
def _call_spread(walk: Walk, instruction: Instruction) -> None:
    many = _SPREAD_ALWAYS_HAS_KEYWORDS or bool((instruction.arg or 0) & 1)
    keywords = walk.pop() if many else UNKNOWN
    positional = walk.pop()
    walk.spread(positional, UNKNOWN if keywords is NULL else keywords)


@_step("CALL_INTRINSIC_1")
def _intrinsic(walk: Walk, instruction: Instruction) -> None:
    if instruction.arg != _LIST_TO_TUPLE:
        walk.other(instruction)


@_step("CHECK_EXC_MATCH")
def _check_exception(walk: Walk, instruction: Instruction) -> None:
    walk.caught(walk.pop())
    walk.push(UNKNOWN)


@_step("IMPORT_NAME")
def _import(walk: Walk, instruction: Instruction) -> None:
    _, names = walk.pops(2)
    name = instruction.value
    walk.push(Node("import", name if names.name else name.partition(".")[0]))


@_step("IMPORT_FROM")
def _import_from(walk: Walk, instruction: Instruction) -> None:
    walk.use(make_node("attr", instruction.value, walk.stack[-1] if walk.stack else UNKNOWN))


@_step("MAKE_FUNCTION")
def _make_function(walk: Walk, instruction: Instruction) -> None:
    code = walk.pop()
    flags = 0 if _FUNCTIONS_ARE_PLAIN else instruction.arg or 0
    walk.pops(flags.bit_count())
    walk.made(code.name)


@_step("SET_FUNCTION_ATTRIBUTE")
def _function_attribute(walk: Walk, instruction: Instruction) -> None:
    function = walk.pop()
    walk.pop()
    walk.push(function)
