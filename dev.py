#!/usr/bin/env python3
"""Run gearshift's own commands on a machine that has only Python.

Apart from the package, since it must work before anything is installed: it is
one file (so a long one), uses the standard library only, and a Python from 3.7
on gets far enough in it to say that it is too old. The first call makes a
virtual environment in `.dev/` and fills it from `requirements/dev.lock`; later
calls only compare its stamp.

Invariant: the stamp is written last and removed first, so an environment with
the right stamp is whole. A tool runs under a shared lock on a file beside the
environment, which is changed under an exclusive one: calls at the same time
neither build over each other nor over a running tool. (Windows has no such
lock in its standard library; make the first call there alone.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_platform

TYPE_CHECKING = False  # `typing` itself would add 4 ms to each call
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType
    from typing import IO, Any

    Handler = Callable[[int, FrameType | None], Any] | int | None

USAGE = """\
python3 dev.py tour [ARG...]     gearshift tour, with its arguments
python3 dev.py test [ARG...]     the tests, with pytest's arguments
python3 dev.py check [STEP...]   what CI runs, all of it or the steps named
python3 dev.py check --no-tests  the same without the tests
"""
MIN_PYTHON = (3, 11)
NEWER_PYTHONS = ("python3.14", "python3.13", "python3.12", "python3.11")
LOCK = "requirements/dev.lock"
WRONG_USAGE = 2
INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
GRACE_SECONDS = 5.0  # pytest takes up to a second or two to end after Ctrl-C
LOG_TAIL_LINES = 15

# What another environment, or a habit, would change in ours.
FOREIGN_VARIABLES = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONPLATLIBDIR"),
    *("PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"),
    *("VIRTUAL_ENV", "CONDA_PREFIX"),
    "PYTHONOPTIMIZE",  # would take the asserts out of the tests
)
# Of the installers' variables, only those that tell how to reach a package index
# are taken: none of target, user, require-virtualenv, constraint, no-binary ...
INSTALLERS = ("PIP_", "UV_")
INDEX_OPTION = re.compile(
    "INDEX|LINKS|HOST|PROXY|CERT|TLS|KEYRING|OFFLINE|TIMEOUT|RETRIES|CACHE|CONFIG_FILE"
)

# What an installer prints, and what that means and asks for; the first match wins.
CAUSES = {
    "no space left on device": ("the disk is full; free about 500 MB and call again"),
    r"python\.h: no such file|python\.h' file not found": (
        "a package had to be compiled, and Python's headers are missing; install "
        "them (Debian, Ubuntu: apt-get install python3-dev) and call again"
    ),
    r"c compiler|(g?cc|clang)' failed|directory: 'g?cc'|vcvarsall|visual c\+\+": (
        "a package had to be compiled, and there is no working C compiler; install "
        "one (Debian, Ubuntu: apt-get install gcc python3-dev; macOS: "
        "xcode-select --install) and call again"
    ),
    "do not match the hashes|hash mismatch": (
        f"a download is not the file that {LOCK} names; empty the caches (python3 -m "
        "pip cache purge; uv cache clean), and if it stays so use another index"
    ),
    "certificate|sslerror": (
        "the package index shows a certificate that is not trusted here; name yours "
        "(PIP_CERT=FILE for pip, SSL_CERT_FILE=FILE for uv) and call again"
    ),
    "name resolution|not known|new connection|connection (refused|reset)|unreachable"
    "|timed out|dns error|failed to fetch|proxyerror|no matching distribution": (
        "the package index cannot be reached, or lacks a package of the lock; check "
        "the connection, behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL "
        "(uv: UV_DEFAULT_INDEX), and call again"
    ),
}


class DevError(Exception):
    """Something is missing; the text says what we got, why it matters, and the cure."""


def main(argv: Sequence[str], *, root: Path | None = None) -> int:
    """Run one command.

    Args:
        argv: The command and its arguments.
        root: The checkout; by default the folder of this file.

    Returns:
        The exit status: the tool's own, 1 when the environment cannot be made,
        2 for a wrong command, 130 after Ctrl-C.
    """
    try:
        check_python(sys.version_info[:2])
        return _command(list(argv), root or Path(__file__).resolve().parent)
    except DevError as error:
        print(f"dev.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"dev.py: {error}; it keeps its environment in .dev/ of the checkout: make "
            "that folder yours to write, or delete it, and call again",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def check_python(version: tuple[int, ...]) -> None:
    """Refuse a Python that gearshift does not run on.

    Args:
        version: Major and minor number of the Python that runs this file.

    Raises:
        DevError: It is older than 3.11; the text names a newer one that PATH has.
    """
    if version >= MIN_PYTHON:
        return
    newer = next(filter(shutil.which, NEWER_PYTHONS), None)
    cure = (
        f"this machine has a newer one: {newer} dev.py ..."
        if newer
        else "install a newer one, next to the old (Debian 12, Ubuntu 24.04: "
        "apt-get install python3; macOS: brew install python3)"
    )
    raise DevError(
        f"this is Python {_dotted(version)} ({sys.executable}); gearshift needs "
        f"{_dotted(MIN_PYTHON)} or newer; {cure}"
    )


def check_venv() -> None:
    """Refuse a Python that lacks what makes a virtual environment.

    Raises:
        DevError: `venv` or `ensurepip` is not there: some distributions split them off.
    """
    absent = [name for name in ("venv", "ensurepip") if not find_spec(name)]
    if absent:
        version = _dotted(sys.version_info[:2])
        raise DevError(
            f"this Python {version} ({sys.executable}) comes without {' and '.join(absent)}, "
            "so it can make no virtual environment; install what is missing (Debian, Ubuntu: "
            f"apt-get install python{version}-venv), or put `uv` on PATH, which needs neither"
        )


class Environment:
    """The virtual environment of one checkout and one Python, in `.dev/`.

    Args:
        root: The checkout.
    """

    def __init__(self, root: Path) -> None:
        base = root / ".dev" / f"{sys.implementation.cache_tag}-{get_platform()}"
        self.root = root
        self.folder = base
        self.scripts = base / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = self.scripts / ("python.exe" if sys.platform == "win32" else "python")
        self.stamp_file = base / "stamp"
        self.lock_file = base.with_name(base.name + ".lock")
        self.log_file = base.with_name(base.name + ".log")

    def wanted_stamp(self) -> str:
        """Return what an environment made now would be stamped with.

        Returns:
            A hash of all that its content depends on: the lock, the Python, the
            folder (scripts and the editable install name it), and what pyproject.toml
            says of the project's own installation, so not the tools' settings.

        Raises:
            DevError: The checkout lacks `requirements/dev.lock` or `pyproject.toml`.
        """
        import tomllib  # not before the check for an old Python

        try:
            lock = (self.root / LOCK).read_text("utf-8")
            pyproject = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))
        except FileNotFoundError as error:
            raise DevError(
                f"{error.filename} is missing, which says what to install; get it "
                "back: git checkout -- pyproject.toml requirements"
            ) from error
        own = [pyproject.get(name) for name in ("build-system", "project")]
        own.append(pyproject.get("tool", {}).get("hatch"))
        parts = [lock, sys.version, sys.base_prefix, str(self.root), own]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def is_ready(self) -> bool:
        """Answer whether the environment is whole and made from the present lock."""
        try:
            stamp = self.stamp_file.read_text("utf-8")
        except FileNotFoundError:
            return False
        # `exists` follows the link to a Python that may be gone by now
        return stamp == self.wanted_stamp() and self.python.exists()

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Hold the environment whole and unchanged, made first if need be.

        Yields:
            Nothing; inside, no other call changes the environment.
        """
        self.folder.parent.mkdir(exist_ok=True)
        with self.lock_file.open("a") as lock:
            _lock(lock, exclusive=False)
            while not self.is_ready():
                _lock(lock, exclusive=True)
                if not self.is_ready():  # another call may have made it by now
                    self.make(lock)
                _lock(lock, exclusive=False)  # lets others in between: look again
            yield

    def make(self, lock: IO[str]) -> None:
        """Make the environment anew.

        Args:
            lock: Held exclusively; the installers hold it too, so that one that
                survives this process is still waited for.

        Raises:
            DevError: An installer failed, or there is none.
        """
        stamp = self.wanted_stamp()  # of what the installers are about to read
        uv = shutil.which("uv")
        ways = [self._uv_commands(uv)] if uv else []
        if not uv:
            check_venv()
        ways.append(self._pip_commands())  # also where uv does not reach the index
        print(
            f"dev.py: filling {self.folder} (once; takes half a minute)",
            file=sys.stderr,
            flush=True,
        )
        with self.log_file.open("w", encoding="utf-8") as log:
            made = any(self._install(commands, log, lock) for commands in ways)
        if not made:
            raise DevError(explain_failure(self.log_file.read_text("utf-8", "replace")))
        draft = self.stamp_file.with_suffix(".draft")
        draft.write_text(stamp, "utf-8")
        draft.replace(self.stamp_file)

    def variables(self) -> dict[str, str]:
        """Return the environment variables for a tool of this environment."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in FOREIGN_VARIABLES
            and (not name.startswith(INSTALLERS) or INDEX_OPTION.search(name))
        }
        return {
            **kept,
            "PATH": os.pathsep.join([str(self.scripts), kept.get("PATH", os.defpath)]),
            "VIRTUAL_ENV": str(self.folder),
            "PYRIGHT_PYTHON_GLOBAL_NODE": "0",  # the locked node, not one on PATH
            "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1",
        }

    def _install(self, commands: Sequence[Sequence[str]], log: IO[str], lock: IO[str]) -> bool:
        self.stamp_file.unlink(missing_ok=True)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        for command in commands:
            log.write(f"$ {' '.join(command)}\n")
            log.flush()
            if run(command, self.variables(), cwd=self.root, log=log, keep=lock):
                return False
        return True

    def _uv_commands(self, uv: str) -> list[list[str]]:
        install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(self.python)]
        return [
            [uv, "venv", "--quiet", "--python", _base_python(), str(self.folder)],
            [*install, "--compile-bytecode", "--require-hashes", "-r", LOCK],
            [*install, "--no-build-isolation", "--editable", "."],
        ]

    def _pip_commands(self) -> list[list[str]]:
        # -I: no variable, user folder or module of the checkout gets into pip
        install = [str(self.python), "-I", "-m", "pip", "install", "--quiet"]
        install += ["--no-input", "--disable-pip-version-check", "--no-deps"]
        return [
            [_base_python(), "-I", "-m", "venv", str(self.folder)],
            [*install, "--require-hashes", "-r", LOCK],
            [*install, "--no-build-isolation", "--editable", "."],
        ]


def explain_failure(log: str) -> str:
    """Return why an installation failed and what to do, from what it printed.

    Args:
        log: The installers' whole output.

    Returns:
        Its last lines, then the cause and its cure in a sentence.
    """
    known = (cause for words, cause in CAUSES.items() if re.search(words, log, re.IGNORECASE))
    cause = next(known, "the last lines above say why")
    tail = "\n".join(log.splitlines()[-LOG_TAIL_LINES:])
    return f"the installation stopped:\n{tail}\ndev.py: {cause}"


def run(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    cwd: Path,
    log: IO[str] | None = None,
    keep: IO[str] | None = None,
) -> int:
    """Run a program to its end, which Ctrl-C and SIGTERM reach too.

    Args:
        command: The program and its arguments.
        variables: Its environment variables.
        cwd: Its working folder.
        log: Takes its output; by default that goes where ours goes.
        keep: A file that it holds open as long as it lives.

    Returns:
        Its exit status, in a shell's way: 128 and the number for a signal.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; the program has ended by now.
    """
    early: list[int] = []  # signals before there is a program to pass them to
    before = {
        number: signal.signal(number, lambda got, _frame: early.append(got))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        child = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(variables),
            stdout=log,
            stderr=subprocess.STDOUT if log else None,
            pass_fds=[keep.fileno()] if keep and sys.platform != "win32" else (),
        )
        status = _wait(child, before[signal.SIGINT], early)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _wait(child: subprocess.Popen[bytes], on_interrupt: Handler, early: list[int]) -> int:
    try:
        signal.signal(signal.SIGTERM, lambda _number, _frame: child.terminate())
        signal.signal(signal.SIGINT, on_interrupt)
        for number in early:
            signal.raise_signal(number)
        return child.wait()
    except KeyboardInterrupt:
        try:
            # a terminal sends Ctrl-C to the tool as well; another sender may not
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
            child.wait()
        except KeyboardInterrupt:
            child.kill()  # pressed twice: it shall end now
            child.wait()
        raise


def _lock(file: IO[str], *, exclusive: bool) -> None:
    if sys.platform == "win32":
        return
    import fcntl  # not on Windows

    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        print("dev.py: waiting for another dev.py", file=sys.stderr, flush=True)
        fcntl.flock(file, kind)


def _base_python() -> str:
    # an active virtual environment, ours too, must not be what ours is made from
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _command(argv: list[str], root: Path) -> int:
    name, rest = (argv[0], argv[1:]) if argv else ("", [])
    if name in {"", "-h", "--help"}:
        print(USAGE, end="")
        return 0 if name else WRONG_USAGE
    if name not in {"tour", "test", "check"}:
        return _refuse(f"no command {name!r}; there are tour, test and check")
    here = Environment(root)
    if name == "check":
        return _check(rest, here)
    tool = ["gearshift", "tour"] if name == "tour" else ["pytest"]
    with here.ready():
        return run([str(here.python), "-m", *tool, *rest], here.variables(), cwd=here.root)


def _check(names: list[str], here: Environment) -> int:
    steps = _steps(here)
    if names == ["--no-tests"]:
        names = [name for name in steps if name != "tests"]
    unknown = [name for name in names if name not in steps]
    if unknown:
        return _refuse(
            f"no step {unknown[0]!r} in check; there are {', '.join(steps)}, and "
            "--no-tests alone for all but the last"
        )
    failed = []
    with here.ready():
        for name in names or steps:
            print(f"== {name}", flush=True)
            if run(steps[name], here.variables(), cwd=here.root):
                failed.append(name)
    print(f"== check: {'failed: ' + ', '.join(failed) if failed else 'passed'}")
    return 1 if failed else 0


def _steps(here: Environment) -> dict[str, list[str]]:
    module = [str(here.python), "-m"]
    typed = ["src", "dev.py", "tests", "benchmarks", "examples"]
    typed = [name for name in typed if (here.root / name).exists()]
    types = ["pyright", "--verifytypes", "gearshift", "--ignoreexternal"]
    return {
        "ruff": [*module, "ruff", "check"],
        "format": [*module, "ruff", "format", "--check"],
        "mypy": [*module, "mypy", *typed],
        "types": [*module, *types],
        "imports": [str(here.scripts / "lint-imports")],
        "tests": [*module, "pytest", "--cov"],
    }


def _refuse(why: str) -> int:
    print(f"dev.py: {why}", file=sys.stderr)
    return WRONG_USAGE


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
