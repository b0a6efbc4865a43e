"""What this machine has: cores and memory, as far as a container lets them be used."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from catclf.errors import DataError, SettingsError

is_command = False  # whether the process is the command's own, and so are its descriptors


def cores() -> int:
    """How many cores this process may use: those of its mask, and of its container's quota."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    return max(1, min(count, core_quota()))


def require_workers(workers: int | None) -> None:
    """Raise SettingsError for a number of threads or processes that cannot work."""
    if workers is not None and workers < 1:
        raise SettingsError(f"`workers={workers}` is too small: 1 or more is needed")


def memory() -> int:
    """Bytes of memory that this process may have."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *(limit for limit, _ in memory_limits())])


def require_memory(nbytes: int, shown: str) -> None:
    """Raise DataError when so many bytes cannot be held."""
    if nbytes > 0.8 * memory():
        raise DataError(
            f"{shown} needs {nbytes / 1e9:.1f} GB of memory; this machine has "
            f"{memory() / 1e9:.1f} GB"
        )


def available_memory() -> int:
    """Bytes that can be had without swapping, and without passing a container's limit."""
    left = [limit - used for limit, used in memory_limits()]
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return max(0, min([int(line.split()[1]) * 1024, *left]))
    return max(0, min([memory() // 2, *left]))


@cache
def core_quota(root: Path = Path("/")) -> int:
    """Whole cores that the quota of processor time gives, at least one; a great many without.

    Of control groups in version 2 (cpu.max) and 1 (cpu.cfs_quota_us); see cgroups(7). A share of a
    core counts as one.
    """
    quotas = [1 << 20]
    for folder in _groups(root, "cpu"):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:  # "max" and -1 are no quota
                quotas.append(-(-int(quota) // int(period)))
    return max(1, min(quotas))


def memory_limits(root: Path = Path("/")) -> list[tuple[int, int]]:
    """The bytes that each control group of this process may have, and those that it needs now."""
    limits = []
    for folder in _groups(root, "memory"):
        for limit, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            with suppress(OSError, ValueError):
                most, now = int((folder / limit).read_text()), int((folder / used).read_text())
                limits.append((most, now - _reclaimable(folder)))
    return limits


def _reclaimable(folder: Path) -> int:
    """Bytes of a control group that hold files read long ago, which the system gives up first."""
    with suppress(OSError):
        for line in (folder / "memory.stat").read_text().splitlines():
            if line.startswith(("inactive_file ", "total_inactive_file ")):
                return int(line.split()[1])
    return 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's control groups, from its own up to the highest.

    In a container the path in /proc may be that of the machine, of which only the top is seen.
    """
    with suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            top = root / "sys/fs/cgroup" / (controller if controllers else "")
            folder = top / path.lstrip("/")
            yield from (each for each in (folder, *folder.parents) if each.is_relative_to(top))
