"""What a run of a stream is made of, apart from the order in which items pass through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gearshift._run.pump import Pump
    from gearshift.streams.async_inlet import AsyncInlet
    from gearshift.streams.inlets import IterableInlet, LiveInlet

__all__ = ["Closes", "Parts"]


class Closes(Protocol):
    """Something that is to be closed at the end of a run."""

    def close(self) -> None:
        """Let go; may be called again."""
        ...


@dataclass(slots=True, eq=False)
class Parts:
    """What is to be ended, and counted, one by one.

    Attributes:
        pumps: Of the stages, the first one first.
        inlets: The iterables.
        live_inlets: The live sources.
        async_inlets: The asynchronous iterables.
        closes: Whatever else is to be closed.
    """

    pumps: list[Pump] = field(default_factory=list)
    inlets: list[IterableInlet] = field(default_factory=list)
    live_inlets: list[LiveInlet] = field(default_factory=list)
    async_inlets: list[AsyncInlet] = field(default_factory=list)
    closes: list[Closes] = field(default_factory=list)

    @property
    def made(self) -> int:
        """Items that came in."""
        return sum(each.made for each in (*self.inlets, *self.live_inlets, *self.async_inlets))

    @property
    def dropped(self) -> int:
        """Items that sources gave up because they came faster than they were taken."""
        return sum(each.dropped for each in self.live_inlets)

    def close(self) -> None:
        """Close the sources; may be called again."""
        for each in (*self.inlets, *self.live_inlets, *self.closes):
            each.close()
