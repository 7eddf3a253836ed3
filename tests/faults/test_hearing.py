"""What may go wrong while workers are heard: handlers, locks, forks, closed streams, deaths."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PATIENCE = 60  # seconds, for what takes 10 at most


def run(program: str, *, status: int = 0, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program, and see that it ends as it should."""
    words = [sys.executable, "-c", textwrap.dedent(program)]
    if before:
        words = ["sh", "-c", f'exec "$@" {before}', "sh", *words]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == status, done.stderr
    return done


# Handlers

HANDLERS = textwrap.dedent("""
    import logging, sys, threading, time
    import gearshift as gs

    log = logging.getLogger("task")
    log.propagate = False

    def task(item):
        for number in range(20):
            log.warning("item %s, %s", item, number)
        return item

    class Handler(logging.Handler):
        seen = []

        def handle(self, record):  # without the lock, so that it may come back
            self.seen.append(record.getMessage())
            at(record)

    log.addHandler(Handler())
""")


def run_heard(program: str) -> subprocess.CompletedProcess[str]:
    """Run what `at` and the rest of it do beside the handlers."""
    return run(HANDLERS + textwrap.dedent(program))


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
def test_handler_that_interrupts_leaves_the_rest_to_be_heard(error: str) -> None:
    run_heard(f"""
        def at(record):
            time.sleep(0.3 if len(Handler.seen) == 1 else 0)  # until all of the item is said
            if len(Handler.seen) == 3:
                raise {error}

        engine = gs.engines.ProcessExecutor(1)
        try:
            list(gs.map(task, range(3), on=engine, chunksize=1))
        except {error}:
            pass
        else:
            raise AssertionError("not raised")
        assert list(gs.map(task, [7], on=engine)) == [7]
        engine.shutdown()
        assert Handler.seen[:20] == [f"item 0, {{number}}" for number in range(20)]
        assert Handler.seen[-20:] == [f"item 7, {{number}}" for number in range(20)]
    """)


def test_handler_that_exits_is_no_affair_of_submitted_calls() -> None:
    done = run_heard("""
        def at(record):
            sys.exit("enough")

        with gs.engines.ProcessExecutor(1) as engine:
            assert [engine.submit(task, item).result() for item in range(3)] == [0, 1, 2]
        assert len(Handler.seen) == 60
    """)
    assert "SystemExit: enough" in done.stderr


def test_handler_may_use_the_engine_that_it_hears() -> None:
    run_heard("""
        def at(record):
            if record.getMessage().endswith((", 0", ", 7")):
                assert list(gs.map(abs, [-1], on=engine)) == [1]

        with gs.engines.ProcessExecutor(2) as engine:
            assert list(gs.map(task, range(4), on=engine, chunksize=1)) == [0, 1, 2, 3]
            wanted = [f"item {item}, {number}" for item in range(4) for number in range(20)]
            assert sorted(Handler.seen) == sorted(wanted)
    """)


@pytest.mark.parametrize("options", ["", "wait=False", "kill=True"])
def test_handler_may_end_the_engine_that_it_hears(options: str) -> None:
    run_heard(f"""
        def at(record):
            time.sleep(0.3 if len(Handler.seen) == 1 else 0)  # until all of the item is said
            if len(Handler.seen) == 5:
                engine.shutdown({options})

        engine = gs.engines.ProcessExecutor(1)
        try:
            list(gs.map(task, range(3), on=engine, chunksize=1))
        except gs.RunClosedError:
            pass
        engine.shutdown()
        assert Handler.seen[:20] == [f"item 0, {{number}}" for number in range(20)]
    """)


def test_slow_handler_does_not_hold_up_an_end_that_kills() -> None:
    run_heard("""
        def at(record):
            time.sleep(0.1)

        engine = gs.engines.ProcessExecutor(1)
        run = gs.map(task, range(100), on=engine, chunksize=1)
        thread = threading.Thread(target=next, args=(run,))
        thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        engine.shutdown(kill=True)
        assert time.monotonic() - began < 3, time.monotonic() - began
        thread.join()
    """)


def test_record_is_heard_before_the_outcome_of_its_item_also_with_a_slow_handler() -> None:
    run_heard("""
        def at(record):
            time.sleep(0.02)

        with gs.engines.ProcessExecutor(2) as engine:
            for number, item in enumerate(gs.map(task, range(4), on=engine, chunksize=1), 1):
                assert sum(message.startswith(f"item {item},") for message in Handler.seen) == 20
    """)


# Streams


