"""Where the items of a stream come from when nobody can ask for the next one."""

from __future__ import annotations

from gearshift.streams.sources.channel import Channel, channel
from gearshift.streams.sources.emitter import Emitter, emitter
from gearshift.streams.sources.every import every
from gearshift.streams.sources.keys import keys
from gearshift.streams.sources.lines import lines

__all__ = ["Channel", "Emitter", "channel", "emitter", "every", "keys", "lines"]
