"""Hold `dev.py` to its promises that need no package index.

The real installations, by pip and by uv, are what CI begins with. Here small
fake checkouts have an installer of two lines in place of theirs: what it makes
is a real virtual environment's shape, and the stamp, the locks and the messages
are the real ones.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import dev

if TYPE_CHECKING:
    from collections.abc import Callable

DEV = Path(dev.__file__)
PYPROJECT = '[project]\nname = "fake"\n[tool.ruff]\nline-length = 88\n'
# Fills an environment as uv is asked to, and counts how often.
FAKE_UV = """#!/bin/sh
echo "$@" >> "{root}/calls"
[ "$1" = venv ] || exit 0
eval folder=\\${{$#}}
mkdir -p "$folder/bin" && ln -s "{python}" "$folder/bin/python"
"""


REQUIREMENT = re.compile(r"[\w.-]+")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dev.Environment:
    """Return the environment of a checkout with nothing in it but its lock."""
    root = tmp_path / "checkout"
    (root / "requirements").mkdir(parents=True)
    (root / dev.LOCK).write_text("example==1.0\n", "utf-8")
    (root / "pyproject.toml").write_text(PYPROJECT, "utf-8")
    _put_uv(tmp_path, FAKE_UV.format(root=tmp_path, python=sys.executable))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}{os.pathsep}{os.environ['PATH']}")
    return dev.Environment(root)


def _put_uv(tmp_path: Path, script: str) -> None:
    uv = tmp_path / "path" / "uv"
    uv.parent.mkdir(exist_ok=True)
    uv.write_text(script, "utf-8")
    uv.chmod(0o755)


def _makings(here: dev.Environment) -> int:
    calls = here.root.parent / "calls"
    lines = calls.read_text("utf-8").splitlines() if calls.exists() else []
    return sum(line.startswith("venv") for line in lines)


def test_second_call_takes_the_environment_as_it_is(checkout: dev.Environment) -> None:
    for _ in range(2):
        with checkout.ready():
            assert checkout.is_ready()
    assert _makings(checkout) == 1


def _change_lock(here: dev.Environment) -> None:
    (here.root / dev.LOCK).write_text("example==1.1\n", "utf-8")


def _add_command(here: dev.Environment) -> None:
    text = PYPROJECT.replace('"fake"', '"fake"\nscripts = {fake = "fake:main"}')
    (here.root / "pyproject.toml").write_text(text, "utf-8")


def _lose_python(here: dev.Environment) -> None:
    here.python.unlink()
    here.python.symlink_to(here.root / "gone")


def _lose_stamp(here: dev.Environment) -> None:
    here.stamp_file.unlink()


def _cut_stamp(here: dev.Environment) -> None:
    here.stamp_file.write_text(here.wanted_stamp()[:5], "utf-8")


@pytest.mark.parametrize(
    "change", [_change_lock, _add_command, _lose_python, _lose_stamp, _cut_stamp]
)
def test_environment_that_no_longer_fits_is_made_anew(
    change: Callable[[dev.Environment], None], checkout: dev.Environment
) -> None:
    with checkout.ready():
        (checkout.folder / "leftover").touch()
    change(checkout)
    with checkout.ready():
        assert _makings(checkout) == 2
        assert not (checkout.folder / "leftover").exists()


def test_changed_tool_setting_needs_no_new_environment(
    checkout: dev.Environment,
) -> None:
    with checkout.ready():
        pass
    text = PYPROJECT.replace("88", "100")
    (checkout.root / "pyproject.toml").write_text(text, "utf-8")
    assert checkout.is_ready()


def test_moved_checkout_needs_a_new_environment(checkout: dev.Environment) -> None:
    with checkout.ready():
        pass
    moved = checkout.root.with_name("moved")
    checkout.root.rename(moved)
    assert not dev.Environment(moved).is_ready()


@pytest.mark.parametrize("status", [1, 130])
def test_failed_installation_is_never_taken_for_whole(
    status: int, checkout: dev.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put_uv(
        checkout.root.parent,
        f"#!/bin/sh\necho 'error: No space left on device'\nexit {status}\n",
    )
    monkeypatch.setattr(dev, "_base_python", lambda: shutil.which("false"))
    with pytest.raises(dev.DevError, match="the disk is full; free"), checkout.ready():
        pass
    assert not checkout.is_ready()


def test_interrupted_installation_is_made_anew(checkout: dev.Environment) -> None:
    with checkout.ready():
        pass
    _change_lock(checkout)
    # dies where the packages would come: all but they are there
    dying = FAKE_UV.format(root=checkout.root.parent, python=sys.executable)
    _put_uv(checkout.root.parent, dying + "\nkill -INT $PPID\n")
    with pytest.raises(KeyboardInterrupt), checkout.ready():
        pass
    assert checkout.python.exists()
    assert not checkout.is_ready()


def test_second_caller_waits_for_the_first_and_installs_nothing(
    checkout: dev.Environment, capfd: pytest.CaptureFixture[str]
) -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with checkout.lock_file.open("a") as lock:
            dev._lock(lock, exclusive=True)
            inside.set()
            leave.wait()
            checkout.folder.mkdir()
            (checkout.folder / "bin").mkdir()
            checkout.python.symlink_to(sys.executable)
            checkout.stamp_file.write_text(checkout.wanted_stamp(), "utf-8")

    checkout.lock_file.parent.mkdir()
    first = threading.Thread(target=hold)
    second = threading.Thread(target=_enter, args=(checkout,))
    first.start()
    inside.wait()
    second.start()
    while "waiting for another" not in capfd.readouterr().err:
        assert second.is_alive()
    leave.set()
    first.join()
    second.join()
    assert _makings(checkout) == 0
    assert checkout.is_ready()


def _enter(here: dev.Environment) -> None:
    with here.ready():
        pass


def test_missing_lock_is_named_with_its_cure(
    checkout: dev.Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout.root / dev.LOCK).unlink()
    assert dev.main(["test"], root=checkout.root) == 1
    message = capsys.readouterr().err
    assert re.search(r"dev\.lock is missing.*git checkout", message, re.DOTALL)


def test_unwritable_checkout_is_a_sentence_and_no_traceback(
    checkout: dev.Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout.root / ".dev").write_text("in the way", "utf-8")
    assert dev.main(["test"], root=checkout.root) == 1
    assert "make that folder yours" in capsys.readouterr().err


@pytest.mark.parametrize("absent", ["venv", "ensurepip"])
def test_python_without_venv_is_named_with_its_cure(
    absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "find_spec", lambda name: name != absent)
    with pytest.raises(dev.DevError, match=rf"without {absent}, .*-venv.*uv"):
        dev.check_venv()


def test_old_python_is_told_which_newer_one_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "python3.12"
    newer.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(dev.DevError, match=r"Python 3\.9 .*python3\.12 dev\.py"):
        dev.check_python((3, 9))


def test_old_python_without_a_newer_one_is_told_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(dev.DevError, match=r"3\.11 or newer; install a newer one"):
        dev.check_python((3, 10))


def test_this_python_is_new_enough() -> None:
    dev.check_python(sys.version_info[:2])


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        ("error: command 'gcc' failed: No such file or directory", "no working C comp"),
        ("psutil/arch.c:1: fatal error: Python.h: No such file", "headers are missing"),
        ("ConnectionError: Temporary failure in name resolution", "cannot be reached"),
        ("cause: client error: dns error", "cannot be reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM", "not the file that"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "not trusted here"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("something quite new", "the last lines above"),
    ],
)
def test_failed_installation_is_explained(printed: str, cause: str) -> None:
    text = dev.explain_failure(f"$ pip install\n{printed}\n")
    assert printed in text
    assert cause in text


def test_other_environments_do_not_reach_the_tools(
    checkout: dev.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = ["PYTHONPATH", "PYTHONHOME", "PYTHONOPTIMIZE", "PIP_REQUIRE_VIRTUALENV"]
    foreign += ["PIP_TARGET", "PIP_CONSTRAINT", "UV_PYTHON", "CONDA_PREFIX"]
    taken = ["PIP_INDEX_URL", "PIP_CERT", "UV_OFFLINE", "HTTPS_PROXY", "PYTEST_ADDOPTS"]
    for name in [*foreign, *taken, "VIRTUAL_ENV"]:
        monkeypatch.setenv(name, "elsewhere")
    variables = checkout.variables()
    assert [name for name in foreign if name in variables] == []
    assert [name for name in taken if variables.get(name) != "elsewhere"] == []
    assert variables["VIRTUAL_ENV"] == str(checkout.folder)
    assert variables["PATH"].startswith(f"{checkout.scripts}{os.pathsep}")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["tests"], "no command 'tests'"),
        (["check", "rust"], "no step 'rust' in check"),
        (["check", "--no-tests", "ruff"], "no step '--no-tests'"),
    ],
)
def test_wrong_command_is_refused_before_anything_is_made(
    argv: list[str],
    said: str,
    checkout: dev.Environment,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dev.main(argv, root=checkout.root) == 2
    assert said in capsys.readouterr().err
    assert not checkout.folder.exists()


def test_help_tells_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert dev.main(["--help"]) == 0
    assert "dev.py tour" in capsys.readouterr().out


def test_bare_call_tells_the_commands_and_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert dev.main([]) == 2
    assert "dev.py check" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "status"),
    [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)],
)
def test_status_of_the_tool_is_ours(script: str, status: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", script]
    assert dev.run(command, os.environ, cwd=tmp_path) == status


def test_checks_go_on_after_a_failure_and_name_it(
    checkout: dev.Environment,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    steps = {"first": ["false"], "second": ["echo", "second ran"], "tests": ["false"]}
    monkeypatch.setattr(dev, "_steps", lambda _here: steps)
    assert dev.main(["check", "--no-tests"], root=checkout.root) == 1
    printed = capfd.readouterr().out
    assert "second ran" in printed
    assert "check: failed: first\n" in printed


def test_lock_holds_all_that_pyproject_asks_for_and_names_no_host() -> None:
    lock = (DEV.parent / dev.LOCK).read_text("utf-8")
    pyproject = tomllib.loads((DEV.parent / "pyproject.toml").read_text("utf-8"))
    groups = pyproject["dependency-groups"].values()
    asked = [text for group in groups for text in group if isinstance(text, str)]
    asked += pyproject["project"]["dependencies"] + pyproject["build-system"]["requires"]
    names = {match[0].lower() for text in asked if (match := REQUIREMENT.match(text))}
    locked = re.findall(r"^([\w.-]+)==\S+.* \\$", lock, re.MULTILINE)  # some twice, by Python
    assert names - set(locked) == set()
    assert len(locked) == len(re.findall(r"^\S", lock, re.MULTILINE))
    assert "://" not in lock


# Says when it runs, then waits for a signal: SIGINT is Ctrl-C.
TOOL = """
import signal, sys
try:
    print("runs", flush=True)
    signal.pause()
except KeyboardInterrupt:
    print("tool ended", flush=True)
    sys.exit(2)
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 128 + 15)])
def test_signal_ends_the_tool_first_and_prints_no_traceback(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    program = (
        f"import os, sys; sys.path.insert(0, {str(DEV.parent)!r}); import dev\n"
        "from pathlib import Path\n"
        f"tool = [sys.executable, '-c', {TOOL!r}]\n"
        "dev._command = lambda *_: dev.run(tool, os.environ, cwd=Path())\n"
        "sys.exit(dev.main([]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as caller:
        assert caller.stdout
        assert caller.stderr
        assert caller.stdout.readline() == "runs\n"
        # as a terminal does: Ctrl-C goes to every process of the group
        (os.killpg if number is signal.SIGINT else os.kill)(caller.pid, number)
        assert caller.wait() == status
        assert caller.stdout.read() == "tool ended\n" * (number is signal.SIGINT)
        assert caller.stderr.read() == ""
