"""`gearshift download [URL...] --into DIR`: files, each whole or not there.

Status: 0 every file is there; 1 some are not; 2 wrong use; 130 Ctrl-C. One line on standard error for
each failure, and a summary; `--report` has a JSON line for each URL.
"""

from __future__ import annotations

import io
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from gearshift.cli.problems import WrongUse, why
from gearshift.errors import GearshiftError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gearshift import DownloadRecord, Images, Run
    from gearshift.cli.bar import Bar

__all__ = ["download"]

_EXAMPLES = """\b
Examples:
  gearshift download https://example.org/a.jpg https://example.org/b.jpg --into pictures
  gearshift download --from urls.txt --into pictures --report pictures.jsonl
  cat list.csv | gearshift download --from - --into pictures --limit 50

A list has a URL a line; or JSON lines, or CSV with a first line of names, with url and,
where wanted, name, checksum (sha256:...) and headers. The same command again fetches only
what is not there yet.
"""
_MOST_CHARACTERS = 500  # of a failure's line
_MOST_NAMED = 20  # failures, in lines of their own
_NOTHING_LEFT, _SOME_FAILED = 0, 1


@click.command(epilog=_EXAMPLES)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--from", "source", metavar="FILE", help="A list of URLs, gzipped or not; - is standard input."
)
@click.option("--into", metavar="DIR", required=True, help="The folder; made if it is not there.")
@click.option("--report", metavar="FILE", help="Write a JSON line for each URL.")
@click.option(
    "--connections", type=int, metavar="N", help="At once; found by measuring if not said."
)
@click.option("--per-host", type=int, metavar="N", help="Transfers from one host at once, at most.")
@click.option("--limit", type=int, metavar="N", help="Files begun a second at most.")
@click.option("--retries", type=int, default=5, show_default=True, metavar="N")
@click.option("--max-time", type=float, metavar="SECONDS", help="For one attempt.")
@click.option("--max-size", type=int, metavar="BYTES", help="Of a stored file.")
@click.option(
    "--min-speed",
    type=int,
    default=1000,
    show_default=True,
    metavar="BYTES",
    help="A second; slower for 15 s is given up.",
)
@click.option("--name", metavar="TEMPLATE", help="Of file names, such as '{index:06}-{name}'.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with all.")
@click.option("--polite", is_flag=True, help="Leave alone what asks not to be fetched by machines.")
@click.option("--fsync", is_flag=True, help="Have each file on the disk before it has its name.")
@click.option("--again", is_flag=True, help="Forget what was fetched before.")
@click.option("--images", is_flag=True, help="Decode each; what is no whole picture goes away.")
@click.option("--max-side", type=int, metavar="PX", help="Reduce larger pictures to that.")
@click.option("--thumbnails", type=int, metavar="PX", help="Put small ones into DIR/thumbnails.")
@click.option(
    "--format",
    type=click.Choice(["jpeg", "png", "webp"]),
    help="Convert pictures of other formats.",
)
@click.option("--quiet", is_flag=True, help="No bar and no summary.")
def download(
    urls: tuple[str, ...],
    source: str | None,
    into: str,
    report: str | None,
    limit: int | None,
    headers: tuple[str, ...],
    *,
    quiet: bool,
    **options: Any,
) -> None:
    """Fetch files into a folder, each whole or not there, as fast as the other side likes."""
    from gearshift.cli.interrupts import Interrupts, leave

    with Interrupts() as interrupts, ExitStack() as stack:
        items, total = _items(urls, source)
        bar = None if quiet else _bar()
        run = _begun(items, into, limit, headers, bar, {**options, "total": total})
        sink = None if report is None else _opened(report, source, stack)
        course = _Course(run, sink, bar)
        try:
            with run:
                course.follow()
            if sink is not None:
                sink.flush()  # here, where a full disk is told of
        except KeyboardInterrupt:
            course.is_interrupted = True
        except GearshiftError as error:  # such as a journal on a disk that is full
            course.name_problem(str(error))
        except BrokenPipeError:
            course.name_problem("stopped: whoever read the report is gone")
        except click.ClickException as error:  # of the list
            course.name_problem(error.message)
        except OSError as error:  # of the report
            course.name_problem(f"--report {report}: {why(error)}")
        if bar is not None:
            bar.pause()
        if not quiet:
            click.echo(course.summary(into), err=True)
        status = _SOME_FAILED if course.failed or course.is_broken else _NOTHING_LEFT
        if course.is_interrupted:
            status = interrupts.status
    leave(status) if course.is_interrupted else sys.exit(status)


def _begun(
    items: Iterable[Any],
    into: str,
    limit: int | None,
    headers: tuple[str, ...],
    bar: Bar | None,
    options: dict[str, Any],
) -> Run[DownloadRecord]:
    """Return the run.

    Raises:
        WrongUse: An option's value cannot be, or the folder cannot be had.
    """
    import gearshift as gs

    fields = [_header(each) for each in headers]
    try:
        wanted = _images(options)
        return gs.download(
            items,
            into,
            images=wanted,
            limit=None if limit is None else gs.Rate(limit),
            headers=dict(fields),
            ordered=False,
            progress=None if bar is None else bar.show,
            **options,
        )
    except OSError as error:
        raise WrongUse(f"--into {into}: {why(error)}.") from None
    except (TypeError, ValueError) as error:
        raise WrongUse(str(error)) from None


