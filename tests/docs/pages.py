"""The pages of the documentation, and what tests read from them: code blocks, commands, links, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from tests.conftest import ROOT

PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str, language: str = "", heading: str = "") -> list[str]:
    """Code blocks of one language, of a page or of the section under a heading."""
    text = read(page)
    if heading:
        start = text.index(f"\n{heading}\n") + len(heading) + 1
        level = heading.split(" ")[0]
        following = re.compile(rf"^#{{1,{len(level)}}} ", re.MULTILINE).search(text, start)
        text = text[start : following.start() if following else None]
    return [
        body
        for name, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        if name == language
    ]


def prose(page: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", read(page), flags=re.DOTALL | re.MULTILINE)


def inline_code(page: str) -> list[str]:
    """The texts between backticks, line breaks removed."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose(page))]


def commands(page: str) -> Iterator[list[str]]:
    """The words of each shell command of a page, from code blocks and from inline code."""
    lines = [
        line for language in ("", "bash") for block in fences(page, language) for line in block.splitlines()
    ]
    for line in [*lines, *inline_code(page)]:
        for command in re.split(r"&&|;", re.sub(r"(^|\s)#.*", "", line)):
            if re.match(r"(python|pip|bash) \S", command.strip()):
                yield shlex.split(command)


def table(page: str, header: str) -> list[list[str]]:
    """The cells of the rows of the first table whose header line starts with ``header``."""
    lines = read(page).split(f"\n{header}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
