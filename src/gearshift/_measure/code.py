"""Follow what a function's bytecode does to objects that its calls share.

A walk from the first instruction to the last, with a stack on which only shared objects are known and
all else is None. Jumps are not followed: what stands in a branch may happen. Works on CPython 3.11 and
later, whose instructions differ; what it does not know it skips, with its effect on the stack.

    LOAD_GLOBAL counts   -> Shared(counts)            on the stack
    LOAD_ATTR append     -> Shared(owner=counts, attribute="append")
    CALL                 -> a mutating method of a shared list: Found
"""

from __future__ import annotations

import builtins
import dis
from inspect import getattr_static
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gearshift._measure.perilous import MUTATORS, called, changes_first, is_lock, is_mutable, loaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Call", "Found", "Scope", "Shared", "read_code"]

_NULL: Any = object()  # that calls keep a place for
_MISSING: Any = object()
# Instructions that put a new object on the stack, in the place of what they take.
_MAKE = ("BINARY", "COMPARE", "IS_OP", "BUILD", "FORMAT", "UNARY", "CONVERT", "LIST_TO_TUPLE")
_CACHE_NAMES = ("cache", "memo")


class Shared(NamedTuple):
    """An object that several calls of the function can reach.

    Attributes:
        value: The object, or None for what lies inside one and is not known.
        name: What to call it in a sentence.
        is_item: It is the item, or lies in it.
        owner: Whose attribute it is, or None.
        attribute: Its name there.
    """

    value: Any
    name: str
    is_item: bool = False
    owner: Any = None
    attribute: str = ""


class Found(NamedTuple):
    """A hazard: why, and on which engines."""

    words: str
    is_on_threads: bool = True
    is_on_processes: bool = True


class Call(NamedTuple):
    """A call of a function that could be looked at, too."""

    function: Any
    arguments: list[Any]
    is_locked: bool


class Scope(NamedTuple):
    """Where names of a function lead.

    Attributes:
        globals: Its module's names.
        closure: Names of functions around it, as they are now.
        locals: What is known of its parameters.
        own: Names of a function around it that is looked at as well: one call's own.
        item: An item, where one is at hand.
        is_locked: It is called under a lock.
    """

    globals: Mapping[str, Any]
    closure: Mapping[str, Any]
    locals: dict[str, Any]
    own: frozenset[str] = frozenset()
    item: Any = None
    is_locked: bool = False


def read_code(code: CodeType, scope: Scope) -> tuple[list[Found], list[Call]]:
    """Return the hazards of one function, and the calls that it makes."""
    reader = _Reader(code, scope)
    reader.read()
    for inner in reader.inner:
        own = frozenset({*scope.own, *code.co_cellvars})
        around = {
            **scope.closure,
            **{name: reader.locals[name] for name in code.co_cellvars if name in reader.locals},
        }
        found, calls = read_code(inner, scope._replace(closure=around, locals={}, own=own))
        reader.found += found
        reader.calls += calls
    return reader.found, reader.calls


