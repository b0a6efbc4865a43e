"""Compiled loops for features, where Numba is there and there is enough to do.

Compiling takes a second or two, so that it pays after many images; it changes no bit.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import ModuleType

_loading = threading.Lock()
_loaded: list[ModuleType] = []


def kernels(wanted: bool) -> ModuleType | None:
    """The module ``numba_kernels`` where it has been loaded, or now where it is wanted.

    One thread loads it while the others go on without. Without Numba it is None.
    """
    if wanted and not _loaded and _loading.acquire(blocking=False):
        # The lock is never given back: this is tried once.
        with suppress(Exception):  # whatever Numba and its libraries may raise
            from catclf.features import numba_kernels

            _loaded.append(numba_kernels)
    return _loaded[0] if _loaded else None
