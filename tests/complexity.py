"""List the functions above the limit of cyclomatic complexity: ``python -m tests.complexity``.

Tests are left out, because radon counts each ``assert`` as a branch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from radon.complexity import cc_visit

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 12


def above_limit(source: str, limit: int = LIMIT) -> list[tuple[int, str, int]]:
    """Return (line, name, complexity) of the functions and methods of a source text above ``limit``."""
    blocks = [
        block for block in cc_visit(source) if block.letter != "C"
    ]  # a class is the mean of its methods
    return [(block.lineno, block.fullname, block.complexity) for block in blocks if block.complexity > limit]


def main() -> int:
    """Print the functions above the limit; return 1 if there are any."""
    command = ["git", "ls-files", "--", "*.py", ":!tests"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = 0
    for name in names:
        for line, function, complexity in above_limit((ROOT / name).read_text(encoding="utf-8")):
            print(f"{name}:{line}: {function} has a complexity of {complexity}; at most {LIMIT} is allowed")
            found += 1
    print(f"{len(names)} files, {found} functions above a complexity of {LIMIT}")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
