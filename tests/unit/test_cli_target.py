"""TARGET -> function, and in which words a bad one is refused."""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import TYPE_CHECKING

import cloudpickle
import pytest

from gearshift.cli.problems import WrongUse
from gearshift.cli.target import load_target

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASHING = """
import os

SCALE = 2

def digest(item):
    return item * SCALE

def dig_deep(item):
    return item

class Tool:
    @staticmethod
    def use(item):
        return item.upper()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    by_value = cloudpickle.list_registry_pickle_by_value()
    yield tmp_path
    for name in cloudpickle.list_registry_pickle_by_value() - by_value:
        cloudpickle.unregister_pickle_by_value(sys.modules[name])
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def refusal(target: str) -> str:
    with pytest.raises(WrongUse) as refused:
        load_target(target)
    assert refused.value.exit_code == 2
    return refused.value.message


@pytest.mark.parametrize(
    ("target", "item", "value"),
    [
        ("json:loads", "[1]", [1]),
        ("os.path:basename", "a/b", "b"),
        ("builtins:str.upper", "a", "A"),
        ("decimal:Decimal", "1", 1),
    ],
)
def test_module_and_function_are_found(target: str, item: str, value: object) -> None:
    assert load_target(target)(item) == value


def test_module_of_working_directory_is_found(folder: Path) -> None:
    write(folder / "cli_target_here.py", HASHING)
    assert load_target("cli_target_here:Tool.use")("a") == "A"


def test_file_is_found_from_elsewhere(folder: Path) -> None:
    write(folder / "deep" / "cli_target_file.py", HASHING)
    assert load_target("deep/cli_target_file.py:digest")("a") == "aa"
    assert load_target(f"{folder}/deep/cli_target_file.py:digest")("a") == "aa"


def test_file_imports_its_neighbours(folder: Path) -> None:
    write(folder / "deep" / "cli_target_beside.py", "WORD = 'beside'")
    source = "import cli_target_beside\ndef f(_): return cli_target_beside.WORD"
    write(folder / "deep" / "cli_target_imports.py", source)
    assert load_target("deep/cli_target_imports.py:f")("a") == "beside"


def test_file_in_package_uses_relative_imports(folder: Path) -> None:
    write(folder / "cli_target_package" / "__init__.py", "")
    write(folder / "cli_target_package" / "inner" / "__init__.py", "WORD = 'above'")
    source = "from . import WORD\ndef f(_): return WORD"
    write(folder / "cli_target_package" / "inner" / "work.py", source)
    function = load_target("cli_target_package/inner/work.py:f")
    assert function("a") == "above"
    assert function.__module__ == "cli_target_package.inner.work"


def test_function_of_a_file_is_pickled_by_reference(folder: Path) -> None:
    write(folder / "cli_target_plain.py", HASHING)
    function = load_target("cli_target_plain.py:digest")
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("name", ["json.py", "click.py", "cli_target_a.b.py", "random.py"])
def test_file_whose_name_is_taken_is_loaded_all_the_same(folder: Path, name: str) -> None:
    write(folder / "deep" / name, HASHING)
    function = load_target(f"deep/{name}:digest")
    assert function("a") == "aa"
    assert json.loads("1") == 1


def test_function_of_a_file_whose_name_is_taken_travels_by_value(folder: Path) -> None:
    write(folder / "json.py", HASHING)
    data = cloudpickle.dumps(load_target("json.py:digest"))
    module = sys.modules.pop("target_json")  # as in a worker, which never loaded it
    assert pickle.loads(data)("a") == "aa"
    sys.modules["target_json"] = module


def test_missing_colon_shows_what_a_file_has(folder: Path) -> None:
    write(folder / "cli_target_colon.py", HASHING)
    for target in ("cli_target_colon.py", "cli_target_colon.py:"):
        assert refusal(target) == (
            "TARGET 'cli_target_colon.py' names no function: "
            "write cli_target_colon.py:FUNCTION. It has: digest, dig_deep."
        )


def test_missing_colon_in_unreadable_file_is_only_named() -> None:
    assert refusal("no.py") == "TARGET 'no.py' names no function: write no.py:FUNCTION."


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("json", "TARGET 'json' names no function: write json:FUNCTION."),
        ("json.loads", "has no colon: write json:loads, or json.loads:FUNCTION."),
        (":loads", "is not MODULE:FUNCTION"),
        ("json:loads()", "is not MODULE:FUNCTION"),
        ("json:load", None),
        ("json:laods", "json has no 'laods'. Did you mean 'loads'?"),
        ("json.decoder:JSONDecoder.decodes", "json.decoder.JSONDecoder has no 'decodes'"),
        ("json.decoderr:x", "module 'json' has no module 'decoderr'. Did you mean 'decoder'?"),
        ("json.loads:x", "'json.loads' is a function of module 'json': write json:loads."),
        ("jsom:loads", "no module named 'jsom'. Did you mean 'json'?"),
        ("qqqqqqqqqq:loads", "no module named 'qqqqqqqqqq'. Looked in "),
        ("math:pi", "math:pi is a float, which cannot be called: name a function. It has: "),
        ("os:path", "os:path is a module, which cannot be called"),
        ("no/such.py:x", "no file 'no/such.py' (no folder 'no' either)."),
        (".git/:x", "Is a directory"),
    ],
)
def test_bad_target_is_named_with_its_cure(folder: Path, target: str, words: str | None) -> None:
    (folder / ".git").mkdir()
    if words is None:
        assert load_target(target) is json.load
    else:
        assert words in refusal(target)


def test_close_names_of_files_are_offered(folder: Path) -> None:
    write(folder / "hashing.py", HASHING)
    assert refusal("hashin.py:digest") == "no file 'hashin.py'. Did you mean 'hashing.py'?"


def test_module_without_functions_says_so(folder: Path) -> None:
    write(folder / "cli_target_empty.py", "")
    assert refusal("cli_target_empty:f") == "cli_target_empty has no 'f'. It holds no functions."


def test_many_functions_are_cut_short(folder: Path) -> None:
    write(folder / "cli_target_many.py", "\n".join(f"def f{n}(): ..." for n in range(30)))
    assert refusal("cli_target_many.py").endswith(
        "It has: f0, f1, f2, f3, f4, f5, f6, f7 and more."
    )


def test_other_kind_of_file_is_refused(folder: Path) -> None:
    write(folder / "script", HASHING)
    assert "'script' is not a .py file" in refusal("./script:digest")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file_is_refused(folder: Path) -> None:
    write(folder / "cli_target_secret.py", HASHING).chmod(0)
    assert "Permission denied" in refusal("cli_target_secret.py:digest")


FAILING = """
def helper():
    raise RuntimeError("out of luck")

