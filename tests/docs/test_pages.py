"""Commands, options, links and file names of all pages are right."""

from __future__ import annotations

import importlib
import re
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, commands, inline_code, prose, read

SCRIPTS = ("train", "inference", "evaluate", "vote", "png2rle", "export", "init_config", "check_data")
TOOLS = [f"tools.{path.stem}" for path in sorted((ROOT / "tools").glob("[a-z]*.py"))]
# commands that are found at least, so that none escapes the search
LEAST = {
    "README.md": 17,
    "CONTRIBUTING.md": 7,
    "docs/training.md": 8,
    "docs/data.md": 6,
    "docs/inference.md": 9,
}
WITHOUT_PARSER = ("models", "tests.complexity")  # modules whose main() reads sys.argv itself


def check_command(words: list[str]) -> None:
    """Parse a command with the parser of its program; a wrong option raises SystemExit."""
    program, *arguments = words
    if program == "pip":
        for flag, name in pairwise(arguments):
            assert flag != "-r" or (ROOT / name).exists(), name
    elif program == "bash":
        assert (ROOT / arguments[0]).exists(), arguments[0]
    elif arguments[0] == "-m" and arguments[1] == "pytest":
        assert not any(word.startswith("tests") and not (ROOT / word).exists() for word in arguments), words
    elif arguments[0] == "-m" and arguments[1] in WITHOUT_PARSER:
        check_options(Path(*arguments[1].split(".")), arguments[2:])
    elif arguments[0] == "-m":
        if arguments[1] != "venv":
            importlib.import_module(arguments[1]).parse_arguments(arguments[2:])
    elif arguments[0].startswith("benchmarks/"):
        check_options(Path(arguments[0]).with_suffix(""), arguments[1:])
    else:
        importlib.import_module(arguments[0].removesuffix(".py")).parse_arguments(arguments[1:])


def check_options(module: Path, arguments: list[str]) -> None:
    """Compare options with the source of a program that has no separate parser."""
    file = ROOT / module / "__main__.py"
    source = (file if file.exists() else (ROOT / module).with_suffix(".py")).read_text(encoding="utf-8")
    for option in arguments:
        assert not option.startswith("--") or f'"{option}"' in source, option


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_accepted_by_their_programs(page: str):
    found = list(commands(page))
    for words in found:
        check_command(words)
    assert len(found) >= LEAST.get(page, 0)


def test_a_wrong_option_would_be_noticed():
    with pytest.raises(SystemExit):
        check_command(["python", "train.py", "--confgi", "config.json"])
    with pytest.raises(AssertionError):
        check_command(["python", "benchmarks/losses.py", "--round", "3"])
    with pytest.raises(AssertionError):
        check_command(["pip", "install", "-r", "requirements/none.txt"])


@pytest.fixture(scope="module")
def known_options() -> set[str]:
    """The long options of all commands, from their --help."""
    import contextlib
    import io

    text = io.StringIO()
    for name in (*SCRIPTS, *TOOLS):
        with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
            importlib.import_module(name).parse_arguments(["--help"])
    return set(re.findall(r"--[a-z][\w-]*", text.getvalue()))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "CONTRIBUTING.md"])
def test_options_in_the_text_exist(page: str, known_options: set[str]):
    mentioned = {
        option
        for code in inline_code(page)
        if not code.startswith(("python benchmarks", "python -m models", "python -m pytest", "pip install"))
        for option in re.findall(r"(?<!\S)--[a-z][\w-]*", code)
    }
    assert mentioned <= known_options


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_links_lead_to_existing_files_and_headings(page: str):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.resolve().relative_to(ROOT).as_posix()), target


@pytest.mark.parametrize("page", PAGES)
def test_project_files_in_the_text_exist(page: str):
    folders = "base|benchmarks|configs|dataloaders|docs|models|requirements|tests|tools|utils"
    path = re.compile(rf"(?:{folders})/[\w./]*|(?:{'|'.join(SCRIPTS)}|trainer)\.py")
    for code in filter(path.fullmatch, inline_code(page)):
        assert (ROOT / code).exists(), code
