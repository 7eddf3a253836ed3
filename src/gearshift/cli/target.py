"""TARGET -> function: `package.module:function` or `path/to/file.py:function`.

Apart from the rest because it runs the user's code at import, where anything may
happen; each fault here names itself and its cure, without a traceback.

A file is imported under the name that it would have from its own folder (or from above
its package), so that worker processes can import it too, as they do any module. Where
that name is taken, by a `random.py` of the user's say, the file is loaded under another
and travels to the workers by value.
"""

from __future__ import annotations

import ast
import os
import sys
import traceback
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gearshift.cli.problems import WrongUse, did_you_mean, why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

__all__ = ["load_target"]

_SHOWN_NAMES = 8  # more would hide the message


def load_target(text: str) -> Callable[..., Any]:
    """Return the function that `text` names.

    Args:
        text: `package.module:function` or `path/to/file.py:function`; after the colon may
            stand attributes of attributes, such as `Class.method`.

    Returns:
        Whatever is callable there.

    Raises:
        WrongUse: There is no such thing, or importing it failed.
    """
    where, colon, name = text.rpartition(":")
    if not colon or (where and not name):
        raise WrongUse(_no_function_named(where or text))
    parts = name.split(".")
    if not where or not all(part.isidentifier() for part in parts):
        raise WrongUse(
            f"TARGET {text!r} is not MODULE:FUNCTION, such as json:loads, "
            "nor FILE.py:FUNCTION, such as tools/hashing.py:digest."
        )
    module = _load_file(where) if _is_path(where) else _load_module(where)
    found: Any = module
    for depth, part in enumerate(parts):
        holder = ".".join([where, *parts[:depth]])
        if not hasattr(found, part):
            raise WrongUse(f"{holder} has no {part!r}.{_instead(part, found)}")
        found = getattr(found, part)
    if not callable(found):
        raise WrongUse(
            f"{text} is {_a(type(found).__name__)}, which cannot be called: "
            f"name a function.{_instead('', module)}"
        )
    function: Callable[..., Any] = found
    return function


def _load_module(name: str) -> ModuleType:
    """Import a module by name; the working directory comes first, as with `python -m`.

    Raises:
        WrongUse: It is not there, or raised something.
    """
    _put_first(os.getcwd())  # noqa: PTH109 - text is what sys.path holds
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise WrongUse(_no_module(name, error.name)) from None
        raise WrongUse(_import_fault(name, error)) from None
    except (Exception, SystemExit) as error:
        raise WrongUse(_import_fault(name, error)) from None


def _load_file(text: str) -> ModuleType:
    """Import a file, in its package if it is in one.

    Raises:
        WrongUse: It is not there, or raised something.
    """
    path = Path(text)
    _check_file(path)
    path = path.resolve()
    folder, name = _importable_as(path)
    try:
        if _is_free(name, folder):
            _put_first(str(folder))
            return import_module(name)
        sys.path.append(str(folder))  # last: it holds a name that others import
        return _load_by_location(path)
    except (Exception, SystemExit) as error:
        raise WrongUse(_import_fault(text, error, path)) from None


def _check_file(path: Path) -> None:
    """Refuse what cannot be a Python file.

    Raises:
        WrongUse: It is missing, a folder, or called something else than `.py`.
    """
    try:
        path.open("rb").close()
    except FileNotFoundError:
        near = path.parent.glob("*.py") if path.parent.is_dir() else ()
        hint = did_you_mean(path.name, (file.name for file in near))
        place = "" if path.parent.is_dir() else f" (no folder {str(path.parent)!r} either)"
        raise WrongUse(f"no file {str(path)!r}{place}.{hint}") from None
    except OSError as error:
        raise WrongUse(f"cannot read {str(path)!r}: {why(error)}.") from None
    if path.suffix != ".py":
        raise WrongUse(f"{str(path)!r} is not a .py file; for a module write a.b.c:function.")


def _importable_as(path: Path) -> tuple[Path, str]:
    """Return the folder from which a file is imported, and its dotted name from there."""
    if "." in path.stem:
        return path.parent, ""  # `a.b.py` would be imported as module b of a
    parts = [] if path.name == "__init__.py" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder.name.isidentifier():
        parts.insert(0, folder.name)
        folder = folder.parent
    return folder, ".".join(parts)


def _is_free(name: str, folder: Path) -> bool:
    """Say whether importing `name` with `folder` first on the path finds what lies there."""
    top = name.partition(".")[0]
    if not top or top in sys.stdlib_module_names or top in sys.modules:
        return False
    sys.path.insert(0, str(folder))
    try:
        spec = find_spec(top)
    finally:
        sys.path.remove(str(folder))
    here = (str(folder / f"{top}.py"), str(folder / top / "__init__.py"))
    return spec is not None and spec.origin in here


