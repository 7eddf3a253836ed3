"""What workers log, print and warn of is heard in the parent, whole and once.

Over 400 lines, since each way to speak, and to be heard, is a test of its own.
"""

from __future__ import annotations

import io
import logging
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import types
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

import pytest

import gearshift as gs
from gearshift._work import logs, replay
from gearshift._work.lines import Lines
from gearshift.engines import ProcessExecutor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOG = logging.getLogger("test.gearshift.logs")


def log_item(item: int) -> int:
    LOG.info("item %s", item, extra={"colour": "red", "lock": threading.Lock()})
    LOG.debug("detail of %s", item)
    return item


def log_error(item: int) -> int:
    try:
        return 1 // item
    except ZeroDivisionError:
        LOG.exception("no %s", "way", stack_info=True)
        return -1


def speak(item: int) -> int:
    print("out", item)
    print("err", item, file=sys.stderr)
    sys.stdout.write("half ")
    sys.stdout.write(f"line {item}\n")
    sys.stdout.buffer.write(b"bytes\n")
    return item


def warn(item: int) -> int:
    warnings.warn("be careful", FutureWarning, stacklevel=1)
    warnings.warn(f"item {item}", UserWarning, stacklevel=1)
    return item


def log_much(item: int) -> int:
    for _ in range(300):
        LOG.warning("x" * 10_000)
    return item


@contextmanager
def level(number: int, name: str = LOG.name) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(number)
    try:
        yield
    finally:
        logger.setLevel(before)


def by_forkserver() -> ProcessExecutor:
    return ProcessExecutor(2, mp_context=multiprocessing.get_context("forkserver"))


STARTS = {"fork": lambda: ProcessExecutor(2), "forkserver": by_forkserver}


@pytest.fixture(params=list(STARTS.values()), ids=list(STARTS))
def engine(request: pytest.FixtureRequest) -> Iterator[ProcessExecutor]:
    made: ProcessExecutor = request.param()
    yield made
    made.shutdown()


# Records


