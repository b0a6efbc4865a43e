"""One decoding process, seen from the process that started it: names go out, answers come in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from catclf.errors import ImageError
from catclf.images import worker
from catclf.images.member import Content
from catclf.images.preprocess import Limits, Preprocess

if TYPE_CHECKING:
    from catclf.maths import Pixels

_PIPE = 4096  # bytes of names that wait there, which fit in the smallest pipe
_PAGES = 32 * 4096  # bytes of a pipe that the beginnings and ends of names may waste


class Job:
    """One input on its way, and what became of it."""

    __slots__ = ("name", "path", "result", "room")

    def __init__(self, path: str, result: Pixels | ImageError | None) -> None:
        self.path, self.result = path, result
        self.name = worker.place_of(path)
        self.room = 1  # of the window of inputs underway

    @property
    def carries(self) -> int:
        """The bytes of an image that it brings along."""
        return len(self.name) if isinstance(self.path, Content) else 0

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
        code += "from catclf.images.worker import main; main()"
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
        self._write(_frame(worker.settings(preprocess, limits).encode()))

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
            self.died_idle = idle

    def receive(self, preprocess: Preprocess) -> bool:
        """Take the answers that are there; False when the process has ended."""
        import numpy as np

        content = os.read(self.answers.fileno(), 1 << 20)
        self.received += content
        if not self.ready and self.received:
            del self.received[: len(worker.READY)]
            self.ready = True
        taken, shape = 0, (preprocess.size, preprocess.size, 3)
        head = worker.ANSWER.size
        while len(self.received) - taken >= head:
            good, size = worker.ANSWER.unpack_from(self.received, taken)
            if len(self.received) - taken < head + size:
                break
            body = self.received[taken + head : taken + head + size]
            taken += head + size
            job = self.jobs.popleft()
            self.underway -= worker.NAME.size + len(job.name)
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
    return worker.NAME.pack(len(content)) + content


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
