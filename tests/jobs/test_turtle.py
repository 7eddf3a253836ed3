"""The turtle: its path, the numbers that are factored meanwhile, and every way to end it.

With a fake window for what is decided, and with a real one on a display of our own
(Xvfb), real keys (xdotool) and the real command for what the user sees.
"""

from __future__ import annotations

import ctypes
import heapq
import itertools
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from ctypes.util import find_library
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import pytest
from click.testing import CliRunner

import gearshift.jobs.turtle as job
from gearshift.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 30.0  # of any wait; the machines are shared
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "drive-a-window.md"

# Ups at four headings, and turns both ways past 0.
TWENTY = [
    *("Up", "Left", "Up", "Left", "Up", "Right", "Right", "Right", "Up", "Up"),
    *("Left", "Left", "Left", "Up", "Right", "Up", "Up", "Right", "Right", "Up"),
]
# By hand, s = sin 60 and c = cos 60 = 1/2, in steps of 50: headings 0, 30, 60, -30, -30, 60, 30, 30, -30:
# x = 1 + s + c + s + s + c + s + s + s = 2 + 6s, y = 0 + c + s - c - c + s + c + c - c = 2s
THERE = {"x": round(50 * (2 + 3 * math.sqrt(3)), 3), "y": round(50 * math.sqrt(3), 3)}
HEADING = 330.0
PRIMES = str(sum(pow(2, n - 1, n) == 1 for n in job.numbers_to_factor()))  # Fermat's test


# Without a display


class FakeWindow:
    """A Tk window's loop, bindings and title; time passes as fast as it can."""

    def __init__(self) -> None:
        self.tk = object()  # which cannot watch descriptors
        self.titles: list[str] = []
        self.protocols: dict[str, Callable[[], None]] = {}
        self.report_callback_exception: Callable[..., object] = self.refuse
        self._bound: dict[str, dict[str, Callable[[Any], None]]] = {}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._has_quit = False

    def title(self, text: str) -> None:
        self.titles.append(text)

    def protocol(self, name: str, callback: Callable[[], None]) -> None:
        self.protocols[name] = callback

    def after(self, milliseconds: int, callback: Callable[[], None]) -> str:
        number = next(self._numbers)
        heapq.heappush(self._due, (self._now + milliseconds, number, callback))
        return str(number)

    def after_cancel(self, name: str) -> None:
        self._due = [each for each in self._due if str(each[1]) != name]
        heapq.heapify(self._due)

    def bind(
        self, sequence: str, callback: Callable[[Any], None] | None = None, add: str = ""
    ) -> str:
        if callback is None:
            return "\n".join(self._bound.get(sequence, ()))
        name = f"<{next(self._numbers)}>"
        self._bound.setdefault(sequence, {})[name] = callback
        return name

    def unbind(self, sequence: str, name: str) -> None:
        del self._bound[sequence][name]

    @property
    def bound(self) -> set[str]:
        return {sequence for sequence, callbacks in self._bound.items() if callbacks}

    def type(self, *keys: str) -> None:
        """Have keys pressed at the loop's next turns."""
        for key in keys:
            self.after(0, partial(self.press, key))

    def press(self, key: str) -> None:
        for callback in list(self._bound.get(f"<Key-{key}>", {}).values()):
            callback(self)

    def update(self) -> None:
        """Run what is due, and let the time go on to it."""
        if self._due:
            self._now, _, callback = heapq.heappop(self._due)
            try:
                callback()
            except BaseException as error:  # as Tk does
                self.report_callback_exception(type(error), error, error.__traceback__)

    def destroy(self) -> None:
        self.__init__()  # type: ignore[misc]  # as Tk, it holds none of the functions any more

    def quit(self) -> None:
        self._has_quit = True

    def mainloop(self) -> None:
        until = time.monotonic() + SECONDS
        while not self._has_quit:
            assert time.monotonic() < until, self.titles[-3:]
            self.update()

    def refuse(self, _kind: object, error: BaseException, _traceback: object) -> None:
        raise error


class FakePen:
    """A turtle whose moves run the window's loop before they are done, as the real one's do."""

    def __init__(self, window: FakeWindow) -> None:
        self._window = window
        self._at = complex(0)
        self._degrees = 0.0

    def forward(self, steps: float) -> None:
        end = self._at + steps * complex(
            math.cos(math.radians(self._degrees)), math.sin(math.radians(self._degrees))
        )
        self._at = (self._at + end) / 2
        self._window.update()
        self._at = end

    def left(self, degrees: float) -> None:
        end = (self._degrees + degrees) % 360
        self._window.update()
        self._degrees = end

    def right(self, degrees: float) -> None:
        self.left(-degrees)

    def position(self) -> tuple[float, float]:
        return self._at.real, self._at.imag

    def heading(self) -> float:
        return self._degrees


