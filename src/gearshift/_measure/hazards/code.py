"""What a code object does to things that it did not make, in terms of where it got them from.

Apart from `hazards`, which looks the names up: what is found here depends on the code alone, so
it is kept with the code, and a global that is bound anew cannot make it wrong. The bytecode is
walked with a stack of `Node`s (where a value came from) in place of values: forward, states
merged where jumps meet, and a second time where there are loops.

Invariant: an instruction that is not known here costs knowledge, never an error: its stack
effect is `dis.stack_effect`'s, and what it leaves on top is `UNKNOWN`.
"""

from __future__ import annotations

import dis
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from gearshift._measure.hazards.decode import Handler, Instruction, handlers, instructions
from gearshift._measure.hazards.nodes import (
    NULL,
    UNKNOWN,
    Effect,
    Effects,
    Node,
    make_node,
    mix,
    subnodes,
)
from gearshift._measure.hazards.steps import ENDS, STEPS

__all__ = ["Walk", "effects_of"]

_MISSING_KEY = {"KeyError", "LookupError", "IndexError"}
_MISSING_NAME = {"AttributeError", "NameError"}


@lru_cache(maxsize=4096)  # a code object is 1 KB or so, and a reloaded module brings new ones
def effects_of(code: CodeType) -> Effects:
    """Return what the code does."""
    walk = Walk(code)
    steps = list(instructions(code))
    walk.through(steps)
    if walk.loops:
        walk.through(steps)
    return walk.result()


class State(NamedTuple):
    """The stack, the local variables, and what `acquire` was called on."""

    stack: list[Node]
    variables: dict[str, Node]
    held: tuple[Node, ...]

    def copy(self) -> State:
        return State(self.stack.copy(), self.variables.copy(), self.held)

    def merged(self, other: State) -> State:
        depth = min(len(self.stack), len(other.stack))
        stack = [
            mix(*pair)
            for pair in zip(
                self.stack[len(self.stack) - depth :],
                other.stack[len(other.stack) - depth :],
                strict=True,
            )
        ]
        variables = self.variables.copy()
        for name, node in other.variables.items():
            variables[name] = mix(variables[name], node) if name in variables else node
        return State(stack, variables, tuple(lock for lock in self.held if lock in other.held))