helper()
"""


@pytest.mark.parametrize("target", ["cli_target_raises:f", "cli_target_raises.py:f"])
def test_exception_at_import_is_shown_with_its_line(folder: Path, target: str) -> None:
    write(folder / "cli_target_raises.py", FAILING)
    where = target.removesuffix(":f")
    first, *spots = refusal(target).splitlines()
    assert first == f"importing {where} raised RuntimeError: out of luck"
    assert '  cli_target_raises.py, line 3: raise RuntimeError("out of luck")' in spots


def test_exception_below_the_module_shows_both_lines(folder: Path) -> None:
    write(folder / "cli_target_lower.py", "x = 1 / 0")
    write(folder / "cli_target_upper.py", "\nimport cli_target_lower")
    assert refusal("cli_target_upper.py:f").splitlines() == [
        "importing cli_target_upper.py raised ZeroDivisionError: division by zero",
        "  cli_target_upper.py, line 2: import cli_target_lower",
        "  cli_target_lower.py, line 1: x = 1 / 0",
    ]


@pytest.mark.parametrize("target", ["cli_target_lacks:f", "cli_target_lacks.py:f"])
def test_import_that_a_module_lacks_is_not_taken_for_the_module(folder: Path, target: str) -> None:
    write(folder / "cli_target_lacks.py", "import numpyy_of_nobody")
    said = refusal(target)
    assert "raised ModuleNotFoundError: No module named 'numpyy_of_nobody'" in said
    assert "cli_target_lacks.py, line 1: import numpyy_of_nobody" in said


def test_syntax_error_is_shown_with_its_line(folder: Path) -> None:
    write(folder / "cli_target_syntax.py", "x = 1\ndef f(:\n    ...\n")
    said = refusal("cli_target_syntax.py:f")
    assert "raised SyntaxError: " in said
    assert "  cli_target_syntax.py, line 2: def f(:" in said


def test_script_that_exits_gets_its_cure(folder: Path) -> None:
    write(folder / "cli_target_script.py", "import sys\nsys.exit(0)")
    said = refusal("cli_target_script.py:f")
    assert "ended the program" in said
    assert "if __name__ == '__main__':" in said
    assert "line 2: sys.exit(0)" in said