def _images(options: dict[str, Any]) -> Images | None:
    """Take out what is wanted of pictures, and return that.

    Raises:
        TypeError: Of `gs.Images`.
        ValueError: The same.
    """
    is_wanted = options.pop("images")
    wishes = {name: options.pop(name) for name in ("max_side", "thumbnails", "format")}
    if not is_wanted and all(wish is None for wish in wishes.values()):
        return None
    from gearshift import Images  # for those who have pictures

    return Images(**wishes)


def _header(text: str) -> tuple[str, str]:
    """Return name and value.

    Raises:
        WrongUse: There is no colon.
    """
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\n" in text or "\r" in text:
        raise WrongUse(f"--header {text!r} is not like 'Name: value'.")
    return name.strip(), value.strip()


def _bar() -> Bar | None:
    """Return a bar where somebody would see it."""
    if not sys.stderr.isatty():
        return None
    from gearshift.cli.bar import Bar, is_terminal

    return Bar() if is_terminal() else None


def _is_same_file(path: str, other: str) -> bool:
    try:
        return Path(path).samefile(other)
    except OSError:  # one is not there
        return False


def _opened(path: str, source: str | None, stack: ExitStack) -> TextIO:
    """Return the report's file.

    Raises:
        WrongUse: It cannot be written.
    """
    if path == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # whoever reads it may want each at once
        return sys.stdout
    if source is not None and _is_same_file(path, source):
        raise WrongUse(f"--report {path}: that is the list itself; give it a file of its own.")
    try:
        return stack.enter_context(open(path, "w", encoding="utf-8", buffering=1))  # noqa: PTH123 - as the user has it
    except OSError as error:
        raise WrongUse(f"--report {path}: {why(error)}.") from None


def _items(urls: tuple[str, ...], source: str | None) -> tuple[Iterable[Any], int | None]:
    """Return what is to be fetched, and how many, where that can be counted.

    Raises:
        WrongUse: There is nothing, or it cannot be read.
    """
    if source is None:
        if not urls:
            raise WrongUse("Nothing to fetch: name URLs, or a list with --from FILE.")
        return urls, len(urls)
    if urls:
        raise WrongUse("Give URLs or --from FILE, not both.")
    if source == "-" and sys.stdin is None:
        raise WrongUse("--from -: standard input is closed.")
    from gearshift.cli.urls import read_list

    return read_list(source)


# What is seen


class _Course:
    """Follows a run: counts, writes the report, names failures."""

    def __init__(self, run: Run[DownloadRecord], sink: TextIO | None, bar: Bar | None) -> None:
        self._run = run
        self._sink = sink
        self._bar = bar
        self._began = time.perf_counter()
        self.done = 0
        self.failed = 0
        self.bytes = 0
        self.unverified = 0
        self.no_pictures = 0
        self.is_interrupted = False
        self.is_broken = False
        if bar is not None:
            bar.note = self._rate

    def _rate(self) -> str:
        """Say how many bytes there are, and come in a second."""
        from gearshift.units import megabytes

        seconds = max(time.perf_counter() - self._began, 1e-9)
        return f"{megabytes(self.bytes)}, {megabytes(self.bytes / seconds)}/s,"

    def follow(self) -> None:
        """Take the records as they come."""
        from gearshift.jobs.download.record import NO_PICTURE  # loaded by now

        for record in self._run:
            if record.ok:
                self.done += 1
                self.bytes += record.bytes
                self.unverified += record.unverified is not None
            else:
                self.failed += 1
                self.no_pictures += str(record.error).startswith(NO_PICTURE)
                self._name(record)
            if self._sink is not None:
                self._sink.write(json.dumps(record.as_dict(), ensure_ascii=False) + "\n")

    def name_problem(self, text: str) -> None:
        """Say why the run could not go on."""
        self.is_broken = True
        self._say(text)

    def _name(self, record: DownloadRecord) -> None:
        """Say why there is no file, of the first ones."""
        if self.failed > _MOST_NAMED + 1:
            return
        text = f"{record.url}: {record.error}"
        if record.attempts > 1:
            text += f" ({record.attempts} attempts)"
        if self.failed == _MOST_NAMED + 1:
            text = "further failures are not named here; --report FILE has all"
        self._say(text)

    def _say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if len(text) > _MOST_CHARACTERS:
            text = f"{text[:_MOST_CHARACTERS]}..."
        text = "".join(each if each.isprintable() else "?" for each in text)
        if self._bar is None:
            click.echo(text, err=True)
        else:
            self._bar.above(f"{text}\n".encode(errors="replace"))

    def summary(self, into: str) -> str:
        """Say in a line or two what there is now."""
        from gearshift.units import duration, megabytes

        seconds = max(time.perf_counter() - self._began, 1e-9)
        replayed = self._run.report.replayed
        files = f"{self.done:,} file{'s' * (self.done != 1)} in {into}, {megabytes(self.bytes)}"
        words = f"{files}, in {duration(seconds)} ({self.done / seconds:,.0f} a second)"
        if replayed:
            words += f"; {replayed:,} were there already"
        if self.unverified:
            words += f"; {self.unverified:,} unverified: their answers do not say where they end"
        if self.failed:
            words += f"; {self.failed:,} failed"
        if self.no_pictures:
            words += f", {self.no_pictures:,} of them no whole pictures"
        if self.is_interrupted:
            words = f"Stopped by the user: {words}. The same command again fetches the rest"
        return words + "."
