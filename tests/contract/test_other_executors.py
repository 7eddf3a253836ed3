"""Other people's executors keep the promises; see `other_executors`, run in processes of their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", ["dask", "loky", "mpi"])
def test_executor_keeps_the_promises(name: str) -> None:
    package = {"dask": "distributed", "loky": "loky", "mpi": "mpi4py"}[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", name, str(HERE / "other_executors.py")],
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:]
    assert " passed" in done.stdout
