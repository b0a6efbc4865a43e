"""Where a cluster is: ``local:N``, ``tcp://…``, ``tls://…`` or ``file:scheduler.json``."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from catclf.errors import ClusterError, SettingsError
from catclf.machine import cores
from catclf.storage.location import locate
from catclf.text import printable, reason

LOCAL_MAX = 1024  # processes on one machine
FORMS = "local:2, tcp://localhost:8786, tls://host:8786 or file:scheduler.json"


@dataclass(frozen=True)
class Address:
    """A scheduler's ``url``, or the number of ``processes`` to start on this machine."""

    url: str = ""
    processes: int = 0

    def __str__(self) -> str:
        return self.url or f"local:{self.processes}"

    def threads(self, workers: int | None) -> int:
        """How many threads, or decoding processes, a worker has; 0 for one on each of its cores."""
        if workers is not None:
            return workers
        return max(1, cores() // self.processes) if self.processes else 0


def parse(text: str, *, insecure: bool = False) -> Address:
    """The address that a text names.

    Raises SettingsError for a text that names none, and for ``tcp://`` beyond this machine unless
    ``insecure``; ClusterError for a scheduler file that cannot be read.
    """
    kind, _, rest = text.partition(":")
    if kind == "local":
        if not rest.isascii() or not rest.isdigit() or not 1 <= int(rest) <= LOCAL_MAX:
            raise SettingsError(f"`cluster={text}` is not a number of processes: try local:2")
        return Address(processes=int(rest))
    url = _from_file(Path(rest)) if kind == "file" else text
    parts = urlsplit(url)
    try:
        complete = parts.scheme in ("tcp", "tls") and bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number
        complete = False
    if not complete:
        raise SettingsError(f"`cluster={printable(text)}` is unknown: give {FORMS}")
    if parts.scheme == "tcp" and not insecure and not _is_this_machine(str(parts.hostname)):
        raise SettingsError(
            f"{printable(url)}: whoever reaches a scheduler over tcp can run code as you, on every "
            "worker: use tls:// with Dask's certificates, or `insecure` on a network of your own"
        )
    return Address(url)


def _from_file(path: Path) -> str:
    """The address in the file that a scheduler of Dask writes for its clients."""
    shown = printable(path)
    try:
        fields = json.loads(locate(path).read())
    except OSError as error:
        raise ClusterError(f"{shown}: {reason(error)}: start the scheduler first") from error
    except (ValueError, RecursionError) as error:
        raise ClusterError(f"{shown}: is not the file of a scheduler") from error
    address = fields.get("address") if isinstance(fields, dict) else None
    if not isinstance(address, str):
        raise ClusterError(f"{shown}: is not the file of a scheduler")
    return address


def _is_this_machine(host: str) -> bool:
    """Whether a host can be reached from this machine alone: no name is looked up for it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