class Walk:
    """One code object being walked."""

    def __init__(self, code: CodeType) -> None:
        self.loops = False
        self._code = code
        self._effects: dict[Effect, None] = {}
        self._returns: dict[Node, None] = {}
        self._nested: dict[CodeType, None] = {}
        self._ever: dict[str, Node] = {}  # all that each variable was bound to
        self._waiting: dict[int, State] = {}  # states that jump to an offset
        self._tried: dict[int, State] = {}  # states before a `try`, by where its handler is
        self._handlers: dict[int, list[Handler]] = {}
        for handler in handlers(code):
            self._handlers.setdefault(handler.start, []).append(handler)
        self.keywords: tuple[str, ...] = ()
        self._tested: set[Node] = set()
        self._looked_into: set[Node] = set()  # containers asked for a key
        self._read: set[Node] = set()
        self._bound: set[Node] = set()  # global and nonlocal names
        self._missing: set[str] = set()  # names of exceptions that are caught
        self._free = frozenset(code.co_freevars)
        count = code.co_argcount + code.co_kwonlyargcount
        count += bool(code.co_flags & 4) + bool(code.co_flags & 8)  # *args, **kwargs
        self._start = {name: Node("param", name) for name in code.co_varnames[:count]}
        self._state: State = State([], dict(self._start), ())

    def through(self, steps: list[Instruction]) -> None:
        """Walk the code once."""
        self._state = State([], dict(self._start), ())
        dead = False
        for instruction in steps:
            waiting = self._waiting.get(instruction.offset)
            for handler in self._handlers.get(instruction.offset, ()):
                stack = self._state.stack[: handler.depth] + [UNKNOWN] * handler.pushed
                self._tried[handler.target] = State(stack, {}, self._state.held)
            if dead:
                self._state = (waiting or self._raised(instruction.offset)).copy()
            elif waiting is not None:
                self._state = self._state.merged(waiting)
            step = STEPS.get(instruction.name)
            dead = instruction.name in ENDS
            if step is not None:
                step(self, instruction)
            else:
                self.other(instruction)

    def _raised(self, offset: int) -> State:
        """Return the state in an exception handler: variables may have any of their values."""
        before = self._tried.get(offset)
        variables = {**self._start, **self._ever}
        return State(before.stack if before else [], variables, before.held if before else ())

    def result(self) -> Effects:
        """Return what was found."""
        if self._missing & _MISSING_KEY:
            self._looked_into |= {node.parts[0] for node in self._read if node.kind == "item"}
        if self._missing & _MISSING_NAME:
            self._tested |= self._read
        self._bound = {effect.node for effect in self._effects if effect.kind == "name"}
        cells = {name: self._ever[name] for name in self._code.co_cellvars if name in self._ever}
        cells |= {name: self._start[name] for name in self._code.co_cellvars if name in self._start}
        return Effects(
            tuple(self._judged(effect) for effect in self._effects),
            tuple(self._returns),
            tuple(self._nested),
            cells,
        )

    def _judged(self, effect: Effect) -> Effect:
        if effect.kind not in {"name", "attr", "item", "load"}:
            return effect
        place = (
            make_node("attr", effect.name, effect.node) if effect.kind == "attr" else effect.node
        )
        if effect.kind == "load":
            checked = place.kind == "attr" and place.parts[0] in self._looked_into
        elif effect.kind == "item":
            checked = place in self._looked_into
        elif effect.kind == "attr":
            checked = place in self._tested
        else:  # several names may be filled where one of them is found empty
            checked = bool(self._bound & self._tested)
        derived = bool(effect.parts) and place in subnodes(effect.parts[0])
        return effect._replace(checked=checked, derived=derived)

    # What the steps below are made of

    def push(self, node: Node) -> None:
        self._state.stack.append(node)

    def pop(self) -> Node:
        return self._state.stack.pop() if self._state.stack else UNKNOWN

    def pops(self, count: int) -> tuple[Node, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def emit(self, kind: str, node: Node, parts: tuple[Node, ...] = (), name: object = "") -> None:
        inside = [each.parts[0] for each in self._state.stack if each.kind == "exit"]
        effect = Effect(kind, node, parts, name, (*inside, *self._state.held))
        self._effects[effect] = None

    def use(self, node: Node) -> None:
        """Push a value that is not the function's own, and note its use."""
        self._read.add(node)
        self.emit("load", node)
        self.push(node)

    def jump(self, target: int, offset: int) -> None:
        self.loops = self.loops or target < offset
        known = self._waiting.get(target)
        self._waiting[target] = self._state.copy() if known is None else known.merged(self._state)

    def test(self, node: Node) -> None:
        """Note what a condition looked at."""
        for each in subnodes(node):
            if each.kind in {"global", "free", "attr"}:
                self._tested.add(each)
            elif each.kind == "item":
                self._looked_into.add(each.parts[0])
            elif each.kind == "call":
                self._test_call(each)

    def _test_call(self, node: Node) -> None:
        function, *arguments = node.parts
        if function.kind == "attr" and function.name in {"get", "__contains__"}:
            self._looked_into.add(function.parts[0])
        elif function == Node("global", "hasattr") and len(arguments) > 1:
            self._tested.add(make_node("attr", arguments[1].name, arguments[0]))

    def load(self, name: str) -> None:
        if name in self._free:
            self.use(Node("free", name))
        else:
            self.push(self._state.variables.get(name, UNKNOWN))

    def store(self, name: str, node: Node) -> None:
        self._state.variables[name] = node
        self._ever[name] = mix(self._ever.get(name, node), node)

    def load_shared(self, name: str) -> None:
        """Load a variable that functions inside or outside share."""
        if name in self._free:
            self.use(Node("free", name))
        else:
            self.push(self._ever.get(name) or self._start.get(name, UNKNOWN))

    def store_shared(self, name: str, value: Node) -> None:
        """Bind such a variable."""
        if name in self._free:
            self.emit("name", Node("free", name), (value,))
        else:
            self.store(name, value)

    def attribute(self, name: str, *, method: bool) -> None:
        """Replace the top of the stack by its attribute."""
        self.use(make_node("attr", name, self.pop()))
        if method:
            self.push(NULL)

    def called(self, arguments: tuple[Node, ...], names: tuple[str, ...]) -> None:
        """Take the function off the stack and push what it returns."""
        first, second = self.pops(2)
        if first is NULL:
            first, second = second, NULL
        if second is not NULL:
            arguments = (second, *arguments)
        self._acquire(first)
        if first.kind == "exit":
            self.push(UNKNOWN)
            return
        self.emit("call", first, arguments, names)
        self.push(make_node("call", names, first, *arguments))

    def _acquire(self, function: Node) -> None:
        """Follow `lock.acquire()` and `lock.release()`."""
        if function.kind != "attr" or function.name not in {"acquire", "release"}:
            return
        lock = function.parts[0]
        held = tuple(each for each in self._state.held if each != lock)
        if function.name == "acquire":
            self.emit("with", lock)
            held = (*held, lock)
        self._state = self._state._replace(held=held)

    def enter(self) -> None:
        manager = self.pop()
        self.emit("with", manager)
        self.push(make_node("exit", "", manager))
        self.push(manager)

    def other(self, instruction: Instruction) -> None:
        """Do what an instruction without a step of its own does to the stack."""
        effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        self.pops(-effect)
        self.stack.extend([UNKNOWN] * effect)
        if effect <= 0 and self._state.stack:
            self._state.stack[-1] = UNKNOWN
        if instruction.opcode in dis.hasjrel:
            self.jump(instruction.value, instruction.offset)

    def caught(self, node: Node) -> None:
        self._missing |= {each.name for each in subnodes(node) if each.kind == "global"}

    def made(self, code: object) -> None:
        if isinstance(code, CodeType):
            self._nested[code] = None
        self.push(Node("made", code))

    def returned(self, node: Node) -> None:
        if node.kind != "const":
            self._returns[node] = None

    @property
    def stack(self) -> list[Node]:
        """What is known of the stack, the top last."""
        return self._state.stack

    def need(self, depth: int) -> None:
        """Make sure that so much of the stack is there, unknown as it may be."""
        missing = depth - len(self.stack)
        if missing > 0:
            self.stack[:0] = [UNKNOWN] * missing

    def look_into(self, item: Node) -> None:
        """Push an item of a container."""
        self._read.add(item)
        self.push(item)

    def grow(self, depth: int, part: Node) -> None:
        """Add a part to a container that lies in the stack."""
        self.need(depth)
        self.stack[-depth] = make_node("fresh", "", *self.stack[-depth].parts, part)

    def spread(self, positional: Node, keywords: Node) -> None:
        """Call with `*` and `**`."""
        first, second = self.pops(2)
        function = second if first is NULL else first
        for many in (positional, keywords):
            self.emit("loop", many)
        self.emit("spread", function, (positional, keywords))
        self.push(make_node("spread", "", function, positional, keywords))
