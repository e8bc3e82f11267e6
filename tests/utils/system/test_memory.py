"""Memory of the process: read from files of the kernel, checked against an allocation of a known size."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest

from utils.system import memory

MIB = 2**20


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    """A machine of 1000 kB available memory without control groups."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "groups")
    write(tmp_path / "proc/meminfo", "MemTotal: 4000 kB\nMemAvailable:    1000 kB\n")
    write(
        tmp_path / "proc/self/status", "Name:\tpython\nVmRSS:\t 300 kB\nVmSize:\t 800 kB\nVmData:\t 400 kB\n"
    )
    return tmp_path


def test_the_peak_counts_what_was_freed_before_it_was_asked_for():
    before = memory.resident()
    assert memory.reset_peak() and memory.peak() - before < 8 * MIB
    np.ones(64 * MIB, np.uint8)
    assert 56 * MIB < memory.peak() - before < 80 * MIB
    assert memory.peak() >= memory.resident() > 10 * MIB


def test_an_allocation_beyond_a_limit_fails_and_the_next_succeeds():
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), memory.limited_to(memory.reserved() + 100 * MIB):
        np.ones(10 * MIB, np.uint8)
        np.ones(400 * MIB, np.uint8)
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits
    np.empty(400 * MIB, np.uint8)


def test_without_control_groups_the_machine_decides(machine):
    assert memory.available() == 1000 * 1024


V2 = {"proc/self/cgroup": "0::/a/b\n", "groups/a/b/memory.max": "max\n", "groups/a/b/memory.current": "5\n"}
V1 = {"proc/self/cgroup": "7:cpu:/x\n4:memory:/a\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({**V2, "groups/a/memory.max": "9000", "groups/a/memory.current": "8000"}, 1000),
        ({**V2, "groups/a/b/memory.max": "700", "groups/a/b/memory.stat": "anon 3\ninactive_file 2\n"}, 697),
        ({**V2, "groups/memory.max": "8", "groups/memory.current": "9"}, 0),  # over its limit
        (V2, 1000 * 1024),
        (
            {
                **V1,
                "groups/memory/a/memory.limit_in_bytes": "6000",
                "groups/memory/a/memory.usage_in_bytes": "5000",
                "groups/memory/a/memory.stat": "total_inactive_file 100\n",
            },
            1100,
        ),
        (V1, 1000 * 1024),  # the groups are hidden from a container
    ],
)
def test_the_tightest_control_group_decides(machine, files, left):
    for name, text in files.items():
        write(machine / name, text)
    assert memory.available() == left


def test_limits_of_the_process_count(machine, monkeypatch):
    limits = {resource.RLIMIT_AS: 900 * 1024, resource.RLIMIT_DATA: resource.RLIM_INFINITY}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    assert memory.available() == 100 * 1024


def test_a_system_that_tells_nothing(machine):
    (machine / "proc/meminfo").unlink()
    (machine / "proc/self/status").unlink()
    assert memory.available() is None and memory.resident() is None and memory.reserved() is None
    assert memory.peak() == resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    memory.PROC.joinpath("self").rename(machine / "gone")
    assert not memory.reset_peak()
