"""Memory of this process on Linux: what it takes, its peak, and what it may still take."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
# (folder of the hierarchy, file of the limit, of the usage, entry of memory.stat that the kernel can drop)
_V2 = ("", "memory.max", "memory.current", "inactive_file")
_V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def resident() -> int | None:
    """Return the bytes of memory that the process takes now; ``None`` where they cannot be read."""
    return _status("VmRSS")


def peak() -> int | None:
    """Return the most bytes of memory that the process has taken since :func:`reset_peak`, or since it started.

    ``None`` where they cannot be read.
    """
    value = _status("VmHWM")
    if value is not None:
        return value
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return most if sys.platform == "darwin" else most * 1024


def reserved() -> int | None:
    """Return the bytes of address space that the process has for data, used or not; ``None`` if unknown."""
    return _status("VmData")


def reset_peak() -> bool:
    """Let :func:`peak` count from now on; return False where the system does not allow it."""
    try:
        (PROC / "self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def available() -> int | None:
    """Return the bytes that the process can still take before the system runs out, swap left out.

    The least of what the machine, the control groups (v1 and v2) that hold the process and its resource limits
    leave; ``None`` where the machine does not tell.
    """
    machine = _entries(PROC / "meminfo").get("MemAvailable")
    if machine is None:
        return None
    return max(0, min([machine, *_left_in_groups(), *_left_of_limits()]))


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Let an allocation fail inside the block that would make :func:`reserved` more than ``size`` bytes.

    Without it, the kernel would kill the process. Where there are no such limits, the block runs without.
    """
    try:
        import resource
    except ImportError:  # Windows
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([size, *limits]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _left_in_groups() -> Iterator[int]:
    """Yield what the limit of each control group leaves that holds the process."""
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or controllers == "memory":
                yield from _left_up_from(path.strip("/"), _V2 if number == "0" else _V1)


def _left_up_from(path: str, names: tuple[str, str, str, str]) -> Iterator[int]:
    folder, limit_name, usage_name, droppable = names
    top = CGROUPS / folder
    for group in (top / path, *(top / path).parents):
        if not group.is_relative_to(top):
            return
        limit, usage = _number(group / limit_name), _number(group / usage_name)
        if limit is not None and usage is not None:
            yield limit - usage + _entries(group / "memory.stat").get(droppable, 0)


def _left_of_limits() -> Iterator[int]:
    """Yield what ``ulimit -v`` and ``ulimit -d`` leave."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, entry in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit, taken = resource.getrlimit(kind)[0], _status(entry)
        if limit != resource.RLIM_INFINITY and taken is not None:
            yield limit - taken


def _status(entry: str) -> int | None:
    return _entries(PROC / "self/status").get(entry)


def _entries(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines such as ``VmRSS:  12 kB`` in bytes; empty if it cannot be read."""
    found = {}
    with suppress(OSError):
        for line in path.read_text().splitlines():
            name, *words = line.replace(":", " ").split()
            if words and words[0].isdigit():
                found[name] = int(words[0]) * (1024 if words[1:] == ["kB"] else 1)
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())  # "max" is no limit
    except (OSError, ValueError):
        return None
