"""Whole programs on processes: however they were started, and without an `if __name__` guard.

They work because workers are forked, which only Linux is safe for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import zipapp
from pathlib import Path
from typing import Any

import pytest

SECONDS = 30.0
GRACE_SECONDS = 3.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def check_output(
    command: list[str], wanted: str, *, stdin: str = "", folder: Path | None = None
) -> None:
    """Run a program to its end; nothing of it may be left, nor a word on stderr."""
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=errors,
            cwd=folder,
            start_new_session=True,
        ) as program,
    ):
        try:
            program.communicate(textwrap.dedent(stdin).encode(), SECONDS)
            left = stays(program.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
        output.seek(0)
        errors.seek(0)
        got = program.returncode, output.read().decode(), errors.read().decode()
    assert got == (0, wanted, "")
    assert not left, "processes of the program outlived it"


def stays(group: int) -> bool:
    """Say whether a process of a group is left, after a moment for helpers that see the program end."""
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.01)
    return True


SQUARES = """\
import gearshift as gs

class Point:
    def __init__(self, x):
        self.x = x

SCALE = 2

def double(point):
    assert isinstance(point, Point)
    return Point(point.x * SCALE)

points = list(gs.map(double, [Point(n) for n in range(20)], on="processes", workers=2))
assert all(isinstance(point, Point) for point in points)
print(sum(point.x for point in points))
"""


def test_script_without_guard_works(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SQUARES)
    check_output(["script.py"], "380\n", folder=tmp_path)


def test_script_as_a_module_without_guard_works(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SQUARES)
    check_output(["-m", "script"], "380\n", folder=tmp_path)


def test_program_in_the_command_line_works() -> None:
    check_output(["-c", SQUARES], "380\n")


def test_program_from_stdin_works() -> None:
    check_output(["-"], "380\n", stdin=SQUARES)


def test_global_that_was_changed_at_run_time_is_seen_by_workers(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("SCALE = 1\ndef scale(n):\n    return n * SCALE\n")
    program = """\
    import gearshift as gs, settings
    settings.SCALE = 10
    print(list(gs.map(settings.scale, [1, 2], on="processes", workers=2)))
    """
    check_output(["-c", textwrap.dedent(program)], "[10, 20]\n", folder=tmp_path)


def test_functions_of_notebook_cells_work() -> None:
    """A notebook runs its cells in the dict of `__main__`, and defines things again and again."""
    program = """\
    import gearshift as gs

    def cell(text):
        exec(compile(text, "<cell>", "exec"), globals())

    cell("class Item:\\n    def __init__(self, n): self.n = n\\nSTEP = 1")
    cell("def work(item): return Item(item.n + STEP)")
    cell("out = list(gs.map(work, [Item(1), Item(2)], on='processes', workers=2))")
    cell("print([o.n for o in out], {type(o) is Item for o in out})")
    cell("STEP = 100")  # run again with a changed cell
    cell("def work(item): return Item(item.n - STEP)")
    cell("print([o.n for o in gs.map(work, [Item(1)], on='processes')])")
    cell("with gs.engines.ProcessExecutor(2) as warm:\\n"
         "    for STEP in (1, 2):\\n"
         "        print([o.n for o in gs.map(work, [Item(1)], on=warm)])")
    """
    check_output(["-c", textwrap.dedent(program)], "[2, 3] {True}\n[-99]\n[0]\n[-1]\n")


@pytest.mark.parametrize("thread", ["", "threading"], ids=["forked", "fresh"])
def test_zipapp_works(tmp_path: Path, thread: str) -> None:
    """Its modules are found by workers, too, and what is of its `__main__` travels by value."""
    source = tmp_path / "app"
    source.mkdir()
    (source / "scales.py").write_text("def scale(point):\n    return type(point)(point.x * 2)\n")
    start = (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    main = """\
import gearshift as gs
from scales import scale

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return scale(point)

