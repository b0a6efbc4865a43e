"""Shards of a packed folder written by workers, each of them from its own rows alone.

Workers must see the source, and the folder, under the same paths or URLs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from catclf.cluster.engine import Engine
from catclf.cluster.sent import Sender, Sent
from catclf.datasets import Listing, Split
from catclf.datasets.packed import Job, Made
from catclf.errors import CatclfError
from catclf.storage.location import locate


@dataclass(frozen=True)
class Packers:
    """Workers that write the shards of ``path``; each has ``threads`` decoders (0: its cores)."""

    engine: Engine
    path: Path
    threads: int = 0

    def done(self, listing: Listing, split: Split, jobs: Sequence[Job]) -> Iterator[Made]:
        """The shards in the order in which they are done.

        A shard that fails is no reason not to write the others. Raises the last of such failures.
        """
        report, m = listing.options.on_progress, len(listing)
        plain = listing.with_options(on_progress=None, encoder=None, workers=self.threads or None)
        sender = Sender(plain, self.path, split)
        output = Path(locate(jobs[0].output).absolute) if jobs else Path()
        tasks = [(sender.rows(job.first, job.stop), replace(job, output=output)) for job in jobs]
        shown = [f"{listing.shown}, images {job.first} to {job.stop - 1}" for job in jobs]
        failure: CatclfError | None = None
        done = 0
        for number, result in self.engine.each(made, tasks, shown):
            if isinstance(result, CatclfError):
                failure = result
                continue
            yield result
            done += jobs[number].stop - jobs[number].first
            if report is not None:
                report(done, m)
        if failure is not None:
            raise failure


def made(sent: Sent, job: Job) -> Made:
    """The task that writes a shard, or keeps it. Raises DataError and OutputError."""
    return job.done(sent.opened())
