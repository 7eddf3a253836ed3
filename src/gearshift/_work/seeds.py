"""A random seed per item that does not depend on engine, worker or order."""

from __future__ import annotations

import hashlib

from gearshift._work.scope import CURRENT

__all__ = ["item_seed", "mix"]

_SEED_BYTES = 16


def item_seed() -> int:
    """Return a 128-bit number that belongs to the item being run.

    It depends on the run's `seed` and the item's index alone, so a run repeats exactly
    on any engine: `random.Random(gs.item_seed())`, `numpy.random.default_rng(gs.item_seed())`.

    Returns:
        An int from 0 to 2**128 - 1.

    Raises:
        RuntimeError: Called outside a task, or the run has no `seed`.
    """
    call = CURRENT.get()
    if call is None:
        raise RuntimeError(
            "item_seed() was called outside a task: call it inside the function given to gs.map"
        )
    if call.seed is None:
        raise RuntimeError(
            "item_seed() needs a seed: give the run one, as in gs.map(fn, items, seed=42)"
        )
    return mix(call.seed, call.index)


def mix(seed: int, index: int) -> int:
    """Return the seed of one item: BLAKE2b (RFC 7693) of seed and index, 16 bytes.

    A hash rather than `seed + index`: neighbouring seeds give correlated streams in
    some generators, and two runs with seeds 1 and 2 would share all items but one.
    """
    text = f"{seed}:{index}".encode()
    return int.from_bytes(
        hashlib.blake2b(text, digest_size=_SEED_BYTES, person=b"gearshift").digest(), "big"
    )
