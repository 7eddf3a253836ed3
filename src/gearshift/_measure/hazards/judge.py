"""What is done to a thing, as a verdict in words: which engines would change the result.

Apart from `hazards`, which finds what is done: here are the rules. Invariant: the first
reason found for an engine stands.
"""

from __future__ import annotations

import os
import re
from types import BuiltinFunctionType, FunctionType, MethodType, MethodWrapperType, ModuleType
from typing import TYPE_CHECKING

from gearshift._measure.hazards.known import (
    CHANGING,
    CONTAINERS,
    is_iterator,
    is_output,
    moved,
    stateful,
)
from gearshift._measure.hazards.look import MISSING
from gearshift._measure.hazards.things import ATOMS, Thing, isinstance_of, shared

if TYPE_CHECKING:
    from gearshift._measure.hazards.frames import Frame
    from gearshift._measure.hazards.things import Things

__all__ = ["KNOWN_METHODS", "Verdict", "is_cache"]

_CACHE = re.compile("cache|memo", re.IGNORECASE)
KNOWN_METHODS = (FunctionType, BuiltinFunctionType, MethodWrapperType, MethodType)
_BOUND = (BuiltinFunctionType, MethodWrapperType, MethodType)


def is_cache(thing: Thing) -> bool:
    """Whether its name says that what it holds can be made again."""
    return _CACHE.search(thing.label) is not None


class Verdict:
    """The reasons so far.

    Attributes:
        no_threads: Why its tasks may not overlap in one process, or None.
        no_processes: Why it may not run in worker processes, or None.
        vouched_threads: What is being looked at was said to be safe on threads.
        vouched_processes: The same of processes.
    """

    def __init__(self) -> None:
        """Begin without a reason."""
        self.no_threads: str | None = None
        self.no_processes: str | None = None
        self.vouched_threads = False
        self.vouched_processes = False

    @property
    def is_final(self) -> bool:
        """Whether there is nothing left to find."""
        return self.no_threads is not None and self.no_processes is not None

    def say(self, words: str, *, threads: bool, processes: bool) -> None:
        """Note a reason against threads, processes or both."""
        if threads and not self.vouched_threads and self.no_threads is None:
            self.no_threads = words
        if processes and not self.vouched_processes and self.no_processes is None:
            self.no_processes = words

    def changed(self, frame: Frame, thing: Thing, *, locked: bool, verb: str = "changes") -> None:
        """Judge that something is changed, or a name bound."""
        if thing.kind == "own" or (verb == "changes" and isinstance_of(thing.value, ATOMS)):
            return
        if thing.kind == "item":
            words = f"{frame.who} changes the item that it is given, which the caller would not see"
            self.say(words, threads=False, processes=True)
        elif thing.value is os.environ:
            self.say(
                f"{frame.who} changes os.environ, which all tasks share",
                threads=True,
                processes=True,
            )
        elif locked:
            words = f"{frame.who} {verb} {thing.label}, and every process would have its own"
            self.say(words, threads=False, processes=True)
        else:
            words = f"{frame.who} {verb} {thing.label} without a lock"
            self.say(words, threads=True, processes=True)

    def used(self, frame: Frame, thing: Thing, *, locked: bool, refills: bool) -> None:
        """Judge that something is loaded: what it is may be enough.

        Args:
            frame: The function that loads it.
            thing: What is loaded.
            locked: A lock is held meanwhile.
            refills: A cache is asked first whether it has what is about to be put there.
        """
        if thing.kind != "shared" or thing.value is MISSING:
            return
        found = stateful(thing.value)
        if found is not None:
            words, threads, processes = found
            sentence = f"{frame.who} {words.format(label=thing.label)}"
            self.say(sentence, threads=threads, processes=processes)
        elif type(thing.value) in _BOUND:
            self._used_method(frame, thing, locked=locked, refills=refills)

    def _used_method(self, frame: Frame, thing: Thing, *, locked: bool, refills: bool) -> None:
        owner = object.__getattribute__(thing.value, "__self__")
        if isinstance_of(owner, (ModuleType, Thing)):
            return
        name = thing.value.__name__
        label = thing.label.removesuffix(f".{name}")
        if not self.moves(frame, shared(owner, label), name) and changes(thing.value):
            owned = shared(owner, label)
            if not is_cache(owned) and not (refills and name == "setdefault"):
                self.changed(frame, owned, locked=locked)

    def moves(self, frame: Frame, owner: Thing, method: str) -> bool:
        """Judge that a method is used that moves its object on; return whether it does."""
        words = moved(owner.value, method)
        if words is not None:
            self.say(f"{frame.who} {words.format(label=owner.label)}", threads=True, processes=True)
        return words is not None

    def iterated(self, frame: Frame, things: Things) -> None:
        """Judge that something is iterated: an iterator that others see is used up."""
        for thing in things:
            if thing.kind == "shared" and is_iterator(thing.value) and not is_output(thing.value):
                self.say(
                    f"{frame.who} takes from the iterator {thing.label},"
                    " so what it gets depends on the order of the tasks",
                    threads=True,
                    processes=True,
                )


def changes(method: object) -> bool:
    """Whether a bound method is one of those that are known to change what they are bound to."""
    if getattr(method, "__name__", "") not in CHANGING:
        return False
    owner = object.__getattribute__(method, "__self__")
    written_in_c = type(method) is not MethodType
    return written_in_c or owner is os.environ or isinstance_of(owner, CONTAINERS)
