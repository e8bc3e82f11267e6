"""Mutated configs and command lines end as documented."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import Case, run_case, sandbox, take
from benchmarks.fuzz_weights import fault_of, write_files


@pytest.mark.slow
def test_200_mutations_of_configs_and_command_lines_end_without_a_traceback_or_a_hang(tmp_path):
    with sandbox(tmp_path):
        faults = [(case, fault) for case in take(0, 200) if (fault := run_case(case)) is not None]
    assert faults == []


@pytest.mark.slow
def test_a_fault_would_be_noticed(tmp_path, monkeypatch):
    import train

    def broken(argv):
        raise ZeroDivisionError

    with sandbox(tmp_path):
        monkeypatch.setattr(train, "main", broken)
        assert "ZeroDivisionError" in (run_case(Case("train", [])) or "")
        monkeypatch.setattr(train, "main", lambda argv: 99)
        assert run_case(Case("train", [])) == "exit code 99"


def test_60_damaged_files_start_a_network_or_are_refused_in_one_line(tmp_path):
    found = [(kind, fault_of(path)) for kind, path in write_files(tmp_path, 1, 60)]
    assert [entry for entry in found if entry[1] is not None] == []
    assert {kind for kind, _ in found} == {"odd values", "cut", "flip", "overwrite", "insert", "replace"}


def test_a_file_that_is_not_refused_in_one_line_would_be_noticed(tmp_path, monkeypatch):
    from benchmarks import fuzz_weights

    monkeypatch.setattr(fuzz_weights, "start_from", lambda *args: 1 / 0)
    assert "ZeroDivisionError" in (fault_of(tmp_path) or "")
