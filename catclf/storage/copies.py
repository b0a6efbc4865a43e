"""Old names of ``catclf.storage.location``."""

from __future__ import annotations

from catclf.storage.location import AnyPath, locate
from catclf.storage.location import Copy as Copy


def on_disk(path: AnyPath) -> str:
    return locate(path).local()


def renew(path: AnyPath) -> None:
    locate(path).renew()


def state_of(path: AnyPath) -> tuple[int, ...]:
    return locate(path).state()
