"""Checks for whoever writes an engine: the promises of `gs.map`, and what becomes of faults."""