def main():
    points = list(gs.map(double, map(Point, range(20)), on="processes", workers=2))
    assert all(isinstance(point, Point) for point in points)
    print(sum(point.x for point in points), list(gs.map(scale, points[:1], on="processes"))[0].x)
"""
    (source / "program.py").write_text((start if thread else "") + main)
    zipapp.create_archive(source, tmp_path / "app.pyz", main="program:main")
    check_output([str(tmp_path / "app.pyz")], "380 0\n")
    (source / "__main__.py").write_text((start if thread else "") + main + "\nmain()\n")
    zipapp.create_archive(source, tmp_path / "app.pyz")
    check_output([str(tmp_path / "app.pyz")], "380 0\n")


def test_script_with_guard_works(tmp_path: Path) -> None:
    guarded = SQUARES.replace("points = ", 'if __name__ == "__main__":\n  points = ', 1)
    head, _, tail = guarded.partition("  points = ")
    body = "\n".join(f"  {line}" for line in ("points = " + tail).splitlines())
    (tmp_path / "script.py").write_text(head + body + "\n")
    check_output(["script.py"], "380\n", folder=tmp_path)


@pytest.mark.parametrize("method", ["fork", "exec"])
def test_changed_folder_and_path_hold_in_workers(tmp_path: Path, method: str) -> None:
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "found_late.py").write_text("def double(n):\n    return 2 * n\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "number").write_text("7")
    program = f"""\
    import os, sys
    import gearshift as gs

    os.chdir("data")
    sys.path.insert(0, os.path.abspath("../late"))
    os.environ["LATE"] = "set"
    import found_late

    def read(n):
        import found_late
        return int(open("number").read()) + found_late.double(n), os.environ["LATE"], sys.argv[1:]

    with gs.engines.ProcessExecutor(2, start_method="{method}") as engine:
        print(list(gs.map(read, [1], on=engine)), list(gs.map(found_late.double, [4], on=engine)))
    """
    command = ["-c", textwrap.dedent(program), "argument"]
    check_output(command, "[(9, 'set', ['argument'])] [8]\n", folder=tmp_path)


@pytest.mark.slow
@pytest.mark.leaves("the client of the kernel keeps a context of sockets")
def test_notebook_kernel_works(tmp_path: Path) -> None:
    """A real one: it has threads, so workers begin as fresh interpreters, and streams of its own."""
    manager_of = pytest.importorskip("jupyter_client.manager", reason="no Jupyter")
    pytest.importorskip("ipykernel", reason="no kernel")
    manager, client = manager_of.start_new_kernel(
        kernel_name="python3", cwd=str(tmp_path), startup_timeout=SECONDS
    )

    def cell(text: str) -> str:
        """Run a cell, and return what it printed."""
        said: list[str] = []

        def hear(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                said.append(message["content"]["text"])

        reply = client.execute_interactive(
            textwrap.dedent(text), timeout=SECONDS, output_hook=hear, store_history=True
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(said)

    try:
        cell("""
            import logging, os, sys
            import gearshift as gs

            class Item:
                def __init__(self, n):
                    self.n = n

            STEP = 1
            def work(item):
                print("working on", item.n)
                return Item(item.n + STEP)
        """)
        text = cell("""
            out = list(gs.map(work, [Item(1), Item(2)], on="processes", workers=2))
            print([o.n for o in out], {type(o) is Item for o in out})
        """)
        assert sorted(text.splitlines()) == ["[2, 3] {True}", "working on 1", "working on 2"]
        cell("STEP = 100")
        assert "[101]" in cell("print([o.n for o in gs.map(work, [Item(1)], on='processes')])")
        text = cell("""
            async for o in gs.map(work, [Item(5)], on="processes"):
                print(o.n)
        """)
        assert text.splitlines() == ["working on 5", "105"]
        pids = cell("print(*gs.map(lambda _: os.getpid(), range(4), on='processes'))")
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    for pid in map(int, pids.split()):
        assert not Path(f"/proc/{pid}").exists()


def test_script_without_guard_works_beside_another_thread(tmp_path: Path) -> None:
    thread = """\
