"""The option --cluster of ``catclf train``: where the workers are, and what they can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from catclf.cli.cluster import address_of, engine_at, threads_of
from catclf.cli.stdout import warn
from catclf.errors import SettingsError
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.cluster import Address
    from catclf.training import Settings, TrainOptions
    from catclf.training.solve import Cluster


def cluster_address(
    text: str | None, insecure: bool, options: TrainOptions, settings: Settings, data: Path | None
) -> Address | None:
    """The address of --cluster, checked with the other options before anything is read."""
    if text is None:
        return address_of(text, insecure)
    if options.cache is not None:
        raise SettingsError("--cluster keeps features on its workers: leave out --cache")
    if options.fixed_l2 is None or options.fixed_threshold is None:
        raise SettingsError("--cluster does not cross-validate: give --l2 and --threshold a number")
    full = settings.solver in ("gd", "lbfgs") and settings.method != "gram"
    if not full or settings.batch_size or settings.validation:
        raise SettingsError(
            "--cluster makes full passes over all images: use --solver gd or lbfgs (a step of "
            "Newton's method would take a pass for every four features), and neither "
            "--method gram, --batch-size nor a fraction as --validation"
        )
    address = address_of(text, insecure)
    from catclf.datasets.dataset import is_packed

    if data is None or not is_packed(data):
        raise SettingsError(
            "--cluster trains on packed folders, which workers can open: make one with "
            f"catclf data pack {printable(data) if data else 'SOURCE'} -o packed/"
        )
    return address


@contextmanager
def cluster_at(address: Address | None, workers: int | None) -> Iterator[Cluster | None]:
    """The workers at an address, for a block; without an address nothing is loaded."""
    if address is None:
        yield None
        return
    from catclf.cluster.problem import Cluster as Machines

    with engine_at(address, resumes=True) as engine:
        yield Machines(engine, threads_of(address, workers))


def warn_of_solver(options: TrainOptions, solver: str, images: int) -> None:
    """Say on stderr that another solver is taken than on one machine."""
    from catclf.training.automatic import NEWTON_LIMIT

    if options.solver is None and solver == "lbfgs" and images <= NEWTON_LIMIT:
        warn(
            "--cluster trains by --solver lbfgs where one machine would take newton, whose steps "
            "need a pass for every four features: both end at the same optimum"
        )
