"""For tests of programs that use gearshift, and for whoever writes an engine.

`VirtualClock` and marbles make tests of time run in no time; `contract` and `faults` hold the
promises of `gs.map` against an engine; `servers` has a server that answers badly. Those
three are imported by their own names, since they need more.
"""

from __future__ import annotations

from gearshift.testing.clock import VirtualClock
from gearshift.testing.marbles import Event, MarbleError, parse_marbles, run_marbles

__all__ = ["Event", "MarbleError", "VirtualClock", "parse_marbles", "run_marbles"]