import threading
stop = threading.Event()
threading.Thread(target=stop.wait, daemon=True).start()
"""
    (tmp_path / "script.py").write_text(thread + SQUARES)
    check_output(["script.py"], "380\n", folder=tmp_path)


def test_task_of_a_pool_that_forbids_children_stays_in_one_process() -> None:
    program = """\
    import multiprocessing
    import gearshift as gs
    def compute(n):
        return n + 0 * sum(range(60_000))
    def start(n):
        with gs.map(compute, range(n)) as run:
            return list(run) == list(range(n)), run.report.engine
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.map(start, [300]))
    """
    check_output(["-c", textwrap.dedent(program)], "[(True, 'serial')]\n")


def test_forked_child_uses_an_engine_of_its_parent() -> None:
    program = """\
    import os, gearshift as gs
    engine = gs.engines.ThreadExecutor(2)
    print(list(gs.map(abs, [-1, 2], on=engine)), flush=True)
    if os.fork() == 0:
        print(list(gs.map(abs, [-3, 4], on=engine)), flush=True)
        os._exit(0)
    print(os.wait()[1])
    """
    check_output(["-c", textwrap.dedent(program)], "[1, 2]\n[3, 4]\n0\n")


def test_submitted_calls_are_done_before_the_program_ends() -> None:
    program = """\
    import gearshift as gs, os
    def write(n):
        os.write(1, b"%d\\n" % n)
    executor = gs.engines.{name}(1)
    for n in range(12):
        executor.submit(write, n)
    """
    wanted = "".join(f"{n}\n" for n in range(12))
    for name in ("ThreadExecutor", "ProcessExecutor"):
        check_output(["-c", textwrap.dedent(program).format(name=name)], wanted)


@pytest.mark.parametrize("engine", ["serial", "threads", "processes", "asyncio"])
def test_program_that_ends_in_the_middle_of_a_run_ends_at_once(engine: str) -> None:
    program = f"""\
    import itertools, gearshift as gs
    def negative(n):
        return -n
    async def anegative(n):
        return -n
    run = gs.map(anegative if {engine!r} == "asyncio" else negative, itertools.count(), on={engine!r})
    for value in run:
        if value == -5:
            break
    print(value)
    """
    check_output(["-c", textwrap.dedent(program)], "-5\n")


def test_exception_that_ends_a_program_shows_the_workers_frames() -> None:
    program = """\
    import gearshift as gs, traceback
    def inner(n):
        return 1 / n
    def outer(n):
        return inner(n)
    try:
        list(gs.map(outer, [1, 0], on="processes", workers=2))
    except ZeroDivisionError:
        text = traceback.format_exc()
        print("in inner" in text, "in outer" in text, "gearshift: item 1 (0) on engine processes" in text)
    """
    check_output(["-c", textwrap.dedent(program)], "True True True\n")


def test_task_that_starts_a_program_which_uses_gearshift_works() -> None:
    program = """\
    import gearshift as gs, subprocess, sys
    def start(n):
        text = f"import gearshift as gs; print(sum(gs.map(abs, range({n}))))"
        return subprocess.run([sys.executable, "-c", text], capture_output=True, text=True).stdout
    print(list(gs.map(start, [3, 4], on="processes", workers=2)))
    """
    check_output(["-c", textwrap.dedent(program)], "['3\\n', '6\\n']\n")


def test_workers_do_not_outlive_a_program_that_is_killed() -> None:
    program = """\
    import os, signal, time
    import gearshift as gs
    run = gs.map(abs, range(1000), on="processes", workers=2)
    next(run)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as killed:
        try:
            assert killed.wait(SECONDS) == -signal.SIGKILL
            # a worker has the pipe open as long as it lives
            words, _ = killed.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            pytest.fail("workers outlived the program", pytrace=False)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(killed.pid, signal.SIGKILL)
        assert words == b""
