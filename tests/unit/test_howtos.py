"""The how-tos do what they say: their files are written, their code and commands run, their output compared."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, ClassVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
TESTS = Path(__file__).parents[1]
PAGES = sorted((DOCS / "how-to").glob("*.md"))
BLOCK = re.compile(r"^```(python|console|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class FlakyApi(BaseHTTPRequestHandler):
    """Prices are the length of the name; the first call for each is one too many."""

    times: ClassVar[Counter[str]] = Counter()
    lock = Lock()

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        with self.lock:
            self.times[name] += 1
            is_first = self.times[name] % 2 == 1
        if name == "washer":
            self.answer(404)
        elif is_first:
            self.answer(429, ("Retry-After", "0.05"))
        else:
            self.answer(200, body=json.dumps({"price": len(name)}))

    def answer(self, status: int, *headers: tuple[str, str], body: str = "") -> None:
        self.send_response(status)
        for header in (*headers, ("Content-Length", str(len(body)))):
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), FlakyApi) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_does_what_it_says(page: Path, tmp_path: Path, api: str) -> None:
    scripts = Path(sys.executable).parent
    environ = {**os.environ, "API": api, "PATH": f"{scripts}:{os.environ['PATH']}"}
    environ |= {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    said = None
    for kind, text in BLOCK.findall(page.read_text()):
        named = re.match(r"# file: (\S+)\n", text)
        if named:
            (tmp_path / named[1]).write_text(text)
        elif kind == "python":
            said = run([sys.executable, "-c", text], tmp_path, environ)
        elif kind == "text":
            assert said is not None
            assert without_rates(said) == without_rates(text)
        else:
            for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
                assert run(["bash", "-c", command], tmp_path, environ) == shown


def without_rates(text: str) -> str:
    return re.sub(r"\bin [\d.]+ s\b", "in N s", re.sub(r"[\d,.]+/s", "N/s", text))


def run(command: list[str], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_way_to_die_names_a_test_that_there_is() -> None:
    page = (DOCS / "explanation" / "surviving.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)` \|$", row) for row in rows]
    assert len(named) >= 10
    tests = "\n".join(file.read_text() for file in TESTS.rglob("test_*.py"))
    for names in named[1:]:
        assert len(names) == 1
        assert f"def {names[0]}(" in tests
