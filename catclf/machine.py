"""What this machine has: cores and memory."""

from __future__ import annotations

import os
from pathlib import Path

from catclf.errors import DataError, SettingsError


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def require_workers(workers: int | None) -> None:
    """Raise SettingsError for a number of threads or processes that cannot work."""
    if workers is not None and workers < 1:
        raise SettingsError(f"`workers={workers}` is too small: 1 or more is needed")


def memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(nbytes: int, shown: str) -> None:
    """Raise DataError when so many bytes cannot be held."""
    if nbytes > 0.8 * memory():
        raise DataError(
            f"{shown} needs {nbytes / 1e9:.1f} GB of memory; this machine has "
            f"{memory() / 1e9:.1f} GB"
        )


def available_memory() -> int:
    """Bytes that can be had without swapping."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