@pytest.fixture
def window() -> Iterator[FakeWindow]:
    made = FakeWindow()
    yield made
    made.destroy()


def ride(window: FakeWindow, *keys: str, numbers: tuple[int, ...] = ()) -> job.Ride:
    """Return a ride that has ended, after these keys."""
    made = job.Ride(window, FakePen(window), numbers)
    window.type(*keys)
    job._run(window, made)
    return made


def test_keys_give_the_path_though_moves_run_the_loop(window: FakeWindow) -> None:
    assert ride(window, *TWENTY, "q").standing == job.Standing(THERE["x"], THERE["y"], HEADING)


def test_handlers_that_move_at_once_lose_moves(window: FakeWindow) -> None:
    pen = FakePen(window)
    window.bind("<Key-Up>", lambda _event: pen.forward(50), add="")
    window.type(*["Up"] * 20)
    window.after(1, window.quit)
    window.mainloop()
    assert pen.position()[0] < 20 * 50


@pytest.mark.parametrize(
    ("keys", "standing"),
    [
        ((), job.Standing(0.0, 0.0, 0.0)),
        (("Up",), job.Standing(50.0, 0.0, 0.0)),
        (("Left",), job.Standing(0.0, 0.0, 30.0)),
        (("Right",), job.Standing(0.0, 0.0, 330.0)),
        (("Left",) * 12, job.Standing(0.0, 0.0, 0.0)),
        (("Left",) * 3 + ("Up",), job.Standing(0.0, 50.0, 90.0)),
        (("Left",) * 6 + ("Up",), job.Standing(-50.0, 0.0, 180.0)),
    ],
)
def test_standing_shows_no_noise(
    window: FakeWindow, keys: tuple[str, ...], standing: job.Standing
) -> None:
    there = ride(window, *keys, "q").standing
    assert there == standing
    assert "-0.0" not in repr(there)


def test_heading_just_below_a_full_turn_is_zero(window: FakeWindow) -> None:
    made = ride(window, "q")
    made._pen.left(-1e-9)
    assert made.standing.heading == 0.0


def test_keys_after_the_last_one_do_nothing(window: FakeWindow) -> None:
    assert ride(window, "Up", "q", "Up", "Up").standing.x == 50.0
    assert not window.bound - {"<Destroy>"}


def test_closing_ends_it_after_the_move_that_is_under_way(window: FakeWindow) -> None:
    made = job.Ride(window, FakePen(window), ())
    window.type("Up", "Up")
    # In the middle of the first move.
    made._pen.forward = closing(window, made._pen.forward)
    job._run(window, made)
    assert made.standing.x == 50.0


def closing(window: FakeWindow, forward: Callable[[float], None]) -> Callable[[float], None]:
    def move(steps: float) -> None:
        window.after(0, window.protocols["WM_DELETE_WINDOW"])
        for _ in range(5):
            window.update()
        forward(steps)

    return move


def test_numbers_are_factored_while_the_turtle_moves(window: FakeWindow) -> None:
    made = job.Ride(window, FakePen(window), (4, 7, 30, 31))
    when_told(window, "2 are prime", lambda: window.type("q"))
    window.type("p", "Up", "Left", "Up")
    job._run(window, made)
    assert window.titles[0] == "Event Handling 101"
    assert "Event Handling 101: 0 of 4 numbers factored" in window.titles
    assert "Event Handling 101: 3 of 4 numbers factored" in window.titles
    assert window.titles[-1] == "Event Handling 101: 4 numbers factored, 2 are prime"
    assert made.standing.heading == 30.0


def test_second_press_begins_no_second_run_and_says_so(window: FakeWindow) -> None:
    made = job.Ride(window, FakePen(window), job.numbers_to_factor(10))
    when_told(window, "prime", lambda: window.type("q"))
    window.type("p", "p")
    job._run(window, made)
    assert any("of 10 numbers factored (one at a time)" in title for title in window.titles)
    assert sum("10 numbers factored, " in title for title in window.titles) == 1


def test_press_after_the_result_begins_anew(window: FakeWindow) -> None:
    made = job.Ride(window, FakePen(window), (4, 7))
    keys = iter("pq")
    when_told(window, "prime", lambda: window.type(next(keys)))
    window.type("p")
    job._run(window, made)
    assert window.titles.count("Event Handling 101: 0 of 2 numbers factored") == 2
    assert window.titles.count("Event Handling 101: 2 numbers factored, 1 are prime") == 2


