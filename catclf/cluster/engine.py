"""The one door to Dask: tasks sent to workers, and what is done when some of these die."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from time import monotonic
from typing import Any, TypeVar
from uuid import uuid4

from catclf.cluster.address import Address
from catclf.errors import CatclfError, ClusterError, SettingsError
from catclf.text import counted

WAIT = 60.0  # seconds without any worker until a run gives up
CONNECT = 10.0  # seconds for a scheduler to answer
POLL = 1.0  # seconds between looks at the workers while tasks are done
DEATHS = 3  # workers that a task may kill; on a remote cluster its own setting decides

Result = TypeVar("Result")


class Engine:
    """A connection to a scheduler. Tasks may run twice, and on any worker: they only compute."""

    def __init__(self, client: Any, address: Address) -> None:
        self._client, self.address = client, address
        self._name, self._batches = uuid4().hex, count()

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._addresses())

    def run(
        self, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> list[Result]:
        """The results of ``function(*task)`` for each task, in order.

        A task whose worker dies is done again by another one. No task is bound to a worker, not
        even loosely: Dask would leave it alone for ever when all workers die and come back under
        other addresses. ``shown`` says what a task works on.
        Raises what a task raises, and ClusterError: when there is no worker for ``WAIT`` seconds,
        when a task has killed ``DEATHS`` workers, and when the scheduler is gone.
        """
        batch = next(self._batches)
        with self._explained(shown):
            futures = [
                self._client.submit(
                    function,
                    *task,
                    key=f"catclf-{self._name}-{batch}-{i}",
                    pure=False,
                )
                for i, task in enumerate(tasks)
            ]
            self._wait(futures)
            results: list[Result] = self._client.gather(futures)
            return results

    def _wait(self, futures: list[Any]) -> None:
        import distributed  # noqa: TID251

        wait: Any = distributed.wait
        alone: float | None = None
        while True:
            try:
                with self._client.as_current():
                    wait(futures, timeout=POLL)
            except TimeoutError:
                if self._client.status != "running":
                    raise self._gone() from None
                alone = (alone or monotonic()) if not self.workers else None
                if alone is not None and monotonic() - alone > WAIT:
                    raise _no_worker(self.address) from None
            else:
                return

    def _addresses(self) -> list[str]:
        return list(self._client.scheduler_info(n_workers=-1)["workers"])

    @contextmanager
    def _explained(self, shown: list[str]) -> Iterator[None]:
        """Failures of Dask as ClusterError, failures of the work as they are."""
        from distributed import CancelledError, KilledWorker  # noqa: TID251

        try:
            yield
        except CatclfError:
            raise
        except KilledWorker as error:
            what = shown[int(str(error.task).rpartition("-")[2])]
            raise ClusterError(
                f"{what}: {counted(error.allowed_failures + 1, 'worker')} died of the same task: "
                "look for a damaged shard, or too little memory"
            ) from error
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self._client.status == "running":
                raise ClusterError(f"a worker failed: {type(error).__name__}: {error}") from error
            raise self._gone() from error
        except ImportError as error:
            raise ClusterError(
                f"a worker cannot load what it needs ({error}): install there what is here, "
                "python -m pip install 'catclf[cluster]'"
            ) from error
        except Exception as error:
            first = (str(error) or "no message").splitlines()[0]
            raise ClusterError(f"a worker failed: {type(error).__name__}: {first}") from error

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"{self.address}: the scheduler is gone: start it again, and go on from the last "
            "checkpoint, if one was kept, with `resume`"
        )


@contextmanager
def connected(address: Address) -> Iterator[Engine]:
    """An engine with one worker or more, for a block. Raises SettingsError and ClusterError."""
    try:
        import dask  # noqa: TID251
        import distributed  # noqa: TID251

        library: Any = distributed
    except ImportError as error:
        raise SettingsError(
            f"`cluster` needs Dask ({error}): python -m pip install 'catclf[cluster]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # failures become one line
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": DEATHS - 1}),
        ExitStack() as stack,
    ):
        try:
            place: Any = address.url
            if address.processes:
                place = _local(library, address.processes)
                stack.callback(_close, place, 10)
            client = library.Client(place, timeout=CONNECT, set_as_default=False)
        except OSError as error:
            raise ClusterError(f"{address}: no scheduler answers there: start it first") from error
        stack.callback(_close, client, 2)
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError as error:
            raise _no_worker(address) from error
        yield Engine(client, address)


def _close(closable: Any, seconds: int) -> None:
    with suppress(Exception):  # all results are here, and processes end with this one
        closable.close(timeout=seconds)


def _local(distributed: Any, processes: int) -> Any:
    """Worker processes on this machine, that are started anew when they die."""
    return distributed.LocalCluster(
        n_workers=processes,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        memory_limit=None,
        silence_logs=logging.CRITICAL,
    )


def _no_worker(address: Address) -> ClusterError:
    return ClusterError(
        f"{address}: no worker for {WAIT:.0f} seconds: start one, and go on from the last "
        "checkpoint, if one was kept, with `resume`"
    )
