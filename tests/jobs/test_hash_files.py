"""A real job from the shell: SHA-256 and size of every file of the standard library.

`gearshift run` has to say what a plain loop says, line for line, on every engine, from a
pattern and from a list of names.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

STDLIB = sysconfig.get_path("stdlib")
# All but `site-packages`, where somebody else's files lie.
PATTERNS = (f"{STDLIB}/*.py", f"{STDLIB}/[!s]*/**/*.py", f"{STDLIB}/s[!i]*/**/*.py")
FILES_AT_LEAST = 500  # Debian's package without tests, and without what needs Tk
FUNCTIONS = '''
import asyncio
import hashlib
from pathlib import Path


def digest(path):
    """Return SHA-256 and size of a file."""
    data = Path(path).read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


async def adigest(path):
    """Do the same beside others."""
    return await asyncio.to_thread(digest, path)
'''

Lines = list[dict[str, Any]]


@pytest.fixture(scope="module")
def expected() -> Lines:
    """Return what a plain loop finds, in the order of the patterns."""
    found: list[list[str]] = [[], [], []]
    for folder, folders, names in os.walk(STDLIB):
        folders[:] = {name for name in folders if name[0] != "."} - {"site-packages"}
        inside = os.path.relpath(folder, STDLIB)
        place = 0 if inside == "." else 2 if inside[0] == "s" else 1
        found[place] += [
            os.path.join(folder, name)  # noqa: PTH118 - as glob writes it
            for name in names
            if name.endswith(".py") and name[0] != "."
        ]
    lines = []
    for path in (path for part in found for path in sorted(part)):
        data = Path(path).read_bytes()
        value = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        lines.append({"item": path, "value": value})
    assert len(lines) >= FILES_AT_LEAST
    return lines


@pytest.fixture
def hashing(tmp_path: Path) -> str:
    """Return the path of a file with the functions."""
    (tmp_path / "hashing.py").write_text(FUNCTIONS, "utf-8")
    return str(tmp_path / "hashing.py")


def gearshift_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gearshift", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "serial", "threads", "processes", "asyncio"])
def test_every_engine_hashes_the_standard_library_as_a_loop_does(
    engine: str, hashing: str, expected: Lines
) -> None:
    target = f"{hashing}:{'adigest' if engine == 'asyncio' else 'digest'}"
    patterns = [word for pattern in PATTERNS for word in ("--glob", pattern)]
    done = gearshift_run(target, *patterns, "--on", engine)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected
    assert done.stderr.startswith(f"{len(expected):,} items in ")
    assert ": all succeeded." in done.stderr
    if engine != "auto":
        assert f" on {engine} with " in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("function", ["digest", "adigest"])
def test_list_of_names_is_hashed_into_a_file(
    function: str, hashing: str, expected: Lines, tmp_path: Path
) -> None:
    names, out = tmp_path / "names.txt", tmp_path / "digests.jsonl"
    names.write_text("\n".join(line["item"] for line in expected), "utf-8")
    done = gearshift_run(f"{hashing}:{function}", "--lines", str(names), "-o", str(out), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == expected


@pytest.mark.slow
def test_missing_file_among_them_is_written_with_its_error(
    hashing: str, expected: Lines, tmp_path: Path
) -> None:
    names = [line["item"] for line in expected]
    gone = str(tmp_path / "gone.py")
    (tmp_path / "names.txt").write_text("\n".join([*names[:100], gone, *names[100:]]), "utf-8")
    done = gearshift_run(
        f"{hashing}:digest",
        "--lines",
        str(tmp_path / "names.txt"),
        "--unordered",
        "--on",
        "threads",
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [line for line in lines if "error" in line]
    error = {
        "type": "FileNotFoundError",
        "message": f"[Errno 2] No such file or directory: {gone!r}",
        "attempts": 1,
    }
    assert failed == [{"item": gone, "error": error}]
    by_name = {line["item"]: line for line in lines}
    assert [by_name[name] for name in names] == expected
    assert f"{len(names):,} succeeded, 1 failed." in done.stderr