class _Reader:
    """The walk over one code object."""

    def __init__(self, code: CodeType, scope: Scope) -> None:
        self.found: list[Found] = []
        self.calls: list[Call] = []
        self.inner: list[CodeType] = []
        self.locals = dict(scope.locals)
        self._code = code
        self._scope = scope
        self._name = code.co_name if code.co_name != "<lambda>" else "it"
        self._stack: list[Any] = []
        self._instructions = [each for each in dis.get_instructions(code) if each.opname != "CACHE"]
        self._locked: list[tuple[int, int]] = []  # offsets
        self._is_acquired = scope.is_locked
        self._checked: set[Any] = set()  # what was looked up before it is filled
        self._tests_none = any(_tests_none(each) for each in self._instructions)
        self._at = 0
        self._offset = 0

    def read(self) -> None:
        """Walk."""
        for at, instruction in enumerate(self._instructions):
            self._at = at
            self._offset = instruction.offset
            name = instruction.opname
            handler = _HANDLERS.get(name) or (
                _Reader.load_fast if name.startswith("LOAD_FAST") else None
            )
            if handler is not None:
                handler(self, instruction)
            else:
                self._other(instruction)

    # The stack

    def _pop(self) -> Any:
        return self._stack.pop() if self._stack else None

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _other(self, instruction: dis.Instruction) -> None:
        """Apply an instruction's effect on the stack."""
        try:
            effect = dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        except ValueError:
            return
        if effect < 0:
            del self._stack[effect:]
        else:
            self._stack += [None] * effect
        if instruction.opname.startswith(_MAKE) and self._stack:
            self._stack[-1] = None

    # Names

    def load_global(self, instruction: dis.Instruction) -> None:
        name = str(instruction.argval)
        if instruction.opname == "LOAD_GLOBAL" and (instruction.arg or 0) & 1:
            self._push(_NULL)
        value = self._scope.globals.get(name, _MISSING)
        if value is _MISSING:
            self._push(Shared(getattr(builtins, name, None), name))
            return
        self._note_check(("global", name))
        self._load(Shared(value, f"the global {name}"))

    def load_deref(self, instruction: dis.Instruction) -> None:
        name = str(instruction.argval)
        if name not in self._scope.closure:
            self._push(self.locals.get(name))
            return
        self._note_check(("nonlocal", name))
        value = self._scope.closure[name]
        if name in self._scope.own:
            self._push(value if isinstance(value, Shared) else None)
        else:
            self._load(
                value if isinstance(value, Shared) else Shared(value, f"{name} of its closure")
            )

    def _load(self, shared: Shared) -> None:
        """Put a shared object on the stack; some may not even be looked at."""
        hazard = None if shared.is_item else loaded(shared.value)
        if hazard is not None:
            self.found.append(
                Found(
                    f"{self._name} {hazard.words.format(shared.name)}",
                    hazard.on_threads,
                    hazard.on_processes,
                )
            )
        self._push(shared)

    def load_fast(self, instruction: dis.Instruction) -> None:
        names = (
            instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        )
        for name in names:
            self._push(self.locals.get(name))

    def store_fast(self, instruction: dis.Instruction) -> None:
        names = (
            instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        )
        loads = instruction.opname == "STORE_FAST_LOAD_FAST"
        for name in names[:1] if loads else names:
            self.locals[name] = self._pop()
        if loads:
            self._push(self.locals.get(names[1]))

    def load_const(self, instruction: dis.Instruction) -> None:
        if isinstance(instruction.argval, CodeType):
            self.inner.append(instruction.argval)
        self._push(None)

    def store_global(self, instruction: dis.Instruction) -> None:
        if instruction.opname.startswith("STORE"):
            self._pop()
        name = str(instruction.argval)
        if ("global", name) not in self._checked and not _is_cache(name):
            self._write(f"the global {name}")

    def store_deref(self, instruction: dis.Instruction) -> None:
        value = self._pop() if instruction.opname.startswith("STORE") else None
        name = str(instruction.argval)
        if name not in self._scope.closure or name in self._scope.own:
            self.locals[name] = value
        elif ("nonlocal", name) not in self._checked and not _is_cache(name):
            self._write(f"{name} of its closure")

    # Attributes and parts

    def load_attr(self, instruction: dis.Instruction) -> None:
        owner = self._pop()
        is_method = instruction.opname == "LOAD_METHOD" or (
            instruction.opname == "LOAD_ATTR" and _HAS_METHOD_BIT and (instruction.arg or 0) & 1
        )
        if is_method:
            self._push(_NULL)
        if not isinstance(owner, Shared):
            self._push(None)
            return
        name = str(instruction.argval)
        if not owner.is_item:
            self._note_check(("attribute", id(owner.value), name))
        self._load(_attribute(owner, name))

    def store_attr(self, instruction: dis.Instruction) -> None:
        owner = self._pop()
        if instruction.opname.startswith("STORE"):
            self._pop()
        name = str(instruction.argval)
        if not isinstance(owner, Shared):
            return
        is_lazy = ("attribute", id(owner.value), name) in self._checked or _is_cache(name)
        if owner.is_item or not is_lazy:
            self._write(f"{name} of {owner.name}", owner)

    def store_subscript(self, instruction: dis.Instruction) -> None:
        for _ in range(2 if instruction.opname == "STORE_SLICE" else 1):
            self._pop()
        container = self._pop()
        if instruction.opname.startswith("STORE"):
            self._pop()
        self._change(container)

    def subscript(self, instruction: dis.Instruction) -> None:
        for _ in range(2 if instruction.opname == "BINARY_SLICE" else 1):
            self._pop()
        container = self._pop()
        if isinstance(container, Shared) and "KeyError" in self._code.co_names:
            self._checked.add(id(container.value))
        self._push(_inside(container))

    def binary(self, instruction: dis.Instruction) -> None:
        if instruction.argrepr == "[]":
            self.subscript(instruction)
            return
        self._pop()
        left = self._pop()
        is_in_place = instruction.argrepr.endswith("=")
        value = (
            self._scope.item
            if isinstance(left, Shared) and left.is_item and left.name == "the item"
            else None
        )
        if (
            is_in_place
            and isinstance(left, Shared)
            and is_mutable(value if left.is_item else left.value)
        ):
            self._change(left)
            self._push(left)
        else:
            self._push(None)

    def contains(self, _: dis.Instruction) -> None:
        container = self._pop()
        self._pop()
        if isinstance(container, Shared):
            self._checked.add(id(container.value))
        self._push(None)

    def iterate(self, _: dis.Instruction) -> None:
        self._push(_inside(self._pop()))

    def next(self, _: dis.Instruction) -> None:
        self._push(_inside(self._stack[-1] if self._stack else None))

    # Calls

    def call(self, instruction: dis.Instruction) -> None:
        if instruction.opname == "CALL_KW":
            self._pop()
        count = instruction.arg or 0
        arguments = [self._pop() for _ in range(count)][::-1]
        pair = [self._pop(), self._pop()]
        self._called(
            next((each for each in pair if each is not _NULL and each is not None), None), arguments
        )
        self._push(None)

    def call_spread(self, instruction: dis.Instruction) -> None:
        if (instruction.arg or 0) & 1:
            self._pop()
        given = self._pop()
        function = self._pop()
        if self._stack and self._stack[-1] is _NULL:
            self._pop()
        self._called(
            None if function is _NULL else function, [given] if isinstance(given, Shared) else []
        )
        self._push(None)

    def _called(self, function: Any, arguments: list[Any]) -> None:
        """See what a call does to what is shared."""
        if not isinstance(function, Shared):
            return
        owner = function.owner
        if isinstance(owner, Shared):
            if is_lock(owner.value) and function.attribute in {"acquire", "release"}:
                self._is_acquired = function.attribute == "acquire" or self._scope.is_locked
            elif function.attribute == "get" and len(arguments) == 1 and self._tests_none:
                self._checked.add(id(owner.value))
            elif function.attribute in MUTATORS and (
                owner.value is None or is_mutable(owner.value)
            ):
                self._change(owner)
                return
        hazard = called(function.value)
        if hazard is not None:
            self.found.append(
                Found(f"{self._name} {hazard.words}", hazard.on_threads, hazard.on_processes)
            )
        elif changes_first(function.value) and arguments:
            self._change(arguments[0])
        elif function.value is not None:
            self._follow(function, owner, arguments)

    def _follow(self, function: Shared, owner: Any, arguments: list[Any]) -> None:
        """Have a function looked at that is called."""
        value = function.value
        is_method = (
            isinstance(value, FunctionType)
            and isinstance(owner, Shared)
            and not isinstance(owner.value, ModuleType | type)
        )
        given = [owner, *arguments] if is_method else arguments
        self.calls.append(Call(value, given, self._is_locked))

    # Locks, and what is found

    def enter(self, instruction: dis.Instruction) -> None:
        context = self._pop()
        self._stack += [None, None]
        if isinstance(context, Shared) and is_lock(context.value):
            self._locked += _body(self._code, instruction.offset)

    def enter_special(self, instruction: dis.Instruction) -> None:
        context = self._pop()
        self._stack += [None, _NULL]
        if isinstance(context, Shared) and is_lock(context.value):
            self._locked += _body(self._code, instruction.offset)

    @property
    def _is_locked(self) -> bool:
        return self._is_acquired or any(
            first <= self._offset < last for first, last in self._locked
        )

    def _note_check(self, key: Any) -> None:
        """Note that something is held against None before it is filled."""
        following = self._instructions[self._at + 1 : self._at + 3]
        if following and (
            _tests_none(following[0])
            or (len(following) > 1 and _tests_none(following[1]) and following[0].argval is None)
        ):
            self._checked.add(key)

    def _change(self, target: Any) -> None:
        """Note that an object is changed, unless it is a cache that is filled."""
        if not isinstance(target, Shared):
            return
        if target.is_item or not (
            (id(target.value) in self._checked and target.value is not None)
            or _is_cache(target.name)
        ):
            self._write(target.name, target)

    def _write(self, name: str, target: Shared | None = None) -> None:
        if target is not None and target.is_item:
            self.found.append(Found("it changes the item that it is given", is_on_threads=False))
        elif self._is_locked:
            self.found.append(
                Found(
                    f"{self._name} changes {name}, which other processes would not see",
                    is_on_threads=False,
                )
            )
        else:
            self.found.append(Found(f"{self._name} changes {name} without a lock"))

    def skip(self, _: dis.Instruction) -> None:
        pass

    def push_null(self, _: dis.Instruction) -> None:
        self._push(_NULL)

    def copy(self, instruction: dis.Instruction) -> None:
        depth = instruction.arg or 1
        self._push(self._stack[-depth] if depth <= len(self._stack) else None)

    def swap(self, instruction: dis.Instruction) -> None:
        depth = instruction.arg or 1
        if depth <= len(self._stack):
            self._stack[-1], self._stack[-depth] = self._stack[-depth], self._stack[-1]