def test_threads_that_print_into_two_full_pipes_lose_nothing() -> None:
    program = """
        import sys, threading
        import gearshift as gs

        def speak(item):
            def much(stream):
                for number in range(60):
                    print(f"{item}-{number}-" + "x" * 20_000, file=stream)
            threads = [threading.Thread(target=much, args=(each,)) for each in (sys.stdout, sys.stderr)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        list(gs.map(speak, range(4), on="processes", workers=4, chunksize=1))
    """
    pipes = [os.pipe(), os.pipe()]
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=pipes[0][1], stderr=pipes[1][1]
    )
    texts = {pipe[0]: b"" for pipe in pipes}
    for pipe in pipes:
        os.close(pipe[1])
    left = set(texts)
    while left:
        for reader in select.select(left, [], [])[0]:
            data = os.read(reader, 5000)
            texts[reader] += data
            if not data:
                left.discard(reader)
                os.close(reader)
        time.sleep(0.0002)
    assert child.wait(PATIENCE) == 0
    wanted = sorted(f"{item}-{number}-" + "x" * 20_000 for item in range(4) for number in range(60))
    for text in texts.values():
        assert sorted(text.decode().splitlines()) == wanted


def test_long_lines_of_two_engines_and_a_nested_one_are_not_torn() -> None:
    program = """
        import threading
        import gearshift as gs
        from gearshift.engines import ProcessExecutor

        def speak(item):
            for number in range(40):
                print(f"{item}-{number}-" + "x" * 20_000)

        def nest(item):
            with ProcessExecutor(2) as inner:
                list(gs.map(speak, [item], on=inner))

        def both(engine, function, items):
            list(gs.map(function, items, on=engine, chunksize=1))

        engines = [ProcessExecutor(1), ProcessExecutor(1), ProcessExecutor(1)]
        calls = [(speak, [0]), (speak, [1]), (nest, [2])]
        threads = [threading.Thread(target=both, args=(e, *c)) for e, c in zip(engines, calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for engine in engines:
            engine.shutdown()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE
    )
    text = b""
    with child:
        assert child.stdout is not None
        while data := os.read(child.stdout.fileno(), 5000):
            text += data
            time.sleep(0.0002)
    assert child.returncode == 0
    wanted = sorted(f"{item}-{number}-" + "x" * 20_000 for item in range(3) for number in range(40))
    assert sorted(text.decode().splitlines()) == wanted


def test_child_that_a_task_forks_may_print_whatever_its_threads_hold() -> None:
    done = run("""
        import os, sys, threading
        import gearshift as gs

        def fork(item):
            held, done = threading.Event(), threading.Event()
            def hold():
                with sys.stdout._guard, sys.stdout._writer._guard:
                    held.set()
                    done.wait()
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait()
            child = os.fork()
            if child == 0:
                print("the child")
                os._exit(0)
            os.waitpid(child, 0)
            done.set()
            thread.join()
            print("the task")

        list(gs.map(fork, [1], on="processes", workers=1))
    """)
    assert done.stdout == "the child\nthe task\n"


@pytest.mark.parametrize("method", ["fork", "exec"])
def test_text_of_a_stream_that_a_module_holds_comes_once(method: str) -> None:
    done = run(f"""
        import sys
        import gearshift as gs

        sys.stdout.write("the parent's\\n")

        def speak(item):
            print("held", file=sys.__stdout__)
            sys.__stdout__.write("half")

        with gs.engines.ProcessExecutor(1, start_method="{method}") as engine:
            list(gs.map(speak, [1], on=engine))
    """)
    assert done.stdout == "the parent's\nheld\nhalf"


def test_text_that_was_flushed_outlives_a_crash() -> None:
    done = run("""
        import io, os, sys
        import gearshift as gs

        def die(item):
            print("working ...", end="", flush=True)
            os._exit(3)

        list(gs.map(die, [1], on="processes", errors="return"))
    """)
    assert done.stdout == "working ..."


def test_stream_that_a_task_wraps_anew_is_flushed_at_the_end() -> None:
    done = run("""
        import io, sys
        import gearshift as gs

        def wrap(item):
            sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
            print("wrapped")

        list(gs.map(wrap, [1], on="processes", workers=1))
    """)
    assert done.stdout == "wrapped\n"


def test_stream_derived_from_a_real_one_gets_the_text() -> None:
    done = run("""
        import io, sys
        import gearshift as gs

        class Tee(io.TextIOWrapper):
            def write(self, text):
                return super().write(text.upper())

        sys.stdout = Tee(sys.stdout.buffer, "utf-8", line_buffering=True)
        list(gs.map(print, ["said"], on="processes"))
    """)
    assert done.stdout == "SAID\n"


def test_bytes_reach_stderr_as_they_are() -> None:
    program = r"""
        import sys
        import gearshift as gs
        def speak(item):
            sys.stderr.buffer.write(b"\xff\n")
        list(gs.map(speak, [1], on="processes"))
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    assert subprocess.run(words, capture_output=True, check=True).stderr == b"\xff\n"


