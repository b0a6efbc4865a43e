"""Many images decoded at once: in input order, in bounded memory, each risk in its own process.

Processes were chosen over threads by measurement (2 cores, 2000 JPEGs of 200x200): one thread
decodes 3500 images a second, two threads 3960, because the many short steps of one image wait
for each other's lock, and two processes 4850. A process also takes the consequences alone when an
image makes a decoder crash or eat all memory: that image is a failed input, and a new process
goes on with the next. Few images are decoded here: a process takes 50 ms to start.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from time import sleep
from typing import TYPE_CHECKING

from catclf.errors import ImageError
from catclf.images import decode
from catclf.images.archive import Content, Failed, Unreadable
from catclf.images.preprocess import Limits, Preprocess
from catclf.machine import cores, require_workers

if TYPE_CHECKING:
    from catclf.maths import Pixels

FEW = 8  # known images up to this many are decoded without any other process
_EARLY = 2  # processes started before it is known how many images there are
_WORKERS = 8  # at most: this process scores about as fast as eight decode
_DEPTH = 16  # names that wait in one worker's pipe: enough to keep it busy
_GATHER = 0.001  # seconds in which more answers come: each look at them takes a worker's time
_NAME = 4096  # bytes of a name that is longer than the system takes
_WINDOW = 512  # images underway, or fewer when they are large
_WINDOW_BYTES = 64 * 1024 * 1024
_CARRIED = _WINDOW_BYTES // _WINDOW  # bytes that an image brings along in the place of one more
_STARTS = 3  # workers that die before they were ready, after which none is started again


Outcome = tuple[str, "Pixels | ImageError"]


def decode_all(
    paths: Iterable[str | Failed],
    preprocess: Preprocess,
    limits: Limits | None = None,
    workers: int | None = None,
) -> Iterator[Outcome]:
    """Each path with its pixels (size, size, 3), or with the reason why there are none.

    ``workers`` is the number of processes (default: one for each core, up to eight). A
    path that comes with its failure already keeps its place in the order.
    """
    with closing(decode_batches(paths, preprocess, limits, workers)) as batches:
        for batch in batches:
            yield from batch


def decode_batches(
    paths: Iterable[str | Failed],
    preprocess: Preprocess,
    limits: Limits | None = None,
    workers: int | None = None,
    pause: AbstractContextManager[None] | None = None,
    started: Iterable[Decoder] = (),
) -> Generator[list[Outcome], None, None]:
    """The same, as lists of what is ready: an image never waits for a later one to arrive.

    ``pause`` is entered where this does nothing but wait. Only there may a signal handler raise.
    ``started`` are processes that ``getting_ready`` has started. Raises SettingsError.
    """
    require_workers(workers)
    limits = limits or Limits()
    if _are_few(paths):
        return _decode_here(paths, preprocess, limits, pause or nullcontext())
    workers = workers or min(_WORKERS, cores())
    return _Pool(preprocess, limits, workers, pause or nullcontext(), started).decode(paths)


@contextmanager
def getting_ready(
    paths: Iterable[str | Failed], workers: int | None = None
) -> Iterator[list[Decoder]]:
    """Processes for these inputs, if any, which get ready while their settings are read."""
    started: list[Decoder] = []
    try:
        if not _are_few(paths):
            with suppress(OSError):  # then decoding will say what is wrong
                for _ in range(min(_EARLY, workers or cores())):
                    started.append(Decoder())
        yield started
    finally:
        for one in started:
            one.end()


def _are_few(paths: Iterable[str | Failed]) -> bool:
    return isinstance(paths, Sequence) and len(paths) <= FEW


def _decode_here(
    paths: Iterable[str | Failed],
    preprocess: Preprocess,
    limits: Limits,
    pause: AbstractContextManager[None],
) -> Generator[list[Outcome], None, None]:
    for path in paths:
        with pause:
            pass
        yield [decode_one(path, preprocess, limits)]


def decode_one(path: str | Failed, preprocess: Preprocess, limits: Limits) -> Outcome:
    """One image, decoded in this process."""
    if isinstance(path, tuple):
        return path
    try:
        return path, decode.read(path, preprocess, limits)
    except ImageError as error:
        return path, error


# One decoding process, seen from here: names go out, answers come in

_PIPE = 4096  # bytes of names that wait there, which fit in the smallest pipe
_PAGES = 32 * 4096  # bytes of a pipe that the beginnings and ends of names may waste


class Job:
    """One input on its way, and what became of it."""

    __slots__ = ("name", "path", "result", "room")

    def __init__(self, given: str | Failed) -> None:
        if isinstance(given, Unreadable):
            given = str(given), given.failure
        self.result: Pixels | ImageError | None = None
        self.path, self.result = given if isinstance(given, tuple) else (given, None)
        self.name = decode.place_of(self.path)
        carried = len(self.name) if isinstance(self.path, Content) else 0
        self.room = 1 + carried // _CARRIED  # of the window of inputs underway

    def answer(self, result: Pixels | ImageError) -> None:
        """Note the result, and let go of the image."""
        self.result = result
        if isinstance(self.path, Content):
            self.name, self.path = b"", str(self.path)


class Decoder:
    """A decoding process, the jobs it has not answered, and the beginning of its next answer.

    It can be started before it is known how to decode. Importing this loads no NumPy, so that the
    process gets ready while the program that started it loads NumPy.
    """

    def __init__(self) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}\n"
        code += "from catclf.images.decode import serve; serve()"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libtiff writes there what it thinks of a file
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.names, self.answers = self.process.stdin, self.process.stdout
        self.jobs: deque[Job] = deque()
        self.underway = 0  # bytes that may wait in its pipe
        self.received = bytearray()
        self.ready = self.died_idle = False
        _enlarge(self.answers.fileno())
        self.room = _enlarge(self.names.fileno())

    def tell(self, preprocess: Preprocess, limits: Limits) -> None:
        """Say how images are to be decoded, before any name."""
        self._write(_frame(decode.settings(preprocess, limits)))

    def send(self, waiting: deque[Job], count: int) -> None:
        """Hand out names until ``count`` are underway, or as many as surely fit in the pipe.

        So this never waits, while the worker might be waiting for us to take its answer.
        """
        names, idle = bytearray(), not self.jobs
        while waiting and len(self.jobs) < count:
            frame = _frame(waiting[0].name)
            if self.underway + len(frame) > self.room and self.jobs:
                break
            names += frame
            self.underway += len(frame)
            self.jobs.append(waiting.popleft())
        if names and not self._write(names):
            self.died_idle = self.died_idle or idle

    def receive(self, preprocess: Preprocess) -> bool:
        """Take the answers that are there; False when the process has ended."""
        import numpy as np

        content = os.read(self.answers.fileno(), 1 << 20)
        self.received += content
        if not self.ready and self.received:
            del self.received[: len(decode.READY)]
            self.ready = True
        taken, shape = 0, (preprocess.size, preprocess.size, 3)
        head = decode.ANSWER.size
        while len(self.received) - taken >= head:
            good, size = decode.ANSWER.unpack_from(self.received, taken)
            if len(self.received) - taken < head + size:
                break
            body = self.received[taken + head : taken + head + size]
            taken += head + size
            job = self.jobs.popleft()
            self.underway -= decode.NAME.size + len(job.name)
            if good:
                job.answer(np.frombuffer(body, dtype=np.uint8).reshape(shape))
            else:
                job.answer(ImageError(*json.loads(body)))
        del self.received[:taken]
        return bool(content)

    def _write(self, content: bytes | bytearray) -> bool:
        """False if the worker has died, which is dealt with when its answers end."""
        view = memoryview(content)
        try:
            while view:
                view = view[self.names.write(view) :]
        except BrokenPipeError:
            return False
        return True

    def end(self) -> int:
        """Stop the process, once or again, and give its exit code: negative for a signal."""
        with suppress(OSError):
            self.names.close()
        self.answers.close()
        self.process.kill()
        return self.process.wait()


def _frame(content: bytes) -> bytes:
    return decode.NAME.pack(len(content)) + content


def _enlarge(descriptor: int) -> int:
    """Let a pipe hold 1 MB, where the system can; the bytes that surely fit in it."""
    import fcntl

    size = 0
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
        with suppress(OSError):
            size = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
    return max(_PIPE, size - _PAGES)  # each write may leave most of a page empty


class _Pool:
    """Workers, the inputs underway in order, and a thread that reads further inputs.

    The thread is there because reading the next name may wait for ever, while answers arrive.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        limits: Limits,
        workers: int,
        pause: AbstractContextManager[None],
        started: Iterable[Decoder],
    ) -> None:
        self._preprocess, self._limits, self._count = preprocess, limits, workers
        self._pause = pause
        self._starting = deque(started)
        self._workers: list[Decoder] = []
        self._failed_starts = 0
        self._window = min(_WINDOW, max(2 * workers, _WINDOW_BYTES // preprocess.n))
        self._order: deque[Job] = deque()  # all that were read and not given out
        self._waiting: deque[Job] = deque()  # those of them that no worker has
        self._incoming: deque[Job | BaseException | None] = deque()  # None is the end
        self._space = threading.Semaphore(self._window)
        self._closed = self._ended = False
        self._wake, self._woken = os.pipe()

    def decode(self, paths: Iterable[str | Failed]) -> Generator[list[Outcome], None, None]:
        """The outcomes of all inputs, in order, as soon as they are there."""
        feeder = threading.Thread(target=self._feed, args=(paths,), daemon=True)
        with selectors.DefaultSelector() as self._selector:
            self._selector.register(self._wake, selectors.EVENT_READ)
            try:
                try:
                    feeder.start()
                except RuntimeError:  # no memory for another thread
                    self._ended = True
                    yield from _decode_here(paths, self._preprocess, self._limits, self._pause)
                while not self._ended or self._order:
                    self._take_in()
                    self._hand_out()
                    if batch := self._finished():
                        yield batch
                    elif self._order or not self._ended:
                        self._wait()
            finally:
                self._close(feeder)

    def _feed(self, paths: Iterable[str | Failed]) -> None:
        """In its own thread: read inputs, never more than the window ahead of the answers."""
        last: BaseException | None = None
        try:
            for path in paths:
                job = Job(path)
                job.room = min(self._window, job.room)
                for _ in range(job.room):
                    self._space.acquire()
                    if self._closed:
                        return
                self._incoming.append(job)
                if len(self._incoming) == 1:
                    self._signal()
        except BaseException as error:
            last = error
        self._incoming.append(last)
        self._signal()

    def _signal(self) -> None:
        with suppress(OSError):  # closed: nobody waits any more
            os.write(self._woken, b"!")

    def _take_in(self) -> None:
        while self._incoming:
            item = self._incoming.popleft()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                self._ended = True
                continue
            self._order.append(item)
            if item.result is not None:
                continue
            can_be_sent = len(item.name) < _NAME or isinstance(item.path, Content)
            if can_be_sent and self._failed_starts < _STARTS:
                self._waiting.append(item)
            else:
                self._decode(item)

    def _decode(self, job: Job) -> None:
        job.answer(decode_one(job.path, self._preprocess, self._limits)[1])

    def _hand_out(self) -> None:
        """Give waiting inputs to the workers, evenly, and start workers while some are left."""
        for _ in range(2):
            for one in self._workers:
                count = (len(self._waiting) + len(one.jobs)) // (2 * len(self._workers))
                one.send(self._waiting, min(_DEPTH, max(2, count)))
            if not self._waiting or not self._started():
                return

    def _started(self) -> bool:
        """Start one more worker, if there may be one. Where none can live, decode here."""
        if len(self._workers) >= self._count:
            return False
        if self._failed_starts < _STARTS:
            try:
                new = self._starting.popleft() if self._starting else Decoder()
            except OSError:  # no memory, no process or no descriptor left
                self._failed_starts = _STARTS if not self._workers else self._failed_starts
            else:
                new.tell(self._preprocess, self._limits)
                self._workers.append(new)
                self._selector.register(new.answers, selectors.EVENT_READ, new)
                return True
        while self._waiting and not self._workers:
            self._decode(self._waiting.popleft())
        return False

    def _finished(self) -> list[Outcome]:
        """The inputs at the head of the order that have their result."""
        batch: list[Outcome] = []
        room = 0
        while self._order and self._order[0].result is not None:
            job = self._order.popleft()
            assert job.result is not None
            batch.append((job.path, job.result))
            room += job.room
        if batch:
            self._space.release(room)
        return batch

    def _wait(self) -> None:
        """Until an answer, an input, or the death of a decode."""
        with self._pause:
            ready = self._selector.select()
            if self._workers and all(len(one.jobs) >= _DEPTH // 2 for one in self._workers):
                sleep(_GATHER)  # they have enough to do
        for key, _ in ready:
            if key.data is None:
                os.read(self._wake, 4096)
            elif not key.data.receive(self._preprocess):
                self._bury(key.data)

    def _bury(self, dead: Decoder) -> None:
        """The image that a dead worker was at has failed; the others go to another one."""
        self._selector.unregister(dead.answers)
        self._workers.remove(dead)
        code = dead.process.wait()
        dead.end()
        if not dead.ready:
            self._failed_starts += 1
        elif dead.jobs and not dead.died_idle:
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            message = f"ended its decoder {how}: it may need too much memory"
            dead.jobs.popleft().answer(ImageError("crashed", message))
        self._waiting.extendleft(reversed(dead.jobs))

    def _close(self, feeder: threading.Thread) -> None:
        self._closed = True
        self._space.release()
        for one in self._workers:
            one.end()
        if feeder.ident is not None:
            # It may be waiting for input that never comes: then it is left to wait.
            feeder.join(timeout=None if self._ended else 0.05)
        if not feeder.is_alive():
            os.close(self._woken)
        os.close(self._wake)