_HAS_METHOD_BIT = "LOAD_METHOD" not in dis.opmap  # 3.12 and later
_HANDLERS = {
    "LOAD_GLOBAL": _Reader.load_global,
    "LOAD_NAME": _Reader.load_global,
    "LOAD_DEREF": _Reader.load_deref,
    "LOAD_CLASSDEREF": _Reader.load_deref,
    "STORE_FAST": _Reader.store_fast,
    "STORE_FAST_LOAD_FAST": _Reader.store_fast,
    "STORE_FAST_STORE_FAST": _Reader.store_fast,
    "STORE_FAST_MAYBE_NULL": _Reader.store_fast,
    "LOAD_CONST": _Reader.load_const,
    "STORE_GLOBAL": _Reader.store_global,
    "DELETE_GLOBAL": _Reader.store_global,
    "STORE_DEREF": _Reader.store_deref,
    "DELETE_DEREF": _Reader.store_deref,
    "LOAD_ATTR": _Reader.load_attr,
    "LOAD_METHOD": _Reader.load_attr,
    "STORE_ATTR": _Reader.store_attr,
    "DELETE_ATTR": _Reader.store_attr,
    "STORE_SUBSCR": _Reader.store_subscript,
    "DELETE_SUBSCR": _Reader.store_subscript,
    "STORE_SLICE": _Reader.store_subscript,
    "BINARY_SUBSCR": _Reader.subscript,
    "BINARY_SLICE": _Reader.subscript,
    "BINARY_OP": _Reader.binary,
    "CONTAINS_OP": _Reader.contains,
    "GET_ITER": _Reader.iterate,
    "FOR_ITER": _Reader.next,
    "CALL": _Reader.call,
    "CALL_KW": _Reader.call,
    "CALL_FUNCTION_EX": _Reader.call_spread,
    "BEFORE_WITH": _Reader.enter,
    "LOAD_SPECIAL": _Reader.enter_special,
    "PRECALL": _Reader.skip,
    "KW_NAMES": _Reader.skip,
    "PUSH_NULL": _Reader.push_null,
    "COPY": _Reader.copy,
    "SWAP": _Reader.swap,
}


