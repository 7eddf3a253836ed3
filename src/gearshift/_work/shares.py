"""A worker process's share of the machine, and random numbers of its own.

Apart from the engines because any of them that starts processes needs it.
"""

from __future__ import annotations

import os
import random
import sys
from contextlib import suppress
from typing import Any

__all__ = ["limit_threads", "reseed"]

# What the libraries read when they are loaded (threadpoolctl's list, and NumExpr).
VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

# What brings BLAS or OpenMP into a process
_LOADERS = ("numpy", "scipy", "torch", "mkl", "sklearn", "cv2", "numba", "faiss")

_limits: list[Any] = []  # would be undone if it were freed


def limit_threads(count: int) -> None:
    """Have BLAS, OpenMP and NumExpr use so many threads in this process.

    A library that is loaded later reads the environment, where a variable that the user has
    set stays; one that was loaded before (in a forked worker) is told by threadpoolctl,
    where that is installed.

    Args:
        count: Threads, at least 1.
    """
    for name in VARIABLES:
        os.environ.setdefault(name, str(count))
    chosen = [os.environ[name] for name in VARIABLES]
    if set(chosen) != {str(count)}:
        return  # the user has a mind of their own about some of them
    if not any(name in sys.modules for name in _LOADERS):
        return  # nothing to be told; threadpoolctl takes 10 ms to load
    with suppress(Exception):  # it is not there; or a library that it does not understand
        from threadpoolctl import threadpool_limits

        _limits[:] = [threadpool_limits(count)]


def reseed() -> None:
    """Give this process random numbers of its own: forked workers would all draw the same.

    For numbers that repeat from run to run there is `gs.item_seed()`.
    """
    random.seed()
    numpy_random: Any = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