@pytest.mark.slow
def test_records_reach_the_parents_handlers(
    engine: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with level(logging.INFO):
        assert list(gs.map(log_item, range(4), on=engine)) == [0, 1, 2, 3]
    records = [record for record in caplog.records if record.name == LOG.name]
    assert sorted(record.getMessage() for record in records) == [
        f"item {item}" for item in range(4)
    ]
    for record in records:
        values = vars(record)
        assert record.levelno == logging.INFO
        assert record.processName == values["worker"] == f"process {record.process}"
        assert record.process != os.getpid()
        assert values["colour"] == "red"
        assert "lock" in values["lock"]


def test_tracebacks_come_along(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessExecutor(2) as engine:
        assert list(gs.map(log_error, [1, 0], on=engine)) == [1, -1]
    (record,) = [record for record in caplog.records if record.name == LOG.name]
    assert "ZeroDivisionError" in (record.exc_text or "")
    assert "log_error" in (record.stack_info or "")
    assert "ZeroDivisionError" in logging.Formatter().format(record)


@pytest.mark.slow
def test_levels_of_the_parent_count_in_workers(
    engine: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    with level(logging.DEBUG):
        list(gs.map(log_item, [1], on=engine))
    assert "detail of 1" in caplog.text


def test_filters_and_levels_of_the_parents_logger_have_the_last_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ProcessExecutor(1) as engine, level(logging.INFO):
        list(gs.map(log_item, [1], on=engine))
        LOG.setLevel(logging.ERROR)
        list(gs.map(log_item, [2], on=engine))
    assert "item 1" in caplog.text
    assert "item 2" not in caplog.text


def test_handlers_of_the_parent_do_not_write_in_forked_workers(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    LOG.addHandler(handler)
    try:
        with ProcessExecutor(2) as engine, level(logging.INFO):
            list(gs.map(log_item, range(10), on=engine))
    finally:
        LOG.removeHandler(handler)
        handler.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 10


def test_logger_that_does_not_propagate_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    LOG.propagate = False
    LOG.addHandler(caplog.handler)
    try:
        with ProcessExecutor(1) as engine, level(logging.INFO):
            list(gs.map(log_item, [7], on=engine))
    finally:
        LOG.propagate = True
        LOG.removeHandler(caplog.handler)
    assert caplog.text.count("item 7") == 1


def test_too_much_is_cut_with_a_word(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        list(gs.map(log_much, [1], on=pool))
    kept = sum("xxx" in record.getMessage() for record in caplog.records)
    assert 90 < kept < 110
    assert f"{300 - kept} more messages were dropped" in capsys.readouterr().err


def test_somebody_elses_executor_is_heard_too(caplog: pytest.LogCaptureFixture) -> None:
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, context) as pool, level(logging.INFO):
        list(gs.map(log_item, range(4), on=pool))
    assert sorted(caplog.messages) == [f"item {item}" for item in range(4)]


def test_threads_log_with_their_names(caplog: pytest.LogCaptureFixture) -> None:
    with level(logging.INFO):
        list(gs.map(log_item, range(4), on="threads"))
    assert {record.threadName or "" for record in caplog.records} >= {caplog.records[0].threadName}
    assert all("gearshift-threads-" in (record.threadName or "") for record in caplog.records)


# Prints


def test_prints_reach_a_stream_that_stands_in_for_the_real_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with ProcessExecutor(1) as engine:
        list(gs.map(speak, [1, 2], on=engine))
    out, err = capsys.readouterr()
    assert out == "out 1\nhalf line 1\nbytes\nout 2\nhalf line 2\nbytes\n"
    assert err == "err 1\nerr 2\n"


PROGRAM = """
    import sys, time
    import gearshift as gs

    def speak(item):
        for number in range(2500):
            print(f"{{item}}-{{number}}-" + "x" * (number % 150), file={stream})

    with gs.engines.ProcessExecutor(2) as engine:
        list(gs.map(speak, range(8), on=engine, chunksize=1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
def test_lines_of_two_workers_are_never_torn(stream: str) -> None:
    done = run(PROGRAM.format(stream=stream))
    lines = (done.stdout + done.stderr).splitlines()
    wanted = {
        f"{item}-{number}-" + "x" * (number % 150) for item in range(8) for number in range(2500)
    }
    assert len(lines) == 20_000
    assert set(lines) == wanted


@pytest.mark.slow
def test_last_words_of_a_worker_that_dies_are_heard() -> None:
    done = run("""
        import os, gearshift as gs
        def die(item):
            print("last words")
            os._exit(3)
        try:
            list(gs.map(die, [1], on="processes"))
        except gs.WorkerDiedError:
            print("died")
    """)
    assert done.stdout == "last words\ndied\n"


@pytest.mark.slow
def test_half_a_line_is_heard_at_the_workers_end() -> None:
    done = run("""
        import gearshift as gs
        def half(item):
            print("half", end="")
        list(gs.map(half, [1], on=gs.engines.ProcessExecutor(1)))
    """)
    assert done.stdout == "half\n"


def test_stream_of_lines_is_a_stream() -> None:
    said: list[tuple[str, str]] = []
    lines = Lines("stdout", None, lambda *words: said.append(words))
    assert lines.writable()
    assert not lines.isatty()
    assert (lines.encoding, lines.errors) == ("utf-8", "backslashreplace")
    with pytest.raises(OSError, match="fileno"):
        lines.fileno()
    assert lines.write("a\nb") == 3
    assert said == [("stdout", "a\n")]
    lines.flush()
    assert said[1:] == [("stdout", "b")]
    lines.write("c")
    lines.end()
    lines.end()
    assert said[2:] == [("stdout", "c\n")]
    assert Lines("stdout", (1, "utf-8", "strict"), lambda *_: None).fileno() == 1


# Warnings


def test_warning_is_shown_once_and_not_once_a_worker() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with ProcessExecutor(2) as engine:
            list(gs.map(warn, range(6), on=engine, chunksize=1))
    assert sum(each.category is FutureWarning for each in caught) == 1
    assert {str(each.message) for each in caught} >= {f"item {item}" for item in range(6)}
    assert all(each.filename == __file__ for each in caught)


@pytest.mark.slow
def test_filters_of_the_parent_count_in_workers(engine: ProcessExecutor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        with pytest.raises(FutureWarning, match="be careful"):
            list(gs.map(warn, [1], on=engine))


# Frames


def test_frame_that_cannot_be_read_is_nobodys_fault() -> None:
    replay.replay(b"nonsense")
    replay.replay(b"cnowhere\nThing\n.")


def test_closed_stream_is_nobodys_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stdout", stream)
        replay.replay(pickle.dumps(("stdout", "text\n")))


def test_category_of_no_module_comes_as_it_is() -> None:
    class LocalWarning(UserWarning):
        pass

    said: list[bytes] = []
    logs._Warner(said.append)("hm", LocalWarning, "file.py", 3)
    assert pickle.loads(said[0]) == ("warning", ("hm", LocalWarning, "file.py", 3, None))


def test_category_that_cannot_be_pickled_is_named() -> None:
    class LocalWarning(UserWarning):
        lock = threading.Lock()

    said: list[bytes] = []
    logs._Warner(said.append)("hm", LocalWarning, "file.py", 3)
    assert pickle.loads(said[0]) == (
        "warning",
        ("LocalWarning: hm", UserWarning, "file.py", 3, None),
    )


def run(program: str, check: Callable[[Any], Any] = lambda done: done) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    return check(done)


class Demanding(UserWarning):
    """Made of other things than its text."""

    def __init__(self, *, name: str) -> None:
        super().__init__()
        self.name = name

    def __str__(self) -> str:
        return f"old {self.name}"


def warn_demandingly(item: int) -> int:
    warnings.warn(Demanding(name="thing"), stacklevel=1)
    return item


def test_category_that_wants_more_than_a_text_costs_no_run() -> None:
    with ProcessExecutor(1) as engine, pytest.warns(Demanding, match="old thing"):
        assert list(gs.map(warn_demandingly, range(2), on=engine)) == [0, 1]


def test_handler_that_raises_costs_no_run(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            raise RuntimeError("broken handler")

    handler = Broken()
    logging.root.addHandler(handler)
    try:
        content = {"name": "any", "levelno": 50, "msg": "x"}
        replay.replay(pickle.dumps(("log", (content, {}, False))))
    finally:
        logging.root.removeHandler(handler)
    assert "broken handler" in capfd.readouterr().err


def test_stream_that_can_only_write_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writer:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

    writer = Writer()
    monkeypatch.setattr("sys.stdout", writer)
    replay.replay(pickle.dumps(("stdout", "one\n")))
    assert writer.text == "one\n"


def test_stand_in_that_passes_on_its_descriptor_gets_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Tee:
        def fileno(self) -> int:
            return 1

    monkeypatch.setattr("sys.stdout", Tee())
    assert logs.ears().streams[0] is None


def log_from_finalizers(item: int) -> int:
    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            logging.getLogger("finalizer").warning("gone")

    for _ in range(20_000):
        Cycle()
        logging.getLogger("finalizer").warning("there")
    return item


@pytest.mark.slow
def test_finalizer_may_log_amid_a_write() -> None:
    with ProcessExecutor(1) as engine:
        assert list(gs.map(log_from_finalizers, [1], on=engine)) == [1]


def log_in_a_child_too(item: int) -> int:
    child = os.fork()
    for _ in range(100):
        logging.getLogger("forked").warning("x" * 20_000)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return item


@pytest.mark.slow
def test_child_of_a_task_does_not_tear_what_its_worker_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ProcessExecutor(1, start_method="fork") as engine:
        assert list(gs.map(log_in_a_child_too, range(3), on=engine)) == [0, 1, 2]
    assert [record.message for record in caplog.records] == ["x" * 20_000] * 300


def test_long_line_without_an_end_is_kept_cheaply() -> None:
    said: list[tuple[str, str]] = []
    lines = Lines("stdout", None, lambda *words: said.append(words))
    for _ in range(200_000):
        lines.write("." * 20)
    lines.end()
    assert len(said[0][1]) == 4_000_001


def test_bytes_of_one_character_may_come_apart() -> None:
    said: list[tuple[str, str]] = []
    lines = Lines("stdout", None, lambda *words: said.append(words))
    lines.buffer.write(b"\xc3")
    lines.buffer.write(b"\xa9\n")
    assert said[0][1] == "\u00e9\n"
    lines.reconfigure(line_buffering=True)


def test_forked_executor_of_somebody_else_is_heard_once(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    logging.root.addHandler(handler)
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            assert list(gs.map(log_error, [0], on=executor)) == [-1]
    finally:
        logging.root.removeHandler(handler)
        handler.close()
    assert (tmp_path / "log").read_text().count("Traceback") == 1


PROGRAM_WITH_FILTERS = """
import warnings
import gearshift as gs

class Mine(UserWarning):
    pass

warnings.simplefilter("ignore", Mine)

def warn(item):
    warnings.warn("mine", Mine)
    warnings.warn("of the main program", DeprecationWarning)
    return item

with gs.engines.ProcessExecutor(1, start_method="exec") as engine:
    print(list(gs.map(warn, [1], on=engine)))
"""


def test_filters_of_the_main_programs_categories_and_module_count(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM_WITH_FILTERS)
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[1]\n"
    assert done.stderr.count("DeprecationWarning: of the main program") == 1
    assert "Mine: mine" not in done.stderr


# A pool that stays warm


def speak_of(item: int) -> int:
    print("item", item)
    LOG.info("item %s", item)
    return item


def test_warm_pool_follows_the_parents_streams_and_levels(
    engine: ProcessExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(gs.map(speak_of, [1], on=engine)) == [1]
    with redirect_stdout(io.StringIO()) as heard, level(logging.INFO):
        assert list(gs.map(speak_of, [2, 3], on=engine, chunksize=1)) == [2, 3]
        assert engine.submit(speak_of, 4).result() == 4
    assert sorted(heard.getvalue().splitlines()) == ["item 2", "item 3", "item 4"]
    assert list(gs.map(speak_of, [5], on=engine)) == [5]
    assert sorted(caplog.messages) == ["item 2", "item 3", "item 4"]


def test_submitted_calls_follow_too(engine: ProcessExecutor) -> None:
    assert engine.submit(speak_of, 1).result() == 1
    with redirect_stdout(io.StringIO()) as heard:
        assert engine.submit(speak_of, 2).result() == 2
    assert heard.getvalue() == "item 2\n"


def test_warm_pool_follows_the_parents_filters(engine: ProcessExecutor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert list(gs.map(warn, [1], on=engine)) == [1]
        warnings.simplefilter("error", FutureWarning)
        with pytest.raises(FutureWarning, match="be careful"):
            list(gs.map(warn, [1], on=engine))


def set_level(item: int) -> int:
    LOG.setLevel(logging.DEBUG)
    return item


def test_level_that_a_task_has_set_stays(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessExecutor(1) as engine:
        assert list(gs.map(set_level, [1], on=engine)) == [1]
        with level(logging.DEBUG), level(logging.INFO, "another"):
            assert list(gs.map(log_item, [1], on=engine)) == [1]
    assert "detail of 1" in caplog.messages


# What writes to one pipe

LONG_LINES = """
    import sys
    import gearshift as gs

    def speak(item):
        for number in range(40):
            print(f"{item}-{number}-" + str(item % 10) * 20_000{end})

    with gs.engines.ProcessExecutor(3, start_method="{method}") as engine:
        list(gs.map(speak, range(6), on=engine, chunksize=1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "exec"])
def test_long_lines_are_not_torn_in_a_pipe_that_is_read_slowly(method: str) -> None:
    program = textwrap.dedent(
        LONG_LINES.replace("{end}", ", file=[sys.stdout, sys.stderr][number % 2]")
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program.replace("{method}", method)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    text = b""
    with child:
        assert child.stdout is not None
        while data := os.read(child.stdout.fileno(), 5000):
            text += data
            time.sleep(0.0002)
    assert child.returncode == 0
    wanted = {f"{item}-{number}-" + str(item) * 20_000 for item in range(6) for number in range(40)}
    lines = text.decode().splitlines()
    assert len(lines) == len(wanted)
    assert set(lines) == wanted


@pytest.mark.slow
def test_pipe_that_does_not_block_gets_everything() -> None:
    program = LONG_LINES.replace("{end}", "").replace("{method}", "fork")
    child = subprocess.Popen(
        [sys.executable, "-c", "import os\nos.set_blocking(1, False)\n" + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        time.sleep(0.5)
        lines = child.stdout.read().splitlines()
    assert child.returncode == 0
    assert len(lines) == 240
    assert {len(line) for line in lines} <= {20_004, 20_005}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_prints_have_the_parents_encoding(encoding: str) -> None:
    program = r"""
        import sys
        import gearshift as gs
        def speak(item):
            print("caf\u00e9", sys.stdout.encoding)
            sys.stdout.buffer.write(b"\xff\xe9\n")
        list(gs.map(speak, [1], on="processes"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    cafe = "caf\u00e9".encode(encoding, "backslashreplace")
    assert done.stdout.splitlines()[0].startswith(cafe + b" ")
    assert done.stdout.splitlines()[1] == b"\xff\xe9"


# Configuration in workers


@pytest.mark.slow
@pytest.mark.parametrize("where", ["initializer", "task"])
@pytest.mark.parametrize("pool", ["ours", "theirs"])
@pytest.mark.parametrize("is_configured", [False, True])
def test_basic_config_in_a_worker_does_what_it_would_in_the_parent(
    where: str, pool: str, *, is_configured: bool
) -> None:
    program = f"""
        import logging, multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        import gearshift as gs

        def configure():
            logging.basicConfig(level=logging.INFO, format="worker %(message)s")

        def task(item):
            if {where == "task"}:
                configure()
            logging.info("item %s", item)
            return item

        initializer = configure if {where == "initializer"} else None
        if {is_configured}:
            logging.basicConfig(level=logging.INFO, format="parent %(message)s")
        if {pool == "ours"}:
            engine = gs.engines.ProcessExecutor(1, initializer=initializer)
        else:
            context = multiprocessing.get_context("fork")
            engine = ProcessPoolExecutor(1, context, initializer)
        with engine:
            assert list(gs.map(task, [1, 2], on=engine)) == [1, 2]
    """
    done = run(program)
    who = "parent" if is_configured else "worker"
    assert done.stderr.splitlines() == [f"{who} item 1", f"{who} item 2"]


@pytest.mark.slow
def test_spawned_workers_of_somebody_else_have_the_parents_levels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        with level(logging.INFO):
            list(gs.map(log_item, [1], on=pool))
        assert pool.submit(level_of_log).result() == logging.NOTSET  # it was lent
        list(gs.map(log_item, [2], on=pool))
    assert caplog.messages == ["item 1"]


def level_of_log() -> int:
    return LOG.level


def log_aside(item: int) -> int:
    LOG.propagate = False
    LOG.info("item %s", item)
    return item


def test_logger_that_does_not_propagate_is_heard_in_somebody_elses_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    LOG.propagate = False
    LOG.addHandler(caplog.handler)
    try:
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(1, context) as pool, level(logging.INFO):
            list(gs.map(log_item, [7], on=pool))
    finally:
        LOG.propagate = True
        LOG.removeHandler(caplog.handler)
    assert caplog.messages.count("item 7") == 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "exec"])
def test_filter_that_edits_acts_once(method: str) -> None:
    done = run(f"""
        import logging
        import gearshift as gs

        log = logging.getLogger("edited")

        class Edits(logging.Filter):
            def filter(self, record):
                record.msg = "<" + str(record.msg) + ">"
                return True

        log.addFilter(Edits())

        def task(item):
            log.warning("item %s", item)

        list(gs.map(task, [1], on=gs.engines.ProcessExecutor(1, start_method="{method}")))
    """)
    assert done.stderr == "<item 1>\n"


@pytest.mark.slow
def test_filters_of_the_main_programs_categories_count_in_a_fork_too(tmp_path: Path) -> None:
    program = PROGRAM_WITH_FILTERS.replace('"exec"', '"fork"')
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[1]\n"
    assert "Mine: mine" not in done.stderr


def log_with_a_thing_of_the_worker(item: int) -> int:
    module = types.ModuleType("only_in_the_worker")
    words = {"__module__": module.__name__, "__repr__": lambda _: "a thing"}
    kind = type("Thing", (), words)
    vars(module)["Thing"] = kind
    sys.modules[module.__name__] = module
    LOG.warning("item %s", item, extra={"thing": kind(), "size": [1, 2]})
    return item


def test_record_with_what_the_parent_cannot_have_comes_with_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ProcessExecutor(1) as engine:
        list(gs.map(log_with_a_thing_of_the_worker, [1], on=engine))
    (record,) = caplog.records
    assert vars(record)["thing"] == "a thing"
    assert vars(record)["size"] == [1, 2]


# The consumer's pauses, and the worker's end


def log_megabytes(item: int) -> int:
    for _ in range(300):
        LOG.warning("x" * 10_000)
    return item


@pytest.mark.slow
def test_time_in_which_nobody_listens_does_not_count(caplog: pytest.LogCaptureFixture) -> None:
    with ProcessExecutor(1) as engine:
        run = gs.map(log_megabytes, [1, 2, 3], on=engine, task_timeout=1.0, errors="return")
        assert next(run) == 1
        time.sleep(3)
        assert list(run) == [2, 3]
    assert len(caplog.records) == 900


class Closing:
    def close(self) -> None:
        print("closed")
        sys.stdout.write("half a line")
        LOG.warning("closed")


closing = gs.per_worker(Closing)


def use_closing(item: int) -> int:
    closing()
    return item


@pytest.mark.slow
@pytest.mark.parametrize("way", ["by name", "warm", "submitted", "chunks left"])
def test_what_is_said_at_a_workers_end_is_heard(
    way: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    if way == "by name":
        assert list(gs.map(use_closing, [1, 2], on="processes", workers=1)) == [1, 2]
    else:
        with ProcessExecutor(1) as engine:
            if way == "submitted":
                assert engine.submit(use_closing, 1).result() == 1
            else:
                run = gs.map(use_closing, [1, 2], on=engine)
                assert next(run) == 1
                if way == "warm":
                    assert list(run) == [2]
    assert caplog.messages == ["closed"]
    assert capsys.readouterr().out == "closed\nhalf a line\n"