@pytest.mark.parametrize("closed", ["<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("method", ["fork", "exec"])
def test_closed_standard_streams_are_not_taken_for_ours(closed: str, method: str) -> None:
    run(
        f"""
        import os
        import gearshift as gs

        def speak(item):
            print("x" * 1000)
            os.system("printf %01000d 1; printf %01000d 2 >&2")
            return item

        with gs.engines.ProcessExecutor(2, start_method="{method}") as engine:
            assert list(gs.map(speak, range(20), on=engine, task_timeout=30)) == list(range(20))
        """,
        before=closed,
    )


# Configuration that changes beside a warm pool


def test_warm_pool_follows_what_the_parents_loggers_let_pass() -> None:
    done = run("""
        import logging
        import gearshift as gs

        logging.basicConfig(format="%(message)s")
        log = logging.getLogger("task")

        def task(item):
            log.warning("%s", item)

        with gs.engines.ProcessExecutor(1, start_method="fork") as engine:
            def say(item):
                list(gs.map(task, [item], on=engine))
            logging.disable(logging.CRITICAL)
            log.disabled = True
            log.addFilter(lambda record: False)
            say("disabled and filtered")
            logging.disable(logging.NOTSET)
            say("still disabled")
            log.disabled = False
            say("still filtered")
            log.filters.clear()
            say("heard")
            logging.disable(logging.CRITICAL)
            say("disabled again")
    """)
    assert done.stderr == "heard\n"


def test_filters_of_parent_and_worker_act_once_each() -> None:
    done = run("""
        import logging
        import gearshift as gs

        logging.basicConfig(format="%(message)s")
        log = logging.getLogger("task")

        class Adds(logging.Filter):
            def filter(self, record):
                record.msg += " " + self.name
                return True

        class Hides(Adds):
            pass

        log.addFilter(Hides("parent"))

        def task(item):
            log.addFilter(Adds("worker"))
            log.warning("item")

        list(gs.map(task, [1], on="processes"))
    """)
    assert done.stderr == "item worker parent\n"


@pytest.mark.parametrize("method", ["fork", "exec"])
def test_filter_that_cannot_be_pickled_costs_no_run(method: str) -> None:
    run(f"""
        import threading, warnings
        import gearshift as gs

        class Meta(type):
            def __reduce_ex__(cls, protocol):
                raise TypeError("not to be pickled")

        class Category(UserWarning, metaclass=Meta):
            lock = threading.Lock()

        warnings.simplefilter("ignore", Category)
        with gs.engines.ProcessExecutor(1, start_method="{method}") as engine:
            assert list(gs.map(abs, [-1], on=engine)) == [1]
            warnings.simplefilter("ignore", ResourceWarning)
            assert list(gs.map(abs, [-1], on=engine)) == [1]
    """)


# The end


@pytest.mark.parametrize("method", ["fork", "exec"])
def test_worker_that_starts_late_is_heard_at_the_end(method: str) -> None:
    run(f"""
        import logging, os, tempfile, time
        import gearshift as gs

        heard = []
        log = logging.getLogger("start")
        handler = logging.Handler()
        handler.emit = lambda record: heard.append(record.process)
        log.addHandler(handler)
        folder = tempfile.mkdtemp()

        def begin():
            time.sleep(0.2)
            open(os.path.join(folder, str(os.getpid())), "w").close()
            log.warning("begun")

        with gs.engines.ProcessExecutor(4, initializer=begin, start_method="{method}") as engine:
            engine.submit(abs, -1)
            time.sleep(0.1)
        begun = sorted(map(int, os.listdir(folder)))
        assert begun and sorted(heard) == begun, (heard, begun)
    """)


def test_keeper_that_is_killed_at_the_end_leaves_no_worker() -> None:
    run("""
        import os, signal, threading, time
        import gearshift as gs

        class Lingers:
            def close(self):
                time.sleep(300)

        lingering = gs.per_worker(Lingers)

        def task(item):
            lingering()
            return os.getpid(), os.getppid()

        engine = gs.engines.ProcessExecutor(1)
        (worker, keeper), = gs.map(task, [1], on=engine)
        threading.Timer(0.5, os.kill, (keeper, signal.SIGKILL)).start()
        engine.shutdown()
        for _ in range(100):
            try:
                state = open(f"/proc/{worker}/stat").read().split(")")[1].split()[0]
            except FileNotFoundError:
                break
            if state == "Z":
                break
            time.sleep(0.05)
        else:
            raise AssertionError("the worker is still there")
    """)


# What a second reading found


def test_flood_of_one_worker_does_not_hold_back_the_outcomes_of_the_others() -> None:
    run_heard("""
        class Slow(logging.Handler):
            def emit(self, record):
                time.sleep(0.01)

        at = lambda record: None
        log.handlers = [Slow()]

        def task(item):
            until = time.monotonic() + 3
            while item == 5 and time.monotonic() < until:
                log.warning("x" * 100)
            return item

        engine = gs.engines.ProcessExecutor(2)
        began = time.monotonic()
        run = gs.map(task, [5, *range(6, 26)], on=engine, chunksize=1, ordered=False)
        assert {next(run) for _ in range(15)} <= set(range(6, 26))
        assert time.monotonic() - began < 15
        engine.shutdown(kill=True)
    """)


def test_handler_that_interrupts_the_end_leaves_no_process() -> None:
    run_heard("""
        import os

        def at(record):
            raise KeyboardInterrupt

        class Loud:
            def close(self):
                log.warning("bye")

        loud = gs.per_worker(Loud)

        def use(item):
            loud()
            return item

        try:
            list(gs.map(use, [1], on="processes", workers=1))
        except KeyboardInterrupt:
            pass
        time.sleep(0.5)
        left = open(f"/proc/self/task/{os.getpid()}/children").read().split()
        assert not left, left
    """)


def test_alarm_of_a_task_strikes_amid_a_print_and_tears_nothing() -> None:
    done = run("""
        import signal, sys, time
        import gearshift as gs

        def late(*_):
            raise TimeoutError("late")

        def task(item):
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            try:
                while True:
                    print("x" * 10_000)
            except TimeoutError:
                return "late"

        class Slow:
            def write(self, text):
                time.sleep(0.003)

            def flush(self):
                pass

        out, sys.stdout = sys.stdout, Slow()
        with gs.engines.ProcessExecutor(1) as engine:
            print(list(gs.map(task, range(3), on=engine, chunksize=1)), file=out)
    """)
    assert done.stdout == "['late', 'late', 'late']\n"


def test_handler_may_wait_for_a_call_that_it_submits() -> None:
    run_heard("""
        def at(record):
            assert engine.submit(abs, -1).result(20) == 1

        engine = gs.engines.ProcessExecutor(1)
        assert list(gs.map(task, [1, 2], on=engine)) == [1, 2]
        engine.shutdown()
        assert len(Handler.seen) == 40
    """)


def test_bytes_that_were_flushed_outlive_a_crash() -> None:
    done = run("""
        import os, sys
        import gearshift as gs

        def die(item):
            assert sys.stdout.buffer.fileno() == 1
            sys.stdout.buffer.write(b"half")
            sys.stdout.buffer.flush()
            os._exit(3)

        list(gs.map(die, [1], on="processes", errors="return"))
    """)
    assert done.stdout == "half"


def test_nested_workers_have_streams_and_configuration_of_the_program() -> None:
    done = run("""
        import functools, logging, sys
        import gearshift as gs

        logging.basicConfig(format="program %(message)s")

        def inner(item, file):
            logging.basicConfig(format="worker %(message)s")
            logging.warning("inner")
            print("said", file=file)

        def outer(item):
            with gs.engines.ProcessExecutor(1) as engine:
                list(gs.map(functools.partial(inner, file=sys.stdout), [1], on=engine))

        list(gs.map(outer, [1], on="processes"))
    """)
    assert done.stderr == "program inner\n"
    assert done.stdout == "said\n"


@pytest.mark.parametrize("method", ["fork", "exec"])
def test_filter_whose_category_cannot_be_imported_there_costs_no_more_than_itself(
    tmp_path: Path, method: str
) -> None:
    (tmp_path / "plug.py").write_text("class Category(UserWarning): pass\n")
    done = run(f"""
        import contextlib, importlib.util, io, logging, sys, warnings
        import gearshift as gs

        def load(name):
            spec = importlib.util.spec_from_file_location(name, {str(tmp_path / "plug.py")!r})
            module = sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            warnings.simplefilter("ignore", module.Category)

        def speak(item):
            logging.getLogger("task").info("logged")
            print("said")

        load("plug")
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        with gs.engines.ProcessExecutor(1, start_method="{method}") as engine:
            list(gs.map(abs, [-1], on=engine))
            load("another")
            logging.getLogger("task").setLevel(logging.INFO)
            with contextlib.redirect_stdout(io.StringIO()) as heard:
                list(gs.map(speak, [1], on=engine))
            assert heard.getvalue() == "said\\n", heard.getvalue()
    """)
    assert done.stdout == "logged\n"
