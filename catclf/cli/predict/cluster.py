"""The option --cluster of ``catclf predict``: shards scored by workers, as without a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from catclf.cli.cluster import engine_at, threads_of
from catclf.cli.predict.outputs import Shard, Tally
from catclf.cli.predict.run import Elsewhere, Job
from catclf.cli.stdout import warn
from catclf.errors import CatclfError, InputError, ModelError
from catclf.images.walk import LeftOut
from catclf.storage.location import is_remote
from catclf.terminal.stream import use_colour
from catclf.text import printable

if TYPE_CHECKING:
    from catclf.cli.signals import Signals
    from catclf.cluster import Address
    from catclf.cluster.engine import Engine
    from catclf.images.preprocess import Limits
    from catclf.model import Model


@dataclass
class Report:
    """What a worker counted and had to say while it scored a shard."""

    tally: Tally
    left_out: LeftOut
    lines: list[str]


def run_by_workers(
    job: Job, shards: list[Shard], limits: Limits, signals: Signals, tally: Tally, address: Address
) -> LeftOut:
    """Score each shard by a worker, which writes its output; the files that were left out.

    A shard that fails is no reason not to score the others. Raises the last of such failures.
    """
    left_out, failed = LeftOut(), list[CatclfError]()
    if not shards:
        return left_out
    told = Elsewhere(
        several=len(shards) > 1,
        encoding=getattr(sys.stdout, "encoding", None) or "utf-8",
        colour=use_colour(sys.stdout),
        workers=threads_of(address, None) or None,
    )
    from catclf.model.file import load_signed
    from catclf.terminal.progress import counting_results

    sent = replace(job, elsewhere=told)
    where = _meant_from(job, shards), load_signed(job.model)[1]
    with (
        _engine(address, signals) as engine,
        counting_results("scoring images", job.quiet) as on_progress,
    ):
        tasks = [(sent, shard, limits, *where) for shard in shards]
        ends = engine.each(score, tasks, [printable(paths[0]) for paths, _ in shards])
        while (end := _next(ends, signals)) is not None:
            if isinstance(end, CatclfError):
                failed.append(end)
                continue
            for line in end.lines:
                warn(line)
            tally.add(end.tally)
            left_out.update(end.left_out)
            on_progress(tally.done, None)
    for error in failed[:-1]:
        warn(str(error))
    if failed:
        raise failed[-1]
    return left_out


def _meant_from(job: Job, shards: list[Shard]) -> str:
    """The folder that paths are meant from; none where all of them hold in any folder."""
    paths = [str(job.model)]
    for arguments, output in shards:
        paths += [*arguments, *([] if output is None else [str(output)])]
    anywhere = all(is_remote(path) or Path(path).is_absolute() for path in paths)
    return "" if anywhere else str(Path.cwd())


@contextmanager
def _engine(address: Address, signals: Signals) -> Iterator[Engine]:
    """Workers for a block; a signal may end the run while they are waited for."""
    with ExitStack() as stack:
        with signals.pause:
            engine = stack.enter_context(engine_at(address))
        yield engine


def _next(
    ends: Iterator[tuple[int, Report | CatclfError]], signals: Signals
) -> Report | CatclfError | None:
    """What is done next, or None; only while it is waited for may a signal end the run."""
    with signals.pause:
        return next(ends, (0, None))[1]


def score(job: Job, shard: Shard, limits: Limits, folder: str, digest: str) -> Report:
    """The task of a worker. Raises as ``predict`` does, and ModelError for another model."""
    lines: list[str] = []
    tally = Tally(lines.append)
    with _working_in(folder):
        trained = _model(job.model, folder, digest)
        left_out = job.run([shard], limits, nullcontext(), tally, trained)
    return Report(tally, left_out, lines)


@lru_cache(maxsize=1)
def _model(path: Path, folder: str, digest: str) -> Model:
    """The model of a run, which a worker reads once. Raises ModelError for another one.

    Its file is known by its SHA-256; a path may be meant from the folder.
    """
    from catclf.model.file import load_signed

    model, found = load_signed(path)
    if found != digest:
        raise ModelError(f"{printable(path)}: a worker sees another model there")
    return model


_folder = Lock()


@contextmanager
def _working_in(folder: str) -> Iterator[None]:
    """The folder that relative paths are meant from: a process has one, and so has its turn."""
    if not folder:
        yield
        return
    with _folder:
        before = Path.cwd()
        try:
            os.chdir(folder)
        except OSError as error:
            raise InputError(f"{printable(folder)}: a worker sees no such folder") from error
        try:
            yield
        finally:
            os.chdir(before)
