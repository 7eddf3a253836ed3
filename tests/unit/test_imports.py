"""Hold `import gearshift` to what every program would pay for.

Apart from the other tests, since only a new interpreter shows it: each test
starts one, isolated from the variables and the folder of this one.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "asyncio",
    "concurrent.futures.process",
    "ctypes",
    "logging",
    "multiprocessing",
    "socket",
    "ssl",
    "subprocess",
    "urllib.request",
)
# What a site's own start-up loads is not ours: only what the statement adds counts.
SCRIPT = """
import json, sys
before = set(sys.modules)
import gearshift
print(json.dumps(sorted(set(sys.modules) - before)))
"""


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """Return the modules that a bare `import gearshift` adds."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT], check=True, capture_output=True, text=True
    )
    return set(json.loads(done.stdout))


def test_import_loads_the_package(loaded: set[str]) -> None:
    assert "gearshift" in loaded


def test_import_loads_no_third_party_package(loaded: set[str]) -> None:
    tops = {name.partition(".")[0] for name in loaded}
    assert tops - sys.stdlib_module_names - {"gearshift"} == set()


@pytest.mark.parametrize("heavy", HEAVY)
def test_import_leaves_heavy_module_unloaded(heavy: str, loaded: set[str]) -> None:
    assert heavy not in loaded
