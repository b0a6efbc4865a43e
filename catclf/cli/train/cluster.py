"""The option --cluster of ``catclf train``: where the workers are, and what they can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from catclf.errors import SettingsError

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.training import Settings, TrainOptions
    from catclf.training.solve import Cluster


def cluster_address(
    text: str | None, insecure: bool, options: TrainOptions, settings: Settings
) -> Address | None:
    """The address of --cluster, checked with the other options before anything is read."""
    if text is None:
        if insecure:
            raise SettingsError("--insecure is for --cluster tcp://host:port: give both")
        return None
    if options.encodes:
        raise SettingsError("--cluster trains on pixels: leave out --features and --flip")
    if options.fixed_l2 is None or options.fixed_threshold is None:
        raise SettingsError("--cluster does not cross-validate: give --l2 and --threshold a number")
    full = settings.solver in ("gd", "lbfgs") and settings.method != "gram"
    if not full or settings.batch_size or settings.validation:
        raise SettingsError(
            "--cluster makes full passes over all images: use --solver gd or lbfgs, and neither "
            "--method gram, --batch-size nor a fraction as --validation"
        )
    from catclf.cluster import parse

    return parse(text, insecure=insecure)


@contextmanager
def cluster_at(address: Address | None, workers: int | None) -> Iterator[Cluster | None]:
    """The workers at an address, for a block; without an address nothing is loaded."""
    if address is None:
        yield None
        return
    from catclf.cluster.engine import connected
    from catclf.cluster.problem import Cluster as Machines
    from catclf.machine import cores

    threads = workers or (max(1, cores() // address.processes) if address.processes else 0)
    with connected(address) as engine:
        yield Machines(engine, threads)
