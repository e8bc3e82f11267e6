"""Setting of the C allocator, in a process of its own."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from utils.system import allocator
from utils.system.allocator import keep_freed_memory

FAULTS = """
import sys; sys.path.insert(0, sys.argv[1])
import ctypes, resource
from utils.system.allocator import keep_freed_memory
if sys.argv[2] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    block = libc.malloc(64 * 2**20)
    libc.memset(block, 1, 64 * 2**20)
    libc.free(block)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def has_glibc() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.slow
@pytest.mark.skipif(not has_glibc(), reason="the setting is one of glibc")
def test_a_freed_block_is_used_again_without_page_faults():
    faults = []
    for way in ("default", "keep"):
        command = [sys.executable, "-c", FAULTS, str(ROOT), way]
        faults.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    default, kept = faults
    assert kept < 100 and default > 10 * max(kept, 1)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(monkeypatch, platform):
    monkeypatch.setattr(allocator.sys, "platform", platform)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("the C library was opened"))
    assert keep_freed_memory() is False


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # musl has no mallopt
    assert keep_freed_memory() is False