def when_told(window: FakeWindow, words: str, act: Callable[[], object]) -> None:
    told = window.title

    def title(text: str) -> None:
        told(text)
        if words in text:
            act()

    window.title = title  # type: ignore[method-assign]


def test_leaving_ends_the_factoring(window: FakeWindow) -> None:
    numbers = job.numbers_to_factor(1000)
    made = ride(window, "p", "Up", "q", numbers=tuple(numbers))
    assert made._factoring is not None
    assert not made._factoring.report.finished
    assert made.standing.x == 50.0


def test_what_a_handler_raises_ends_the_ride_and_is_raised(window: FakeWindow) -> None:
    made = job.Ride(window, FakePen(window), ())
    made._pen.forward = lambda _steps: 1 / 0
    window.type("Up", "Left")
    with pytest.raises(ZeroDivisionError):
        job._run(window, made)
    assert made.standing.heading == 0.0


def test_what_a_number_raises_ends_the_ride_and_is_raised(window: FakeWindow) -> None:
    with pytest.raises(ValueError, match="number=0 is below 1"):
        ride(window, "p", numbers=(4, 0))


@pytest.mark.parametrize("keys", [(), ("p",)])
def test_interrupt_in_a_call_back_ends_the_ride(window: FakeWindow, keys: tuple[str, ...]) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    window.after(50, interrupt)
    with pytest.raises(KeyboardInterrupt):
        ride(window, *keys, numbers=tuple(job.numbers_to_factor(1000)))


def test_command_without_a_display_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    if sys.platform != "linux":
        pytest.skip("elsewhere there is a display without $DISPLAY")
    shown = CliRunner().invoke(main, ["turtle", "--print"])
    assert shown.exit_code == 2
    assert "`xvfb-run gearshift turtle`" in shown.output
    assert shown.output.count("\n") == 1


def test_command_without_tkinter_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    shown = CliRunner().invoke(main, ["turtle"])
    assert shown.exit_code == 2
    assert "install python3-tk" in shown.output
    assert shown.output.count("\n") == 1


@pytest.mark.parametrize("wrong", [("--speed", "11"), ("--width", "0"), ("--height", "x")])
def test_command_refuses_options_that_cannot_be(wrong: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, ["turtle", *wrong]).exit_code == 2


# On a display


class Display:
    """An X server of our own, without a screen."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        try:
            self._server = subprocess.Popen(
                ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1024x768x24"],
                pass_fds=[writing],
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(writing)
        with os.fdopen(reading, "rb") as numbers:  # at its end if the server ends
            self.name = f":{numbers.readline().decode().strip()}"
        self.environ = {**os.environ, "DISPLAY": self.name}

    def xdotool(self, *arguments: str) -> str:
        done = subprocess.run(
            ["xdotool", *arguments],
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return done.stdout.strip()

    def windows(self) -> list[str]:
        """Return the windows of the programs that are tested."""
        words = ("search", "--onlyvisible", "--name", "^Event Handling 101")
        try:
            return self.xdotool(*words).split()
        except subprocess.CalledProcessError:  # there is none
            return []

    def close(self) -> None:
        self._server.terminate()
        self._server.wait(SECONDS)


class Program:
    """A program whose window is called "Event Handling 101"; leaving ends it."""

    def __init__(self, display: Display, *arguments: str, cwd: Path | None = None) -> None:
        self._display = display
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            env=display.environ,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._window = ""

    def __enter__(self) -> Self:
        try:
            self.find_window()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        out, err = self._process.communicate(timeout=SECONDS)
        if not self._window:
            pytest.fail(f"no window was opened:\n{out}{err}")
        # The server takes its time, and may give the next program a window of the same number.
        until = time.monotonic() + SECONDS
        while self._display.windows():
            assert time.monotonic() < until

    def find_window(self) -> None:
        """Give the keys to its window, or to the next one that it opens."""
        until = time.monotonic() + SECONDS
        while True:
            assert self._process.poll() is None, "it has ended"
            assert time.monotonic() < until, "no window was opened"
            # xdotool fails where a window goes away while it looks.
            with suppress(subprocess.CalledProcessError):
                found = self._display.windows()
                if found and found[0] != self._window:
                    self._display.xdotool("windowfocus", "--sync", found[0])
                    self._window = found[0]
                    return

    def press(self, *keys: str, delay: int = 0) -> None:
        self._display.xdotool("key", "--delay", str(delay), *keys)

    @property
    def title(self) -> str:
        return self._display.xdotool("getwindowname", self._window)

    def wait_for_title(self, pattern: str) -> re.Match[str]:
        """Ask for the title, again and again; each time takes some milliseconds."""
        until = time.monotonic() + SECONDS
        title = ""
        while time.monotonic() < until:
            title = self.title
            if found := re.search(pattern, title):
                return found
        pytest.fail(f"the title never was {pattern!r}; the last one was {title!r}")

    def close(self) -> None:
        """Have the window closed as a window manager does at a click: WM_DELETE_WINDOW."""
        ask_to_close(self._display.name, int(self._window))

    def interrupt(self) -> None:
        """Press Ctrl-C in its terminal: the whole group gets the signal."""
        os.killpg(self._process.pid, signal.SIGINT)

    def helpers(self) -> list[psutil.Process]:
        """Return its worker processes; on busy cores auto may stay on threads, and there are none."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def end(self) -> tuple[int, str, str]:
        """Return its exit status, and what it wrote, once it has ended."""
        out, err = self._process.communicate(timeout=SECONDS)
        return self._process.returncode, out, err


