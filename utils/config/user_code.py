"""Classes that a config names by ``package.module.Class``: the permission to import them, and their errors."""

from __future__ import annotations

import importlib
import inspect
import sysconfig
from collections.abc import Collection, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeVar

from utils.errors import SegwrightError, first_line

T = TypeVar("T")

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
_PLAIN = (ImportError, ModuleNotFoundError, AttributeError, ValueError, TypeError)  # their message is enough
_allowed: ContextVar[Container[str] | None] = ContextVar("allowed", default=None)


class _Everything:
    def __contains__(self, name: object) -> bool:
        return True


@contextmanager
def catalogue_only(allowed: Collection[str] = (), *, trust: bool = False) -> Iterator[None]:
    """Refuse to import classes outside the catalogues, for names that come from a checkpoint.

    To import a module is to run it, and a checkpoint may come from anyone.

    Args:
        allowed: names that may be imported nevertheless, because a config of the user's names them too.
        trust: refuse nothing: the user trusts the checkpoint.
    """
    token = _allowed.set(_Everything() if trust else frozenset(allowed))
    try:
        yield
    finally:
        _allowed.reset(token)


def catalogue_by_default() -> AbstractContextManager[None]:
    """Return :func:`catalogue_only`, or a context that does nothing within one."""
    return catalogue_only() if _allowed.get() is None else nullcontext()


def import_class(dotted: str, kind: type[T]) -> type[T]:
    """Import a concrete subclass of ``kind`` by its dotted name.

    Raises:
        ValueError: there is none, its module fails, or the name comes from a checkpoint that is not trusted.
    """
    module_name, _, class_name = dotted.rpartition(".")
    if not all(part.isidentifier() for part in dotted.split(".")):
        raise ValueError(f"'{dotted}' is not a name of the form package.module.Class")
    allowed = _allowed.get()
    if allowed is not None and dotted not in allowed:
        raise ValueError(
            f"'{dotted}' is outside the catalogue, and a checkpoint may not name code to run; give --trust if "
            "both the file and that module are your own"
        )
    with reporting(f"cannot import '{dotted}'"):
        member = getattr(importlib.import_module(module_name), class_name)
    if not (inspect.isclass(member) and issubclass(member, kind)) or inspect.isabstract(member):
        raise ValueError(f"'{dotted}' is not a concrete subclass of {kind.__name__}")
    return member


@contextmanager
def reporting(what: str) -> Iterator[None]:
    """Turn every error of a user's code into a ValueError of one line with its file and line.

    Errors of this program, Ctrl-C and exhausted memory pass.

    Args:
        what: begin of the message.
    """
    try:
        yield
    except (SegwrightError, KeyboardInterrupt, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
            raise
        raise ValueError(f"{what}: {_text(error)}{_location(error)}") from error


def _text(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it calls sys.exit"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    return first_line(error) if type(error) in _PLAIN else f"{type(error).__name__}: {first_line(error)}"


def _location(error: BaseException) -> str:
    """Return the user's file and line in parentheses; an empty string where none of the frames is the user's."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    own = [(file, line) for file, line in places if _is_users(file)]
    return f" ({own[-1][0]}, line {own[-1][1]})" if own else ""


def _is_users(file: str) -> bool:
    """Return whether a source file is neither Python's, an installed package's nor this program's own."""
    path = Path(file)
    if not path.is_absolute() or any(folder in path.parents for folder in _INSTALLED):
        return False
    ours = ("base", "dataloaders", "models", "utils")
    return not any(_ROOT / name in path.parents for name in ours) and path != _ROOT / "train.py"


def source_of(function: Any) -> str:
    """Return `` (FILE, line N)`` of a function's definition, or an empty string for a built-in."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f" ({code.co_filename}, line {code.co_firstlineno})"
