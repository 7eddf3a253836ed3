"""Drive a turtle with the arrow keys: a book chapter's example of event-driven programs.

    key press -> gs.sources.keys -> stream -> Ride._press, one after another -> the turtle
    "p" -> gs.map(factor, numbers), in workers -> Ride._count -> the title bar

Both runs are guests in the window's loop, which is never made wait: keys move the
turtle while the numbers are factored.

A handler that moves the turtle at once gets the path wrong: turtle's animation runs Tk's
loop, so the next key's handler begins in the middle of the move. Of 20 rows of twenty keys,
33 ms each, `onkey` got 20 wrong and this got 0 (docs/how-to/drive-a-window.md).

Invariant: a key is handled when the one before it has been; after `close` nothing runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import gearshift as gs
from gearshift.jobs.tour.factors import factor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["NoWindowError", "Ride", "Standing", "drive", "numbers_to_factor"]

TITLE = "Event Handling 101"
STEP = 50
ANGLE = 30
NUMBERS = 400  # of 12 digits: about 5 s on two cores, so that there is something to see
INTERRUPT_MS = 100  # Ctrl-C is seen between two call-backs, and an idle window makes none


class NoWindowError(RuntimeError):
    """A window cannot be opened here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the turtle stands, rounded to what can be seen.

    Attributes:
        x: Right of the middle of the window.
        y: Above it.
        heading: Degrees, counter-clockwise from the right; 0 to below 360.
    """

    x: float
    y: float
    heading: float


class Ride:
    """One turtle, the keys that move it, and the numbers that are factored meanwhile."""

    def __init__(self, window: Any, pen: Any, numbers: Sequence[int]) -> None:
        """Listen to the keys.

        Args:
            window: A `tkinter.Tk`; its loop is not running yet.
            pen: The turtle: a `turtle.RawTurtle`.
            numbers: Are factored when "p" is pressed.
        """
        self.error: BaseException | None = None  # what ended the ride, if anything did
        self._window = window
        self._pen = pen
        self._numbers = numbers
        self._factoring: gs.Run[list[int]] | None = None
        self._factored = 0
        self._primes = 0
        self._hint = ""
        self._is_over = False
        self._handlers: dict[str, Callable[[], object]] = {
            "Up": lambda: pen.forward(STEP),
            "Left": lambda: pen.left(ANGLE),
            "Right": lambda: pen.right(ANGLE),
            "p": self._factor,
            "q": self.leave,
        }
        window.title(TITLE)
        keys = gs.sources.keys(window, *self._handlers)
        self._keys = gs.stream(keys).guest(window, self._press)

    @property
    def standing(self) -> Standing:
        """Where the turtle stands."""
        x, y = self._pen.position()
        heading = self._pen.heading()
        # `+ 0.0` makes 0.0 of -0.0; 359.9999 is 0.
        return Standing(round(x, 3) + 0.0, round(y, 3) + 0.0, round(heading, 3) % 360 + 0.0)

    def leave(self) -> None:
        """Have the window's loop end, once the turtle's move is done; keys that wait are dropped."""
        if not self._is_over:
            self._is_over = True
            self._window.quit()

    def fail(self, error: BaseException) -> None:
        """Leave, since a handler raised something."""
        if self.error is None:
            self.error = error
        self.leave()

    def close(self) -> None:
        """End what still runs."""
        self._is_over = True
        self._keys.close()
        if self._factoring is not None:
            self._factoring.close()

    def _press(self, key: str) -> None:
        """Handle one key."""
        if not self._is_over:
            self._handlers[key]()

    def _factor(self) -> None:
        """Begin to factor; while that runs, say so instead."""
        if self._factoring is not None:
            self._hint = " (one at a time)"
            self._tell()
            return
        self._factored = self._primes = 0
        self._hint = ""
        self._factoring = gs.map(factor, self._numbers)
        self._factoring.guest(
            self._window, self._count, on_error=self.fail, on_completed=self._finish
        )
        self._tell()

    def _count(self, factors: list[int]) -> None:
        """Take note of one number's prime factors."""
        self._factored += 1
        self._primes += len(factors) == 1
        self._tell()

    def _finish(self) -> None:
        """Tell the result; another press may follow."""
        self._factoring = None
        self._window.title(f"{TITLE}: {self._factored} numbers factored, {self._primes} are prime")

    def _tell(self) -> None:
        """Show how far it is."""
        self._window.title(
            f"{TITLE}: {self._factored} of {len(self._numbers)} numbers factored{self._hint}"
        )


def numbers_to_factor(count: int = NUMBERS) -> list[int]:
    """Return the numbers, the same ones every time."""
    random = Random(1)  # noqa: S311 - nothing secret is drawn
    return [random.randrange(10**11, 10**12) for _ in range(count)]


def drive(*, speed: int = 3, width: int = 800, height: int = 600) -> Standing:
    """Open the window, and return where the turtle stands once it is closed.

    Args:
        speed: Of the turtle, from 1 (slow) to 10; 0 does not animate.
        width: Of the window, in pixels.
        height: The same.

    Raises:
        NoWindowError: There is no display, or no tkinter.
        BaseException: What a handler raised; Ctrl-C is a KeyboardInterrupt.
    """
    window = _open_window()
    from turtle import RawTurtle, ScrolledCanvas, TurtleScreen  # imports tkinter

    try:
        canvas = ScrolledCanvas(window, width=width, height=height, canvwidth=400, canvheight=300)
        canvas.pack(expand=True, fill="both")
        # turtle keeps for all screens whether one was closed; the next one's first move then raises.
        setattr(TurtleScreen, "_RUNNING", True)  # noqa: B010 - typeshed does not know it
        screen = TurtleScreen(canvas)
        screen.bgcolor("light blue")
        pen = RawTurtle(
            screen
        )  # turtle keeps the screen: no other thread can be the one to free Tk
        pen.speed(speed)
        ride = Ride(window, pen, numbers_to_factor())
        _run(window, ride)
        return ride.standing
    finally:
        window.destroy()


def _open_window() -> Any:
    """Return a Tk window.

    Raises:
        NoWindowError: It cannot be had.
    """
    try:
        import tkinter as tk
    except ImportError as error:
        raise NoWindowError(
            f"this Python has no tkinter ({error}), which opens the window: install python3-tk, "
            "or the package of your system that has it"
        ) from error
    try:
        return tk.Tk(className="gearshift")
    except tk.TclError as error:
        raise NoWindowError(
            f"no window can be opened ({error}): run it on a desktop, or without one as "
            "`xvfb-run gearshift turtle`"
        ) from error


def _run(window: Any, ride: Ride) -> None:
    """Run the window's loop until somebody leaves.

    Raises:
        BaseException: What ended the ride.
    """
    timer = ""

    def look() -> None:
        nonlocal timer
        timer = window.after(INTERRUPT_MS, look)

    # Tk would print the traceback and go on, also with Ctrl-C.
    window.report_callback_exception = lambda _kind, error, _traceback: ride.fail(error)
    window.protocol("WM_DELETE_WINDOW", ride.leave)
    look()
    try:
        window.mainloop()
    except BaseException as error:
        ride.fail(error)
    finally:
        window.after_cancel(timer)
        ride.close()
    if ride.error is not None:
        raise ride.error