class ClientMessage(ctypes.Structure):
    """XClientMessageEvent, padded to the size of XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 24),
    )


def ask_to_close(display: str, window: int) -> None:
    """Send WM_DELETE_WINDOW, for which xdotool has no command before 2021."""
    x11 = ctypes.CDLL(find_library("X11") or "libX11.so.6")  # which Tk itself needs
    x11.XOpenDisplay.restype = ctypes.c_void_p
    x11.XInternAtom.restype = ctypes.c_ulong
    server = ctypes.c_void_p(x11.XOpenDisplay(display.encode()))
    protocols, delete = (
        x11.XInternAtom(server, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    event = ClientMessage(type=33, window=window, message_type=protocols, format=32)
    event.data[0] = delete
    x11.XSendEvent(server, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
    x11.XCloseDisplay(server)


NEEDS = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="there is no Xvfb: apt install xvfb"),
    pytest.mark.skipif(
        shutil.which("xdotool") is None, reason="there is no xdotool: apt install xdotool"
    ),
    pytest.mark.skipif(
        find_spec("_tkinter") is None, reason="this Python has no tkinter: apt install python3-tk"
    ),
]


def on_display(test: Callable[..., None]) -> Callable[..., None]:
    for mark in NEEDS:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def display() -> Iterator[Display]:
    made = Display()
    yield made
    made.close()


@pytest.fixture
def start(display: Display) -> Callable[..., Program]:
    def start(*arguments: str) -> Program:
        return Program(display, "-m", "gearshift", "turtle", "--print", *arguments)

    return start


@on_display
def test_twenty_fast_keys_give_exactly_the_path(start: Callable[..., Program]) -> None:
    with start() as program:
        program.press(*TWENTY, "q")
        status, out, err = program.end()
    assert (status, err) == (0, "")
    assert json.loads(out) == {**THERE, "heading": HEADING}


@on_display
def test_keys_at_the_pace_of_a_held_key_give_the_path(start: Callable[..., Program]) -> None:
    with start("--speed", "10") as program:
        program.press(*TWENTY, "q", delay=33)
        status, out, _ = program.end()
    assert status == 0
    assert json.loads(out) == {**THERE, "heading": HEADING}


@on_display
def test_keys_move_the_turtle_while_numbers_are_factored(start: Callable[..., Program]) -> None:
    with start("--speed", "0") as program:
        program.press("p", "p")
        first = program.wait_for_title(r": ([1-9]\d*) of 400 numbers factored \(one at a time\)")
        program.press(*TWENTY)
        program.wait_for_title(rf": (?!{first[1]} )\d+ of 400 ")
        assert program.wait_for_title(r": 400 numbers factored, (\d+) are prime")[1] == PRIMES
        program.press("q")
        status, out, err = program.end()
    assert (status, err) == (0, "")
    assert json.loads(out) == {**THERE, "heading": HEADING}


@on_display
@pytest.mark.parametrize("is_busy", [False, True])
@pytest.mark.parametrize("how", ["q", "close", "interrupt"])
def test_every_way_to_end_it_leaves_nothing(
    start: Callable[..., Program], how: str, is_busy: bool
) -> None:
    with start("--speed", "0") as program:
        program.press("Up")
        if is_busy:
            program.press("p")
            program.wait_for_title(r": [1-9]\d of 400")
        helpers = program.helpers()
        {"q": lambda: program.press("q"), "close": program.close}.get(how, program.interrupt)()
        status, out, err = program.end()
    assert err == ""
    if how == "interrupt":
        assert (status, out) == (130, "")
    else:
        there = json.loads(out)
        assert (status, there["y"], there["heading"]) == (0, 0.0, 0.0)
        # A key that still waits when the window is closed is dropped; "q" waits its turn.
        assert there["x"] in ({50.0, 0.0} if how == "close" else {50.0})
    _, alive = psutil.wait_procs(helpers, timeout=SECONDS)
    assert not alive


@on_display
def test_closing_in_the_middle_of_moves_ends_it(start: Callable[..., Program]) -> None:
    with start("--speed", "1") as program:
        program.press(*["Up"] * 20)
        program.close()
        status, out, err = program.end()
    assert (status, err) == (0, "")
    assert json.loads(out)["x"] < 1000.0
    assert json.loads(out)["x"] % 50 == 0  # no half moves


@on_display
def test_picture_has_a_line_on_light_blue(start: Callable[..., Program], display: Display) -> None:
    grab = pytest.importorskip("PIL.ImageGrab")
    if not pytest.importorskip("PIL.features").check("xcb"):
        pytest.skip("this Pillow cannot take a picture of a display: it has no xcb")
    with start("--speed", "0", "--width", "600", "--height", "400") as program:
        program.press("Up", "Left", "Up", "p")
        program.wait_for_title("of 400")
        picture = grab.grab(xdisplay=display.name).crop((0, 0, 600, 400))
        program.press("q")
        assert program.end()[0] == 0
    if where := os.environ.get("GEARSHIFT_TURTLE_PICTURE"):  # to look at it
        picture.save(where)
    colors = {color: count for count, color in picture.getcolors(1 << 20)}
    assert colors[173, 216, 230] > 0.9 * 600 * 400
    assert colors[0, 0, 0] > 80  # two lines of 50, less what the arrow covers


@on_display
def test_window_opens_again_in_one_process(display: Display) -> None:
    script = (
        "import turtle\n"
        "from gearshift.jobs.turtle import drive\n"
        "turtle.Screen().bye()\n"
        "print([drive(speed=0).x for _ in range(2)])\n"
    )
    with Program(display, "-c", script) as program:
        program.press("Up", "q")
        program.find_window()
        program.press("Up", "Up", "q")
        assert program.end() == (0, "[50.0, 100.0]\n", "")


# The page


# What xdotool does, but for the way over the display: all keys are there before the first is handled.
AT_ONCE = """
canvas = screen.getcanvas()
canvas.focus_force()
canvas.update()
for key in {keys}:
    canvas.event_generate(f"<KeyPress-{{key}}>", when="tail")
    canvas.event_generate(f"<KeyRelease-{{key}}>", when="tail")
