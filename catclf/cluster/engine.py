"""The only module that imports Dask: where a cluster is, and tasks that its workers do.

A cluster is named ``local:N``, ``tcp://…``, ``tls://…`` or ``file:scheduler.json``.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit
from uuid import uuid4

from catclf.errors import CatclfError, ClusterError, SettingsError
from catclf.machine import cores
from catclf.storage.location import locate
from catclf.text import counted, printable, reason, to_install
from catclf.version import __version__

LOCAL_MAX = 1024  # processes on one machine
FORMS = "local:2, tcp://localhost:8786, tls://host:8786 or file:scheduler.json"
WAIT = 60.0  # seconds without any worker until a run gives up
CONNECT = 10.0  # seconds for a scheduler to answer
POLL = 1.0  # seconds between looks at the workers while tasks are done
# What to do when a run has ended before its time, but for starting what was missing.
RESUME = "go on from the last checkpoint, if one was kept, with `resume`"
AGAIN = "run this again: what is done stays"
DEATHS = 3  # workers that a task may kill; on a remote cluster its own setting decides

Result = TypeVar("Result")


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
    digits = rest.isascii() and rest.isdigit()
    if kind == "local" and digits and 1 <= int(rest) <= LOCAL_MAX:
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
    try:
        return str(json.loads(locate(path).read())["address"])
    except OSError as error:
        why = f"{reason(error)}: start the scheduler first"
    except (ValueError, RecursionError, TypeError, KeyError):
        why = "is not the file of a scheduler"
    raise ClusterError(f"{printable(path)}: {why}")


def _is_this_machine(host: str) -> bool:
    """Whether a host can be reached from this machine alone: no name is looked up for it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Engine:
    """A connection to a scheduler. Tasks may run twice, and on any worker: they only compute.

    No task is bound to a worker, not even loosely: Dask would leave it alone for ever when all
    workers die and come back under other addresses. But it gives a task to the worker that has
    the results which the task needs.

    Tasks are the arguments of a function, and ``shown`` says what each of them works on. Where
    results are ``kept`` on workers, the function gets one of them as its last argument.
    """

    def __init__(self, client: Any, address: Address, again: str = RESUME) -> None:
        self._client, self.address, self.again = client, address, again
        self._name, self._batches = uuid4().hex, count()

    @property
    def is_running(self) -> bool:
        """Whether the scheduler answers."""
        return bool(self._client.status == "running")

    @property
    def workers(self) -> int:
        """How many workers there are now."""
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def run(
        self,
        function: Callable[..., Result],
        tasks: Sequence[tuple[Any, ...]],
        shown: list[str],
        kept: Sequence[Any] = (),
    ) -> list[Result]:
        """The results of a function for each task, in order.

        A task whose worker dies is done again by another one. Raises what a task raises, and
        ClusterError: when there is no worker for ``WAIT`` seconds, when a task has killed
        ``DEATHS`` workers, and when the scheduler is gone.
        """
        futures = self.keep(function, tasks, shown, kept)
        with self._explained(shown):
            results: list[Result] = self._client.gather(futures)
        return results

    def keep(
        self,
        function: Callable[..., Any],
        tasks: Sequence[tuple[Any, ...]],
        shown: list[str],
        kept: Sequence[Any] = (),
        *,
        everywhere: bool = False,
    ) -> list[Any]:
        """The same with the results left on the workers, as long as the list is kept here.

        What a worker that dies has kept is made again. With ``everywhere`` each worker gets a copy,
        so that Dask does not give all tasks that need a result to the worker that has it. Raises
        as ``run`` does.
        """
        futures = self._submitted(function, tasks, shown, kept)
        for future in self._ended(set(futures), shown, "ALL_COMPLETED"):
            if future.status != "finished":
                with self._explained(shown):
                    future.result()
        if everywhere:
            with self._explained(shown):
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
        blamed = list[tuple[int, CatclfError]]()
        for number, result in self._results(function, tasks, shown):
            if isinstance(result, _KilledError):
                blamed.append((number, result))
            else:
                yield number, result
        for number, error in blamed:
            alone = [tasks[number]], [shown[number]]
            again = self._results(function, *alone) if len(blamed) > 1 else [(0, error)]
            for _, result in again:
                yield number, result

    def _results(
        self, function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], shown: list[str]
    ) -> Iterator[tuple[int, Result | CatclfError]]:
        futures = set(self._submitted(function, tasks, shown))
        for future in self._ended(futures, shown, "FIRST_COMPLETED"):
            try:
                with self._explained(shown):
                    result: Result | CatclfError = future.result()
            except CatclfError as error:
                if not self.is_running:
                    raise
                result = error
            yield _number(future.key), result

    def _submitted(
        self,
        function: Callable[..., Any],
        tasks: Sequence[tuple[Any, ...]],
        shown: list[str],
        kept: Sequence[Any] = (),
    ) -> list[Any]:
        if not tasks:  # which Dask refuses
            return []
        from distributed.protocol import pickle  # noqa: TID251

        version = __version__

        def call(content: bytes, *kept: Any) -> Any:
            """Sent by value, and unpacks what it calls when it runs.

            A worker that cannot unpack a message ends; a task that cannot import something fails.
            """
            import pickle

            from catclf.cluster.engine import scratch
            from catclf.storage.location import put_in
            from catclf.version import __version__

            if __version__ != version:
                raise ImportError(f"it has catclf {__version__}, and not {version}")
            function, arguments = pickle.loads(content)
            put_in(scratch())  # copies of remote files end with the worker, however that ends
            return function(*arguments, *kept)

        batch, dumps = next(self._batches), cast(Any, pickle.dumps)
        keys = [f"catclf-{self._name}-{batch}-{number}" for number in range(len(tasks))]
        contents = [dumps((function, task)) for task in tasks]
        given = [contents, kept] if kept else [contents]
        # One message for all of them: a third of the time of one for each.
        with self._explained(shown):
            futures: list[Any] = self._client.map(call, *given, key=keys, pure=False)
        return futures

    def _ended(self, waiting: set[Any], shown: list[str], when: str) -> Iterator[Any]:
        """Futures when they have ended, with none of them left in ``waiting``.

        Raises ClusterError when the scheduler is gone, or no worker came for WAIT seconds.
        """
        import distributed  # noqa: TID251

        wait: Any = distributed.wait
        alone = 0.0  # since when there is no worker
        while waiting:
            with self._explained(shown):
                try:
                    with self._client.as_current():
                        ended = wait(waiting, timeout=POLL, return_when=when).done
                except TimeoutError:
                    if not self.is_running:
                        raise self.gone() from None
                    alone = 0.0 if self.workers else alone or monotonic()
                    if alone and monotonic() - alone > WAIT:
                        raise _no_worker(self.address, self.again) from None
                    continue
            waiting -= ended
            yield from ended

    @contextmanager
    def _explained(self, shown: list[str]) -> Iterator[None]:
        """Failures of Dask as ClusterError, failures of the work as they are."""
        from distributed import CancelledError, KilledWorker  # noqa: TID251

        try:
            yield
        except CatclfError:
            raise
        except KilledWorker as error:
            what = shown[_number(error.task)]
            raise _KilledError(
                f"{what}: {counted(error.allowed_failures + 1, 'worker')} died of the same task: "
                "look for a damaged shard, or too little memory"
            ) from error
        except Exception as error:
            lost = isinstance(error, OSError) and not self.is_running
            if lost or isinstance(error, CancelledError):
                raise self.gone() from error
            first = (str(error) or "no message").splitlines()[0]
            hint = ": install there what is here" if isinstance(error, ImportError) else ""
            what = f"{type(error).__name__}: {first}{hint}"
            raise ClusterError(f"a worker failed: {what}") from error

    def gone(self) -> ClusterError:
        """The error where the scheduler does not answer any more."""
        return ClusterError(
            f"{self.address}: the scheduler is gone: start it again, and {self.again}"
        )


class _KilledError(ClusterError):
    """A task whose workers died."""


def _number(key: Any) -> int:
    """The number of a task among those that it was sent with."""
    return int(str(key).rpartition("-")[2])


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
        yield Engine(client, address, again)


def _client(library: Any, address: Address, stack: ExitStack) -> Any:
    """A client of Dask, closed with the stack. Raises SettingsError and ClusterError."""

    def close(closable: Any, seconds: int) -> None:
        with suppress(Exception):  # all results are here, and processes end with this one
            closable.close(timeout=seconds)

    try:
        place: Any = address.url
        if address.processes:
            place = _local(library, address.processes)
            stack.callback(close, place, 10)
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
    stack.callback(close, client, 2)
    return client


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
