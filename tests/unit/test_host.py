"""Cores as affinity and cgroups give them, and interrupts that wait for the end of a body."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from gearshift import host
from gearshift.host import affinity_cores, cgroup_cores, cores, interrupts_held, run_delay_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Hierarchy = tuple["Path", "Path"]


@pytest.fixture
def hierarchy(tmp_path: Path) -> Callable[..., Hierarchy]:
    """Make the two places that `cgroup_cores` reads; limits by folder."""

    def make(own: str | None, /, **limits: str) -> Hierarchy:
        root = tmp_path / "cgroup"
        root.mkdir()
        for folder, text in limits.items():
            file = root / folder.replace("_", "/").removeprefix("root") / "cpu.max"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        names_own = tmp_path / "own"
        if own is not None:
            names_own.write_text(own)
        return names_own, root

    return make


@pytest.mark.parametrize(
    ("own", "limits", "expected"),
    [
        ("0::/a/b\n", {"a_b": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a_b": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"a_b": "max 100000\n"}, None),
        ("0::/a/b\n", {"a": "150000 100000\n", "a_b": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a": "100000 100000\n", "a_b": "400000 100000\n"}, 1.0),
        ("0::/a/b\n", {"a": "400000 100000\n", "a_b": "100000 100000\n"}, 1.0),
        ("0::/a/b\n", {"root": "300000 100000\n"}, 3.0),  # a container sees its own as the root
        ("0::/\n", {"root": "300000 100000\n"}, 3.0),
        ("0::/a/b\n", {"c": "100000 100000\n", "a_b_d": "100000 100000\n"}, None),  # not ours
        ("0::/a/b\n", {}, None),
        ("12:cpu:/v1\n0::/a\n", {"a": "200000 100000\n", "v1": "100000 100000"}, 2.0),
        ("12:cpu:/v1\n", {"v1": "100000 100000\n", "root": "100000 100000\n"}, None),
        ("", {"root": "100000 100000\n"}, None),
        (None, {"root": "100000 100000\n"}, None),
        ("0::/a\n", {"a": ""}, None),
        ("0::/a\n", {"a": "100000"}, None),
        ("0::/a\n", {"a": "many few\n"}, None),
        ("0::/a\n", {"a": "100000 0\n"}, None),
        ("0::/a\n", {"a": "broken\n", "root": "200000 100000\n"}, 2.0),
        ("0::/../a\n", {"root": "200000 100000\n"}, 2.0),  # outside of our cgroup namespace
    ],
)
def test_tightest_quota_on_the_way_to_the_root_counts(
    hierarchy: Callable[..., Hierarchy],
    own: str | None,
    limits: dict[str, str],
    expected: float | None,
) -> None:
    assert cgroup_cores(*hierarchy(own, **limits)) == expected


def test_folder_in_the_place_of_a_file_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_cores(tmp_path, tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "allowed", "expected"),
    [(None, 4, 4), (0.1, 4, 1), (1.0, 4, 1), (1.5, 4, 2), (8.0, 4, 4), (2.0, 1, 1)],
)
def test_cores_are_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, allowed: int, expected: int
) -> None:
    monkeypatch.setattr(host, "cgroup_cores", lambda: quota)
    monkeypatch.setattr(host, "affinity_cores", lambda: allowed)
    assert cores() == expected


def test_cores_here_are_some() -> None:
    assert 1 <= cores() <= affinity_cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_affinity_is_honoured_and_not_remembered() -> None:
    script = (
        "import os; from gearshift.host import affinity_cores as count, cores\n"
        "allowed = os.sched_getaffinity(0); before = count()\n"
        "os.sched_setaffinity(0, {min(allowed)})\n"
        "print(before == len(allowed), count(), cores())\n"
    )
    environment = {**os.environ, "PYTHON_CPU_COUNT": "default"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "1", "1"]


@pytest.mark.parametrize(
    ("has", "gives", "expected"),
    [
        ("process_cpu_count", 3, 3),
        ("process_cpu_count", None, 1),
        ("sched_getaffinity", {0, 5}, 2),
        ("sched_getaffinity", set(), 1),
        ("cpu_count", 6, 6),
        ("cpu_count", None, 1),
    ],
)
def test_cores_of_every_python_and_system(
    monkeypatch: pytest.MonkeyPatch, has: str, gives: Any, expected: int
) -> None:
    for name in ("process_cpu_count", "sched_getaffinity", "cpu_count"):
        if name == has:
            monkeypatch.setattr(os, name, lambda *_: gives, raising=False)
            break
        monkeypatch.delattr(os, name, raising=False)
    assert affinity_cores() == expected


# The time that a thread waits for a core


@pytest.mark.parametrize(
    ("text", "expected"),
    [("123 2500000000 7\n", 2.5), ("123 0 7\n", 0.0), ("", None), ("123", None), ("a b c", None)],
)
def test_run_delay_is_read_from_schedstat(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: float | None
) -> None:
    file = tmp_path / "schedstat"
    file.write_text(text)
    monkeypatch.setattr(host, "_SCHEDSTAT", file)
    assert run_delay_seconds() == expected


def test_run_delay_is_unknown_without_schedstat(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "_SCHEDSTAT", tmp_path / "none")
    assert run_delay_seconds() is None


def test_run_delay_never_falls() -> None:
    before, after = run_delay_seconds(), run_delay_seconds()
    if before is not None and after is not None:  # not every kernel keeps it
        assert 0 <= before <= after


# Interrupts


@pytest.fixture(autouse=True)
def _same_handler_after() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    after = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)
    assert after is before


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_interrupt_waits_for_the_end_of_the_body() -> None:
    done = []

    def hold() -> None:
        with interrupts_held():
            interrupt()
            done.append("body")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert done == ["body"]


def test_many_interrupts_are_one() -> None:
    calls = []
    previous = signal.signal(signal.SIGINT, lambda *_: calls.append("called"))
    try:
        with interrupts_held():
            interrupt()
            interrupt()
        assert calls == ["called"]
        interrupt()
        assert calls == ["called", "called"]
    finally:
        signal.signal(signal.SIGINT, previous)


def test_handler_gets_the_signal_and_a_frame() -> None:
    got: list[Any] = []
    previous = signal.signal(signal.SIGINT, lambda *args: got.extend(args))
    try:
        with interrupts_held():
            interrupt()
    finally:
        signal.signal(signal.SIGINT, previous)
    assert got[0] == signal.SIGINT
    assert got[1].f_code.co_name


def test_a_frame_is_made_up_where_there_is_none() -> None:
    got: list[Any] = []
    held = interrupts_held()
    previous = signal.signal(signal.SIGINT, lambda *args: got.extend(args))
    try:
        with held:
            held._note(signal.SIGINT, None)
    finally:
        signal.signal(signal.SIGINT, previous)
    assert got[1] is not None


def test_nested_bodies_hold_until_the_outermost_ends() -> None:
    done = []

    def hold() -> None:
        with interrupts_held():
            with interrupts_held():
                interrupt()
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        hold()
    assert done == ["inner", "outer"]


def test_no_interrupt_no_effect() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_error_of_the_body_passes_and_the_handler_is_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(OSError, match="body"), interrupts_held():
        raise OSError("body")
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupt_beats_the_error_of_the_body_and_shows_it() -> None:
    def hold() -> None:
        with interrupts_held():
            interrupt()
            raise OSError("body")

    with pytest.raises(KeyboardInterrupt) as caught:
        hold()
    assert isinstance(caught.value.__context__, OSError)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_handle_is_left_alone(handler: Any) -> None:
    previous = signal.signal(signal.SIGINT, handler)
    try:
        with interrupts_held():
            assert signal.getsignal(signal.SIGINT) is handler
            if handler is signal.SIG_IGN:
                interrupt()
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, previous)


def test_other_threads_touch_no_handler() -> None:
    seen: list[Any] = []

    def body() -> None:
        with interrupts_held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
