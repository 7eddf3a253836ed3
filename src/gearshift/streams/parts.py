"""What a run of a stream is made of, apart from the order in which items pass through it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gearshift._run.pump import Pump
    from gearshift.streams.async_inlet import AsyncInlet
    from gearshift.streams.inlets import IterableInlet, LiveInlet

__all__ = ["Parts"]


@dataclass(slots=True, eq=False)
class Parts:
    """What is to be ended, and counted, one by one.

    Attributes:
        pumps: Of the stages, the first one first.
        inlets: The iterables.
        live_inlets: The live sources.
        async_inlets: The asynchronous iterables.
    """

    pumps: list[Pump] = field(default_factory=list)
    inlets: list[IterableInlet] = field(default_factory=list)
    live_inlets: list[LiveInlet] = field(default_factory=list)
    async_inlets: list[AsyncInlet] = field(default_factory=list)

    @property
    def made(self) -> int:
        """Items that came in."""
        inlets: list[IterableInlet | LiveInlet | AsyncInlet] = []
        inlets += self.inlets
        inlets += self.live_inlets
        inlets += self.async_inlets
        return sum(each.made for each in inlets)

    @property
    def dropped(self) -> int:
        """Items that sources gave up because they came faster than they were taken."""
        return sum(each.dropped for each in self.live_inlets)

    def close(self) -> None:
        """Close the sources; may be called again."""
        for inlet in self.inlets:
            inlet.close()
        for live in self.live_inlets:
            live.close()
