"""Measure the check of a function's code: its time, and how often it cries wolf.

    python benchmarks/hazards.py

Over the public functions of some 60 modules of the standard library: how many are kept from
threads or processes, with the library's own data left to it as in a run, and looked at like anybody's.
Times are of the first look and of the second, which finds the code read; medians and nine tenths.
"""

from __future__ import annotations

import importlib
import statistics
import time
from types import FunctionType
from typing import TYPE_CHECKING, Any

from gearshift._measure.hazards import calls, hazards_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = """
argparse ast base64 bisect calendar collections colorsys configparser copy csv datetime decimal
difflib dis email.utils filecmp fnmatch fractions functools glob gzip hashlib heapq html
html.parser inspect ipaddress itertools json keyword linecache locale mimetypes ntpath numbers
operator os pathlib pickle pickletools pprint posixpath quopri random re shlex shutil
statistics string struct tempfile textwrap timeit tokenize traceback types unicodedata
urllib.parse uuid zipfile xml.etree.ElementTree
""".split()  # noqa: SIM905 - words


def functions() -> Iterator[Callable[..., Any]]:
    """Return the public functions that are written in Python, each where it is at home."""
    for name in MODULES:
        module = importlib.import_module(name)
        public = getattr(module, "__all__", [each for each in vars(module) if each[0] != "_"])
        for each in public:
            function = getattr(module, each)
            if isinstance(function, FunctionType) and function.__module__ == name:
                yield function


def look(found: list[Callable[..., Any]], *, show: bool = False) -> tuple[list[float], int]:
    """Return the seconds that each look took, and how many functions were flagged."""
    seconds, flagged = [], 0
    for function in found:
        started = time.perf_counter()
        hazards = hazards_of(function)
        seconds.append(time.perf_counter() - started)
        reason = hazards.no_threads or hazards.no_processes
        flagged += reason is not None
        if show and reason is not None:
            kept = "serial" if hazards.no_threads else "no processes"
            print(f"  {function.__module__}.{function.__qualname__}: {kept}: {reason}")
    return seconds, flagged


def main() -> None:
    """Print the figures."""
    found = list(functions())
    first, flagged = look(found, show=True)
    second, _ = look(found)
    print(f"{flagged} of {len(found)} functions flagged, {flagged / len(found):.1%}")
    for name, seconds in (("first", first), ("second", second)):
        tenths = statistics.quantiles(seconds, n=10)
        print(
            f"{name} look: {statistics.median(seconds) * 1e6:.0f} µs, nine tenths {tenths[8] * 1e6:.0f} µs"
        )
    calls.is_of_library = lambda function: False
    _, flagged = look(found)
    print(f"with the library's own data looked at: {flagged}, {flagged / len(found):.1%}")


if __name__ == "__main__":
    main()
