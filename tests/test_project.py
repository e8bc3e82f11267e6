"""Files around the code: packaging, versions, hosted CI, hooks, the complexity check."""

from __future__ import annotations

import re

import pytest

import utils
from tests.complexity import LIMIT, above_limit
from tests.conftest import ROOT


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_an_installation_would_contain_no_importable_package():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    tables = tomllib.loads(read("pyproject.toml"))
    assert tables["tool"]["setuptools"] == {"packages": [], "py-modules": []}
    assert "scripts" not in tables["project"]


def test_all_files_name_the_same_version():
    assert f'\nversion = "{utils.__version__}"' in read("pyproject.toml")
    assert f"\nversion: {utils.__version__}\n" in read("CITATION.cff")
    released = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", read("CHANGELOG.md"), re.MULTILINE)
    assert released[:2] == ["Unreleased", utils.__version__]


def test_release_dates_agree():
    (date,) = re.findall(r'^date-released: "(.+)"$', read("CITATION.cff"), re.MULTILINE)
    assert f"## [{utils.__version__}] - {date}" in read("CHANGELOG.md")


def test_hosted_ci_runs_the_same_script_as_developers_do():
    assert re.findall(r"^ +run: (.+)$", read(".github/workflows/ci.yml"), re.MULTILINE) == ["bash .ci/run"]


def test_hooks_are_checks_of_ci():
    entries = re.findall(
        r"^ +entry: (\w+(?: check| format| --strict))", read(".pre-commit-config.yaml"), re.MULTILINE
    )
    assert len(entries) == 3
    for entry in entries:
        assert f'"{entry}' in read(".ci/run"), entry


@pytest.mark.parametrize("branches", [LIMIT - 1, LIMIT])
def test_a_function_above_the_limit_is_named_with_its_line(branches: int):
    body = "".join(f"        if x == {number}: pass\n" for number in range(branches))
    found = above_limit(f"class A:\n    def walk(self, x):\n{body}")
    assert found == ([] if branches < LIMIT else [(2, "A.walk", LIMIT + 1)])
