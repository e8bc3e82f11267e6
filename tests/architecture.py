"""The structure of the project as its imports show it: ``python -m tests.architecture`` prints rooms and floors.

A room is a top-level program, a top-level package, or a package or module directly in ``utils/``. Imports inside
functions count like all others; imports for type checkers alone do not.
"""

from __future__ import annotations

import ast
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Layers of utils/, the highest first. A room imports lower layers only, never a neighbour.
UTILS_LAYERS = (
    ("utils.report",),
    ("utils.training",),
    ("utils.losses", "utils.survey", "utils.inference"),
    ("utils.images", "utils.data", "utils.augment", "utils.evaluation", "utils.predict", "utils.run"),
    ("utils.config", "utils.system", "utils.export"),
    ("utils.errors", "utils.dataset_info"),
    ("utils",),  # __init__.py: the version
)
# Layers of the project, the highest first.
PROGRAMS = tuple(sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "trainer"))
LAYERS = (("tools", *PROGRAMS), ("trainer",), ("models", "dataloaders"), ("base",), *UTILS_LAYERS)
TOP_LEVEL = {name.split(".")[0] for layer in LAYERS for name in layer}

# Rooms that a program does without: a machine that only predicts needs no data sets.
NEVER = {
    "inference": {"dataloaders", "trainer", "utils.training"},
    "vote": {"dataloaders", "trainer", "utils.training"},
    "export": {"dataloaders", "trainer", "utils.training"},
    "png2rle": {"dataloaders", "trainer", "models", "base", "utils.training"},
    "evaluate": {"trainer"},
}


def room_of(module: str) -> str:
    """Return the room of a dotted module name of the project."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "utils" and len(parts) > 1 else parts[0]


def files() -> Iterator[Path]:
    """Yield every source file of the rooms."""
    yield from sorted(ROOT.glob("*.py"))
    for package in ("tools", "models", "dataloaders", "base", "utils"):
        yield from sorted((ROOT / package).rglob("*.py"))


def module_of(file: Path) -> str:
    """Return the dotted name of a file."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


@functools.cache
def imported_modules(file: Path) -> frozenset[str]:
    """Return the dotted names of the project's modules that a file imports."""
    found: set[str] = set()
    for node in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_module(node.module, alias.name) for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] in TOP_LEVEL)


def arrows() -> Counter[tuple[str, str]]:
    """Return the number of importing files for every pair of different rooms."""
    found: Counter[tuple[str, str]] = Counter()
    for file in files():
        here = room_of(module_of(file))
        for there in {room_of(name) for name in imported_modules(file)} - {here}:
            found[here, there] += 1
    return found


def floor_of(room: str) -> int:
    """Return the layer of a room, 0 for the lowest."""
    for height, layer in enumerate(reversed(LAYERS)):
        if room in layer:
            return height
    raise AssertionError(f"{room} is in no layer: name it in tests/architecture.py")


def longest_functions() -> list[tuple[int, str]]:
    """Return the length in lines and the name of every function, the longest first."""
    found = []
    for file in files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                found.append((node.end_lineno - node.lineno + 1, f"{module_of(file)}.{node.name}"))
    return sorted(found, reverse=True)


def longest_files() -> list[tuple[int, str]]:
    """Return the length in lines and the name of every file, the longest first."""
    sizes = [(len(file.read_text(encoding="utf-8").splitlines()), module_of(file)) for file in files()]
    return sorted(sizes, reverse=True)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every node outside of ``if TYPE_CHECKING`` blocks."""
    for child in ast.iter_child_nodes(node):
        if (
            isinstance(child, ast.If)
            and isinstance(child.test, ast.Name)
            and child.test.id == "TYPE_CHECKING"
        ):
            continue
        yield child
        yield from _statements(child)


def _module(module: str, name: str) -> str:
    """Return what ``from module import name`` imports: a submodule of that name, else the module."""
    path = ROOT / module.replace(".", "/") / name
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").exists() else module


def main() -> None:
    found = arrows()
    rooms = sorted({room_of(module_of(file)) for file in files()})
    climbing = [(a, b) for a, b in found if floor_of(b) >= floor_of(a)]
    print(
        f"{len(rooms)} rooms on {len(LAYERS)} floors, {len(found)} arrows, {len(climbing)} of them not downward"
    )
    for height, layer in reversed(list(enumerate(reversed(LAYERS)))):
        print(f"  {height:>2}  {'  '.join(room for room in layer if room in rooms)}")
    for (here, there), count in sorted(found.items()):
        print(f"{here} -> {there}: {count}")
    for title, sizes in (("functions", longest_functions()), ("files", longest_files())):
        print(f"longest {title}: " + ", ".join(f"{name} {lines}" for lines, name in sizes[:8]))


if __name__ == "__main__":
    main()
