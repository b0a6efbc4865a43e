"""The command in processes that begin as copies of one that has loaded its libraries.

Loading NumPy and the others takes four fifths of a short run. The server loads them once and forks
for each run; a copy then goes through ``catclf.cli.main`` as the installed command does, with its
own arguments, folder, environment and streams. What a fresh process loads, and how it starts, is
for tests that start one.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LOADED = (
    "catclf.cli.app",
    "catclf.datasets.open",
    "catclf.features.rows",
    "catclf.images.pool",
    "catclf.model.file",
    "catclf.training.pipeline",
    "h5py",
    "numpy",
    "PIL.Image",
    "rich.console",
    "typer",
)
TIMEOUT = 300.0  # seconds


class Server:
    """A process that forks on request. One run at a time."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._start()

    def _start(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(TIMEOUT)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            # Pipes, as in the runs: Python's streams remember whether they can seek.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        theirs.close()

    def run(
        self, arguments: Sequence[str], input: bytes | None, cwd: Path
    ) -> tuple[int, bytes, bytes]:
        """The exit code of the command (negative: the signal that ended it), and its output.

        With the environment of this process. Raises RuntimeError where it takes too long, or the
        server has ended.
        """
        request = {
            "argv": [self._program, *arguments],
            "env": dict(os.environ),
            "cwd": str(cwd),
        }
        line = json.dumps(request).encode()
        stdin, feed = os.pipe()
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        theirs = stdin, stdout, stderr
        with ThreadPoolExecutor(3) as pool:
            try:
                socket.send_fds(self._socket, [_number(len(line))], theirs)
                self._socket.sendall(line)
            except OSError:
                self._fail()
            finally:
                for descriptor in theirs:
                    os.close(descriptor)
                pool.submit(_feed, feed, input or b"")
                texts = [pool.submit(_read, descriptor) for descriptor in (out, err)]
            try:
                code = struct.unpack("<i", _exactly(self._socket, 4))[0]
            except (EOFError, OSError):  # a timeout is an OSError
                self._fail()
        return code, texts[0].result(), texts[1].result()

    def _fail(self) -> NoReturn:
        """End the server, and with it a run that goes on; begin anew."""
        ended = self._process.poll()
        said = self.close()
        self._start()
        raise RuntimeError(f"the server of forks ended with {ended}: {said}")

    def close(self) -> str:
        """End the server; the result is what it has written about its failure."""
        self._socket.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.communicate()[1].decode(errors="replace")


def _feed(descriptor: int, data: bytes) -> None:
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            stream.write(data)
    except BrokenPipeError:
        pass  # a command need not read all, or anything


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def _number(value: int) -> bytes:
    return struct.pack("<i", value)


def _exactly(connection: socket.socket, count: int) -> bytes:
    """So many bytes. Raises EOFError where the other end is closed."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _serve(connection: socket.socket) -> None:
    """Fork for each request; the copy becomes the command and does not come back."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, 4, 3)
        if not head:
            return
        request = json.loads(_exactly(connection, struct.unpack("<i", head)[0]))
        process = os.fork()
        if process == 0:
            connection.close()
            _become(request["argv"], request["env"], request["cwd"], streams)
        for descriptor in streams:
            os.close(descriptor)
        _, status = os.waitpid(process, 0)
        connection.sendall(_number(os.waitstatus_to_exitcode(status)))


def _become(argv: list[str], env: dict[str, str], cwd: str, streams: list[int]) -> None:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv[:] = argv
    from catclf.cli import main

    main()
    sys.exit()


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)  # as for the installed command
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for module in LOADED:
        importlib.import_module(module)
    gc.collect()
    _serve(socket.socket(fileno=int(sys.argv[1])))
