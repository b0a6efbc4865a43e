"""The one door to Dask: tasks sent to workers, and what is done when some of these die."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic, sleep
from typing import Any, TypeVar, cast
from uuid import uuid4

from catclf.cluster.address import Address
from catclf.errors import CatclfError, ClusterError, SettingsError
from catclf.text import counted, to_install
from catclf.version import __version__

WAIT = 60.0  # seconds without any worker until a run gives up
SETTLE = 0.5  # seconds in which a further worker comes, if it comes at once
CONNECT = 10.0  # seconds for a scheduler to answer
POLL = 1.0  # seconds between looks at the workers while tasks are done
# What to do when a run has ended before its time, but for starting what was missing.
RESUME = "go on from the last checkpoint, if one was kept, with `resume`"
AGAIN = "run this again: what is done stays"
LOOKED_AT = 256  # workers that are asked for their version
_INSTALL = "install there what is here"
DEATHS = 3  # workers that a task may kill; on a remote cluster its own setting decides

Result = TypeVar("Result")


class Engine:
    """A connection to a scheduler. Tasks may run twice, and on any worker: they only compute.

    No task is bound to a worker, not even loosely: Dask would leave it alone for ever when all
    workers die and come back under other addresses. But it gives a task to the worker that has
    the results which the task needs.
    """

    def __init__(self, client: Any, address: Address, again: str = RESUME) -> None:
        self._client, self.address, self.again = client, address, again
        self._name, self._batches = uuid4().hex, count()
        self._shown: dict[str, str] = {}

    @property
    def is_running(self) -> bool:
        """Whether the scheduler answers."""
        return bool(self._client.status == "running")

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def settle(self) -> None:
        """Wait until no more workers come, where others have started them."""
        before = 0
        while self.address.url and self.workers > before:
            before = self.workers
            sleep(SETTLE)

    def run(
        self, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> list[Result]:
        """The results of ``function(*task)`` for each task, in order.

        A task whose worker dies is done again by another one. ``shown`` says what a task works
        on; among the arguments may be what ``keep`` has given.
        Raises what a task raises, and ClusterError: when there is no worker for ``WAIT`` seconds,
        when a task has killed ``DEATHS`` workers, and when the scheduler is gone.
        """
        futures = self.keep(function, tasks, shown)
        with self._explained():
            results: list[Result] = self._client.gather(futures)
        for future in futures:
            del self._shown[future.key]
        return results

    def keep(
        self,
        function: Callable[..., Any],
        tasks: Sequence[tuple[Any, ...]],
        shown: list[str],
        *,
        everywhere: bool = False,
    ) -> list[Any]:
        """The same with the results left on the workers, as long as the list is kept here.

        What a worker that dies has kept is made again. With ``everywhere`` each worker gets a copy,
        so that Dask does not give all tasks that need a result to the worker that has it. Raises
        as ``run`` does.
        """
        import distributed  # noqa: TID251

        wait: Any = distributed.wait
        with self._explained():
            futures, alone, waiting = self._submitted(function, tasks, shown), 0.0, True
            while waiting:
                try:
                    with self._client.as_current():
                        wait(futures, timeout=POLL)
                    waiting = False
                except TimeoutError:
                    alone = self._alone_since(alone)
            for future in futures:
                if future.status != "finished":
                    future.result()
            if everywhere:
                self._client.replicate(futures)
        return futures

    def each(
        self, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> Iterator[tuple[int, Result | CatclfError]]:
        """The number of each task with its result, or with its failure, as they are done.

        Raises ClusterError as ``run`` does, but not for a task that killed its workers. Dask blames
        all tasks that such a worker was given: where there are several, each is done once more
        alone.
        """
        blamed = list[tuple[int, _KilledError]]()
        for number, result in self._ends(function, tasks, shown):
            if isinstance(result, _KilledError):
                blamed.append((number, result))
            else:
                yield number, result
        for number, error in blamed:
            if len(blamed) == 1:
                yield number, error
                continue
            for _, result in self._ends(function, [tasks[number]], [shown[number]]):
                yield number, result

    def _ends(
        self, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> Iterator[tuple[int, Result | CatclfError]]:
        done: SimpleQueue[Any] = SimpleQueue()
        with self._explained():
            futures = self._submitted(function, tasks, shown)
            numbers = {future.key: number for number, future in enumerate(futures)}
            for future in futures:
                future.add_done_callback(done.put)
            del futures[:]  # the results of those that are done are not kept
        alone = 0.0
        while numbers:
            try:
                future = done.get(timeout=POLL)
            except Empty:
                with self._explained():
                    alone = self._alone_since(alone)
                continue
            try:
                with self._explained():
                    result: Result | CatclfError = future.result()
            except CatclfError as error:
                if not self.is_running:
                    raise
                result = error
            yield numbers.pop(future.key), result

    def _submitted(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> list[Any]:
        if not tasks:  # which Dask refuses
            return []
        import distributed  # noqa: TID251
        from distributed.protocol import pickle  # noqa: TID251

        batch, library, dumps = next(self._batches), cast(Any, distributed), cast(Any, pickle.dumps)
        keys = [f"catclf-{self._name}-{batch}-{i}" for i in range(len(tasks))]
        self._shown |= zip(keys, shown, strict=True)
        places = [i for i, each in enumerate(tasks[0]) if isinstance(each, library.Future)]
        kept = [[task[place] for task in tasks] for place in places]
        contents = [
            dumps((function, [None if i in places else task[i] for i in range(len(task))]))
            for task in tasks
        ]
        # One message for all of them: a third of the time of one for each.
        futures: list[Any] = self._client.map(
            _sent_call(places), contents, *kept, key=keys, pure=False
        )
        return futures

    def _alone_since(self, alone: float) -> float:
        """Since when there is no worker; 0 where there is one.

        Raises ClusterError when the scheduler is gone, or no worker came for WAIT seconds.
        """
        if not self.is_running:
            raise self.gone()
        if self.workers:
            return 0.0
        alone = alone or monotonic()
        if monotonic() - alone > WAIT:
            raise _no_worker(self.address, self.again)
        return alone

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of Dask as ClusterError, failures of the work as they are."""
        from distributed import CancelledError, KilledWorker  # noqa: TID251

        try:
            yield
        except CatclfError:
            raise
        except KilledWorker as error:
            what = self._shown.get(str(error.task), "a task")
            raise _KilledError(
                f"{what}: {counted(error.allowed_failures + 1, 'worker')} died of the same task: "
                "look for a damaged shard, or too little memory"
            ) from error
        except (CancelledError, OSError) as error:
            if isinstance(error, OSError) and self.is_running:
                raise ClusterError(f"a worker failed: {type(error).__name__}: {error}") from error
            raise self.gone() from error
        except ImportError as error:
            raise ClusterError(
                f"a worker cannot load what it needs ({error}): {_INSTALL}"
            ) from error
        except Exception as error:
            first = (str(error) or "no message").splitlines()[0]
            raise ClusterError(f"a worker failed: {type(error).__name__}: {first}") from error

    def gone(self) -> ClusterError:
        """The error where the scheduler does not answer any more."""
        return ClusterError(
            f"{self.address}: the scheduler is gone: start it again, and {self.again}"
        )


