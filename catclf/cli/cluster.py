"""The workers that --cluster and --insecure name, for commands whose work they can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from catclf.errors import SettingsError

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.cluster.engine import Engine


def address_of(text: str | None, insecure: bool) -> Address | None:
    """The address that --cluster names, before anything is read; None without the option."""
    if text is None:
        if insecure:
            raise SettingsError("--insecure is for --cluster tcp://host:port: give both")
        return None
    from catclf.cluster import parse

    return parse(text, insecure=insecure)


def threads_of(address: Address, workers: int | None) -> int:
    """How many threads, or decoding processes, a worker has; 0 for one on each of its cores."""
    from catclf.machine import cores

    if workers is not None:
        return workers
    return max(1, cores() // address.processes) if address.processes else 0


@contextmanager
def engine_at(address: Address, *, resumes: bool = False) -> Iterator[Engine]:
    """The engine at an address, for a block; a run that ends before its time may be one to resume.

    Raises SettingsError and ClusterError.
    """
    from catclf.cluster.engine import AGAIN, RESUME, connected

    with connected(address, RESUME if resumes else AGAIN) as engine:
        yield engine
