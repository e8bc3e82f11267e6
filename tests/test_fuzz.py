"""Mutated configs and command lines end as documented."""

from __future__ import annotations

import pytest

from benchmarks.fuzz import Case, run_case, sandbox, take


@pytest.mark.slow
def test_200_mutations_of_configs_and_command_lines_end_without_a_traceback_or_a_hang(tmp_path):
    with sandbox(tmp_path):
        faults = [(case, fault) for case in take(0, 200) if (fault := run_case(case)) is not None]
    assert faults == []


def test_a_fault_would_be_noticed(tmp_path, monkeypatch):
    import train

    def broken(argv):
        raise ZeroDivisionError

    with sandbox(tmp_path):
        monkeypatch.setattr(train, "main", broken)
        assert "ZeroDivisionError" in (run_case(Case("train", [])) or "")
        monkeypatch.setattr(train, "main", lambda argv: 99)
        assert run_case(Case("train", [])) == "exit code 99"