def _attribute(owner: Shared, name: str) -> Shared:
    """Return what an attribute of a shared object is, without running code of the user's."""
    if owner.value is None:
        return owner._replace(value=None, owner=owner, attribute=name)
    if isinstance(owner.value, ModuleType):
        value = vars(owner.value).get(name)
        words = f"{owner.value.__name__}.{name}"
    else:
        value = getattr_static(owner.value, name, None)
        words = f"{name} of {owner.name}"
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    elif not isinstance(value, FunctionType) and hasattr(type(value), "__get__"):
        value = None  # a property or a method in C: what it gives is not known
    return Shared(value, words, owner=owner, attribute=name)


def _inside(container: Any) -> Any:
    """Return what lies in a container."""
    if not isinstance(container, Shared):
        return None
    return Shared(None, container.name, container.is_item)


def _is_cache(name: str) -> bool:
    return any(word in name.lower() for word in _CACHE_NAMES)


def _tests_none(instruction: dis.Instruction) -> bool:
    """Whether an instruction holds something against None."""
    return instruction.opname == "IS_OP" or (
        "NONE" in instruction.opname and "JUMP" in instruction.opname
    )


def _body(code: CodeType, offset: int) -> Iterable[tuple[int, int]]:
    """Return the offsets of the body of a `with` whose entry is at an offset."""
    read: Any = dis.Bytecode(code)  # which has more than its type says
    entries = [each for each in read.exception_entries if each.start > offset]
    if not entries:
        return []
    first = min(entries, key=lambda each: each.start)
    return [(each.start, each.end) for each in entries if each.target == first.target]
