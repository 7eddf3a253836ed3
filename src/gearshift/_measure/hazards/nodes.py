"""Where a value came from, and what is done to it: the words that `code` and `hazards` share.

Apart from both, since one finds them in bytecode and the other looks them up in live objects.
Invariant: a `Node` is hashable, holds no object of the user's but constants, and stays small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

__all__ = ["NULL", "UNKNOWN", "Effect", "Effects", "Node", "make_node", "mix", "subnodes"]

_LARGEST_NODE = 60  # nodes in a tree: hashing one takes 3 us by then
_MOST_ALTERNATIVES = 4


class Node(NamedTuple):
    """Where a value came from.

    Attributes:
        kind: "global", "free", "param", "import", "const", "made" (a function made here), "super";
            "attr", "item", "part" (one of many), "iter", "call", "spread" (a call with `*`), "op", "inplace",
            "fresh" (a container of `parts`), "mix" (one of `parts`), "exit" (what leaves a `with`),
            "unknown".
        name: The name, constant, code or names of keywords, as the kind has it.
        parts: What it was made from.
        size: Nodes in this tree.
    """

    kind: str
    name: Any = ""
    parts: tuple[Node, ...] = ()
    size: int = 1


class Effect(NamedTuple):
    """Something done to a value, or with it.

    Attributes:
        kind: "name" (a name is bound), "item", "attr", "inplace" (a value is changed), "load" (a value
            is used), "call", "spread", "loop" (a value is iterated), "with".
        node: The value that it happens to.
        parts: The value bound or stored and its key; or the arguments of a call.
        name: The attribute's name, or the names of a call's keywords.
        locks: What is held meanwhile: the contexts of `with`, and what `acquire` was called on.
        checked: The same place is looked at before: is it there, is it None.
        derived: The value stored was made from the one that was there.
    """

    kind: str
    node: Node
    parts: tuple[Node, ...] = ()
    name: Any = ""
    locks: tuple[Node, ...] = ()
    checked: bool = False
    derived: bool = False


class Effects(NamedTuple):
    """All that a code object does.

    Attributes:
        effects: Each once, in the order of the code.
        returns: What it may return.
        nested: The functions that it makes, comprehensions too.
        cells: What the variables were bound to that those functions share with it.
    """

    effects: tuple[Effect, ...]
    returns: tuple[Node, ...]
    nested: tuple[CodeType, ...]
    cells: dict[str, Node]


UNKNOWN = Node("unknown")
NULL = Node("null")


def subnodes(node: Node) -> Iterator[Node]:
    """Return the node and all that it was made from."""
    yield node
    for part in node.parts:
        yield from subnodes(part)


def make_node(kind: str, name: Any, *parts: Node) -> Node:
    """Return a node, or `UNKNOWN` where it would grow too large."""
    size = 1
    for part in parts:
        size += part.size
    return UNKNOWN if size > _LARGEST_NODE else Node(kind, name, parts, size)


def mix(first: Node, second: Node) -> Node:
    """Return a node for what is the one or the other."""
    if first is second or first == second:
        return first
    if UNKNOWN in {first, second}:  # a value that is known somewhere counts
        return second if first == UNKNOWN else first
    alternatives = dict.fromkeys(
        (
            *(first.parts if first.kind == "mix" else (first,)),
            *(second.parts if second.kind == "mix" else (second,)),
        )
    )
    return make_node("mix", "", *list(alternatives)[:_MOST_ALTERNATIVES])