class _KilledError(ClusterError):
    """A task whose workers died."""


def _sent_call(places: list[int]) -> Callable[..., Any]:
    """The function of tasks, sent by value: what it calls is unpacked when it runs.

    A worker that cannot unpack a message ends; a task that cannot import something just fails.
    ``places`` are those of arguments that other tasks have made.
    """

    def call(content: bytes, *kept: Any) -> Any:
        import pickle

        function, arguments = pickle.loads(content)
        for place, each in zip(places, kept, strict=True):
            arguments[place] = each
        from catclf.cluster.engine import scratch
        from catclf.storage.location import put_in

        put_in(scratch())  # copies of remote files end with the worker, however that ends
        return function(*arguments)

    return call


def scratch() -> Path:
    """The folder of a worker's own files, which Dask removes when the worker ends."""
    import distributed  # noqa: TID251

    library: Any = distributed
    return Path(library.get_worker().local_directory)


@contextmanager
def connected(address: Address, again: str = RESUME) -> Iterator[Engine]:
    """An engine with one worker or more, for a block.

    ``again`` tells how to go on where the scheduler or all workers are gone. Raises SettingsError
    and ClusterError.
    """
    try:
        import dask  # noqa: TID251
        import distributed  # noqa: TID251

        library: Any = distributed
    except ImportError as error:
        raise SettingsError(f"`cluster` needs Dask ({error}): {to_install('cluster')}") from error
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(("distributed", "tornado")):  # failures become one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
    options = {
        "distributed.scheduler.allowed-failures": DEATHS - 1,
        # Of a local worker's place, when it has died and is not back: on a busy machine it is given
        # up after 15 seconds, though it is being started.
        "distributed.deploy.lost-worker-timeout": "1h",
    }
    with dask.config.set(options), ExitStack() as stack:
        client = _client(library, address, stack)
        try:
            client.wait_for_workers(1, timeout=WAIT)
        except TimeoutError as error:
            raise _no_worker(address, again) from error
        if address.url:
            _require_same_version(client, address)
        engine = Engine(client, address, again)
        engine.settle()
        yield engine


def _client(library: Any, address: Address, stack: ExitStack) -> Any:
    """A client of Dask, closed with the stack. Raises SettingsError and ClusterError."""
    try:
        place: Any = address.url
        if address.processes:
            place = _local(library, address.processes)
            stack.callback(_close, place, 10)
        client = library.Client(place, timeout=CONNECT, set_as_default=False)
    except OSError as error:
        raise ClusterError(f"{address}: no scheduler answers there: start it first") from error
    except TypeError as error:
        if not address.url.startswith("tls:"):
            raise
        raise SettingsError(
            f"{address}: tls needs certificates in Dask's configuration: "
            "distributed.comm.tls.ca-file, .client.cert and .client.key"
        ) from error
    stack.callback(_close, client, 2)
    return client


def _require_same_version(client: Any, address: Address) -> None:
    """Raise ClusterError unless workers have the catclf that is here."""

    def version() -> str:  # sent by value
        try:
            from catclf.version import __version__
        except ImportError:
            return ""
        return __version__

    some = list(client.scheduler_info(n_workers=-1)["workers"])[:LOOKED_AT]
    found = client.run(version, workers=some, on_error="return")
    others = {worker: each for worker, each in found.items() if each != __version__}
    if others:
        worker, each = next(iter(others.items()))
        what = f"catclf {each}" if isinstance(each, str) and each else "no catclf"
        raise ClusterError(
            f"{address}: {len(others)} of {counted(len(found), 'worker')} have another version "
            f"than catclf {__version__}: {worker} has {what}: {_INSTALL}"
        )


def _close(closable: Any, seconds: int) -> None:
    with suppress(Exception):  # all results are here, and processes end with this one
        closable.close(timeout=seconds)


def _local(distributed: Any, processes: int) -> Any:
    """Worker processes on this machine, that are started anew when they die.

    A terminal sends Ctrl-C to all processes: those that are started while it is blocked, and by
    threads that are, never see it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
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
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _no_worker(address: Address, again: str) -> ClusterError:
    return ClusterError(f"{address}: no worker for {WAIT:.0f} seconds: start one, and {again}")