def _load_by_location(path: Path) -> ModuleType:
    """Load a file whose own name is taken; workers get its functions by value.

    Raises:
        ImportError: Python knows no loader for it.
    """
    from cloudpickle import register_pickle_by_value

    name = f"target_{path.stem}".replace(".", "_")
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python source file")
    module = module_from_spec(spec)
    sys.modules[name] = module
    register_pickle_by_value(module)
    spec.loader.exec_module(module)
    return module


def _put_first(folder: str) -> None:
    """Make what lies in a folder importable."""
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


def _is_path(where: str) -> bool:
    """Say whether the part before the colon is a file's path."""
    return where.endswith(".py") or "/" in where or os.sep in where


def _no_function_named(text: str) -> str:
    """Say that the colon is missing, and what could stand behind it."""
    if _is_path(text):
        names = _functions_in(Path(text))
        shown = f" It has: {_some(names)}." if names else ""
        return f"TARGET {text!r} names no function: write {text}:FUNCTION.{shown}"
    before, dot, last = text.rpartition(".")
    if dot and before and last:
        return f"TARGET {text!r} has no colon: write {before}:{last}, or {text}:FUNCTION."
    return f"TARGET {text!r} names no function: write {text}:FUNCTION."


def _functions_in(path: Path) -> list[str]:
    """Return the functions of a file without running it."""
    try:
        body = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return []
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [node.name for node in body if isinstance(node, kinds) and node.name[0] != "_"]


def _no_module(name: str, missing: str) -> str:
    """Say which part of a dotted name is missing, and what is there instead."""
    from pkgutil import iter_modules

    above, _, last = missing.rpartition(".")
    if not above:
        names = {module.name for module in iter_modules()} | sys.stdlib_module_names
        cure = did_you_mean(last, names)
        there = f" Looked in {_shown(Path.cwd())!r} first." if not cure else ""
        return f"no module named {missing!r}.{cure}{there}"
    parent = sys.modules[above]
    if callable(getattr(parent, last, None)):
        return f"{missing!r} is a function of module {above!r}: write {above}:{last}."
    inside = [module.name for module in iter_modules(getattr(parent, "__path__", []))]
    whole = f" (in {name!r})" if name != missing else ""
    return f"module {above!r} has no module {last!r}{whole}.{did_you_mean(last, inside)}"


def _import_fault(where: str, error: BaseException, path: Path | None = None) -> str:
    """Tell what a module raised at its import, and in which line."""
    if isinstance(error, SystemExit):
        cure = "put what it does as a script under: if __name__ == '__main__':"
        return "\n".join([f"importing {where} ended the program; {cure}", *_spots(error, path)])
    if isinstance(error, SyntaxError) and error.filename:
        said = f"importing {where} raised {type(error).__name__}: {error.msg}"
        code = f": {error.text.strip()}" if error.text else ""
        return f"{said}\n  {_shown(Path(error.filename))}, line {error.lineno}{code}"
    said = f"importing {where} raised {type(error).__name__}: {error}"
    return "\n".join([said, *_spots(error, path)])


def _spots(error: BaseException, path: Path | None) -> list[str]:
    """Return the line in the target's file, and where it was raised if elsewhere."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ")
        and Path(frame.filename) != Path(__file__)
        and not frame.filename.endswith(f"importlib{os.sep}__init__.py")
    ]
    own = [frame for frame in frames if path is None or Path(frame.filename) == path]
    picked = [*(own[-1:] if path else frames[:1]), *frames[-1:]]
    spots = [f"  {_shown(Path(at.filename))}, line {at.lineno}: {at.line}" for at in picked]
    return list(dict.fromkeys(spots))


def _instead(name: str, holder: object) -> str:
    """Return what may have been meant, or what there is."""
    names = (
        [
            key
            for key, value in vars(holder).items()
            if callable(value) and (not key.startswith("_") or name.startswith("_"))
        ]
        if hasattr(holder, "__dict__")
        else []
    )
    home = getattr(holder, "__name__", None)
    own = [key for key in names if getattr(vars(holder)[key], "__module__", None) == home]
    there = f" It has: {_some(own or names)}." if names else " It holds no functions."
    return (did_you_mean(name, names) if name else "") or there


def _some(names: Iterable[str]) -> str:
    """Return the first few names, as text."""
    listed = list(names)
    more = " and more" if len(listed) > _SHOWN_NAMES else ""
    return ", ".join(listed[:_SHOWN_NAMES]) + more


def _a(noun: str) -> str:
    """Return the noun with its article."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _shown(path: Path) -> str:
    """Return a path as short as it is unambiguous here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
