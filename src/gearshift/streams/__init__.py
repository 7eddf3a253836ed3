"""Streams: items as they come, with time, keys and backpressure."""