canvas.update()
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """Return the folder with the files of the how-to."""
    for text in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (tmp_path / text.splitlines()[0].removeprefix("# file: ")).write_text(text)
    return tmp_path


@on_display
def test_naive_program_of_the_page_ends_at_the_wrong_place(display: Display, page: Path) -> None:
    program = (page / "naive.py").read_text()
    (page / "driven.py").write_text(
        program.replace("screen.mainloop()", AT_ONCE.format(keys=TWENTY))
    )
    done = subprocess.run(
        [sys.executable, "driven.py"],
        cwd=page,
        env=display.environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stderr == ""
    x, y, heading = places(done.stdout)
    assert (x, y) != (THERE["x"], THERE["y"])
    assert heading != HEADING


@on_display
def test_stream_program_of_the_page_ends_at_the_right_place(display: Display, page: Path) -> None:
    with Program(display, "streamed.py", cwd=page) as program:
        program.press(*TWENTY, "q")
        status, out, err = program.end()
    assert (status, err) == (0, "")
    assert places(out) == pytest.approx((THERE["x"], THERE["y"], HEADING), abs=0.01)


def places(printed: str) -> tuple[float, ...]:
    return tuple(float(each) for each in re.findall(r"-?[\d.]+", printed))


@on_display
def test_work_of_the_page_is_told_in_the_title(display: Display, page: Path) -> None:
    lines = (page / "working.py").read_text(), "work(window, abs, range(100))", "screen.mainloop()"
    program = (page / "streamed.py").read_text()
    (page / "both.py").write_text(program.replace("screen.mainloop()", "\n".join(lines)))
    with Program(display, "both.py", cwd=page) as driven:
        driven.wait_for_title("^Event Handling 101: done$")
        driven.press("q")
        assert driven.end()[0] == 0
