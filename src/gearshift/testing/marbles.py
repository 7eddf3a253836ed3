"""Streams as diagrams: what comes in, what must come out, and when.

    -a--bc--d---|      a at 1, b at 4, c at 5, d at 8, the end at 12
    -a--(bc|)          b, c and the end at 4; a group takes a frame a character
    -a--#              an error at 4
    --a-^-b-|          b at 2, the end at 4: `^` is where time begins
    a 9s b             b at 10: a time between spaces lets so much pass

The notation is that of RxJS's TestScheduler. A character is a frame, of one second by
default; other spaces mean nothing. Reading diagrams, driving operators and comparing
stand apart, so that what drives is the only part that knows what is tested.
"""

from __future__ import annotations

import math
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gearshift.streams.batch import Batch
from gearshift.streams.operators.keyed import Keyed
from gearshift.streams.operators.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gearshift.streams.operators.base import Operator

__all__ = ["ERROR", "Event", "MarbleError", "parse_marbles", "run_marbles"]

_PASSING = re.compile(r"(?:^|(?<= ))(\d+(?:\.\d+)?)(ms|s|m)(?= |$)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_DIGITS = 9  # of seconds: sums of frames and of milliseconds are to be equal


class MarbleError(Exception):
    """What `#` stands for when no other error is given."""


ERROR = MarbleError("#")


class Event(NamedTuple):
    """One marble.

    Attributes:
        at: When, in seconds.
        kind: An item, the error or the end.
        value: The item or the error; None at the end.
    """

    at: float
    kind: Literal["item", "error", "end"]
    value: Any = None


def parse_marbles(
    diagram: str,
    values: Mapping[str, Any] | None = None,
    *,
    error: Exception = ERROR,
    frame_seconds: float = 1.0,
) -> list[Event]:
    """Read a diagram.

    Args:
        diagram: As above.
        values: The item that a character stands for; one without stands for itself.
        error: What `#` stands for.
        frame_seconds: How long a frame is.

    Returns:
        The events in their order; without an end or an error if the stream goes on.

    Raises:
        ValueError: The diagram has a group that is not closed or not open, more than one
            `^`, or something after its end.

    Example:
        >>> parse_marbles("-a-|", {"a": 5})
        [Event(at=1.0, kind='item', value=5), Event(at=3.0, kind='end', value=None)]
    """
    values = values or {}
    events: list[Event] = []
    zero = 0.0
    for frame, marble in _frames(diagram, frame_seconds):
        at = round(frame * frame_seconds, _DIGITS)
        if marble == "^":
            if zero:
                raise ValueError(f"diagram={diagram!r} has more than one '^'")
            zero = at
        elif events and events[-1].kind != "item":
            raise ValueError(f"diagram={diagram!r} has {marble!r} after its end")
        elif marble == "|":
            events.append(Event(at, "end"))
        elif marble == "#":
            events.append(Event(at, "error", error))
        else:
            events.append(Event(at, "item", values.get(marble, marble)))
    return [
        event._replace(at=round(event.at - zero, _DIGITS)) for event in events if event.at >= zero
    ]


def _frames(diagram: str, frame_seconds: float) -> Iterator[tuple[float, str]]:
    """Yield every marble with the frame in which it stands.

    Raises:
        ValueError: A group is not closed, or not open.
    """
    frame, group, index = 0.0, None, 0
    while index < len(diagram):
        marble = diagram[index]
        passing = _PASSING.match(diagram, index)
        if passing and group is None:
            frame += float(passing[1]) * _SECONDS[passing[2]] / frame_seconds
            index = passing.end()
            continue
        index += 1
        if marble == " ":
            continue
        if marble in "()":
            if (marble == "(") != (group is None):
                raise ValueError(f"diagram={diagram!r} has a {marble!r} too many at {index - 1}")
            group = frame if marble == "(" else None
        elif marble != "-":
            yield frame if group is None else group, marble
        frame += 1
    if group is not None:
        raise ValueError(f"diagram={diagram!r} has a group that is not closed: add a ')'")


def run_marbles(
    operators: Sequence[Operator],
    source: str,
    values: Mapping[str, Any] | None = None,
    *,
    keyed: Callable[[Any], Any] | None = None,
    error: Exception = ERROR,
    frame_seconds: float = 1.0,
    event_time: bool = False,
) -> list[Event]:
    """Put a diagram through operators, as a run of a stream would.

    Args:
        operators: The operators, the first one first; they are used up.
        source: The diagram of what comes in.
        values: The item that a character stands for; one without stands for itself.
        keyed: Returns the key of an item.
        error: What `#` stands for.
        frame_seconds: How long a frame is.
        event_time: False lets a clock go from moment to moment, as it does live; True
            gives all items at once, with their times, as from a file. Nobody sees then
            when a function raised: its error is put at the time of the last item.

    Returns:
        What comes out, to be compared with `parse_marbles` of what is expected.

    Raises:
        ValueError: The diagram makes no sense.

    Example:
        >>> from gearshift.streams.operators.scan import Pairwise
        >>> run_marbles([Pairwise()], "a-b-|") == parse_marbles("--x-|", {"x": ("a", "b")})
        True
    """
    events = parse_marbles(source, values, error=error, frame_seconds=frame_seconds)
    pipeline = Pipeline([*([] if keyed is None else [Keyed(keyed)]), *operators])
    given: list[Event] = []
    for event in _drive(pipeline, events, event_time=event_time):
        given.append(event._replace(at=round(event.at, _DIGITS)))
        if event.kind != "item":
            break
    return given


def _drive(pipeline: Pipeline, events: Sequence[Event], *, event_time: bool) -> Iterator[Event]:
    """Yield what a pipeline gives for a source; what comes after an error means nothing."""
    items = [event for event in events if event.kind == "item"]
    groups = [list(group) for _, group in groupby(items, lambda event: event.at)]
    if event_time and items:
        groups = [items]
    for group in groups:
        at = group[-1].at
        if not event_time:
            yield from _wait(pipeline, math.nextafter(at, -math.inf))
        times = [event.at for event in group] if event_time else None
        out = pipeline.feed(Batch([event.value for event in group], None, times, now=at))
        yield from _given(pipeline, out, at)
    last = events[-1] if events else None
    if last is None or last.kind == "item":
        yield from _wait(pipeline, math.inf)
        return
    yield from _wait(pipeline, math.nextafter(last.at, -math.inf))
    if last.kind == "end":
        yield from _given(pipeline, pipeline.end(last.at), last.at)
    yield last


def _wait(pipeline: Pipeline, until: float) -> Iterator[Event]:
    """Let time pass from one due moment to the next."""
    while (at := pipeline.due) <= until and at < math.inf:
        yield from _given(pipeline, pipeline.tick(at), at)


def _given(pipeline: Pipeline, out: Batch, at: float) -> Iterator[Event]:
    times = [at] * len(out) if out.times is None else out.times
    for time, item in zip(times, out.items, strict=True):
        yield Event(time, "item", item)
    if pipeline.error is not None:
        yield Event(at, "error", pipeline.error)
