"""What a node of a stream answers when it is asked for its next items.

    Batch           here they are
    Act             something is to be done first that may take long; then ask again
    Idle            there is nothing now; look again when one of these things happens
    Over            nothing will come any more

A node is asked while a Ctrl-C is held back, so it never blocks nor calls a function that
may take long: that is what `Act` is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gearshift.engines.base import Wakeup
    from gearshift.streams.batch import Batch
    from gearshift.streams.sources.base import Clock

__all__ = ["Act", "Idle", "Node", "Over", "Setting"]


@dataclass(frozen=True, slots=True)
class Act:
    """Something to be done in the consumer's thread, outside of the bookkeeping.

    Attributes:
        run: Does it.
        may_block: It pulls a source that may fall silent, rather than running items for 2 ms.
        patience: Says how long to wait for outcomes that are under way before it is done,
            given the seconds in which their engine starts; None means not at all.
    """

    run: Callable[[], None]
    may_block: bool = False
    patience: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing now.

    Attributes:
        seconds: Real seconds to wait at most, or None.
        due: When something happens by itself, by the stream's clock.
        filenos: What becomes readable with news.
        is_busy: Something is under way that ends by itself, so that time must not jump.
    """

    seconds: float | None = None
    due: float = math.inf
    filenos: tuple[int, ...] = ()
    is_busy: bool = False

    def beside(self, other: Idle) -> Idle:
        """Return what both wait for."""
        seconds = [each for each in (self.seconds, other.seconds) if each is not None]
        return Idle(
            min(seconds, default=None),
            min(self.due, other.due),
            self.filenos + other.filenos,
            self.is_busy or other.is_busy,
        )


@dataclass(frozen=True, slots=True)
class Over:
    """The end, and the error that it came with, if any."""

    error: BaseException | None = None


@dataclass(slots=True, eq=False)
class Setting:
    """What the nodes of one run share.

    Attributes:
        wakeup: Of the run; a node never clears it.
        clock: What time it is for operators and sources.
        loop: The consumer's event loop under `async for`, else None.
        is_guest: The run is stepped by call-backs in a loop of somebody else's, such as a window's.
        ended_by: The error that sources are to end with: the run was cancelled.
        in_event_time: Items tell their time, and the clock does not count.
    """

    wakeup: Wakeup
    clock: Clock
    loop: asyncio.AbstractEventLoop | None = None
    is_guest: bool = False
    ended_by: list[BaseException] = field(default_factory=list)
    in_event_time: bool = False


class Node(Protocol):
    """A part of a stream in one run, that asks the one before it."""

    @property
    def total(self) -> int | None:
        """How many items it will give in all, where that is known."""
        ...

    def start(self, setting: Setting) -> None:
        """Open what is to be opened before the first step."""
        ...

    def step(self) -> Batch | Act | Idle | Over:
        """Return the next items, or why there are none now."""
        ...
