"""The command in processes that begin as copies of one that has loaded its libraries.

Loading them takes four fifths of a short run, and taking Python down a third of the rest. The
server loads them once and forks for each run; a copy goes through ``catclf.cli.main`` as the
installed command does, with its own arguments, folder, environment and streams, and ends without
clearing its memory. What a fresh process loads, how it starts and how it ends, is for tests that
start one.
"""

from __future__ import annotations

import atexit
import gc
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = ("h5py", "numpy", "PIL.Image", "rich.console", "typer")
ROOMS = ("cli", "datasets", "images", "model")  # with what they import
TIMEOUT = 300.0  # seconds


class Server:
    """A process that forks on request. One run at a time."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._start()

    def _start(self) -> None:
        self._connection: Any
        self._connection, theirs = Pipe()
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
        stdin, feed = os.pipe()
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        with ThreadPoolExecutor(3) as pool:
            try:
                self._connection.send(([self._program, *arguments], dict(os.environ), str(cwd)))
                for stream in (stdin, stdout, stderr):
                    send_handle(self._connection, stream, self._process.pid)
            except OSError:
                self._fail()
            finally:
                for stream in (stdin, stdout, stderr):
                    os.close(stream)
                pool.submit(_feed, feed, input or b"")
                texts = [pool.submit(_read, stream) for stream in (out, err)]
            try:
                if not self._connection.poll(TIMEOUT):
                    self._fail()
                code: int = self._connection.recv()
            except (EOFError, OSError):
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
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.communicate()[1].decode(errors="replace")


def _feed(descriptor: int, data: bytes) -> None:
    # A command need not read all, or anything.
    with suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as stream:
        stream.write(data)


def _read(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def _serve(connection: Any) -> None:
    """Fork for each request; the copy becomes the command and does not come back."""
    while True:
        try:
            argv, env, cwd = connection.recv()
        except EOFError:
            return
        streams = [recv_handle(connection) for _ in range(3)]
        process = os.fork()
        if process == 0:
            connection.close()
            _become(argv, env, cwd, streams)
        for stream in streams:
            os.close(stream)
        connection.send(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))


def _become(argv: list[str], env: dict[str, str], cwd: str, streams: list[int]) -> NoReturn:
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv[:] = argv
    from catclf.cli import main

    try:
        main()
    except SystemExit as ended:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(str(ended.code)))
    sys.exit("the command did not exit")


if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)  # as for the installed command
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for library in LIBRARIES:
        import_module(library)
    for room in ROOMS:
        face = import_module(f"catclf.{room}")
        for each in pkgutil.walk_packages(face.__path__, f"{face.__name__}."):
            import_module(each.name)
    gc.collect()
    _serve(Connection(int(sys.argv[1])))
