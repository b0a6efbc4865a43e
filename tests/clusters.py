"""A scheduler and a worker as processes of their own, and a command that loses the scheduler."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path

from conftest import command, wait_until

from catclf.cluster.engine import Engine


def free_address() -> tuple[str, str]:
    """An address of this machine that nobody uses, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"tcp://127.0.0.1:{port}", str(port)


def answers(port: int) -> bool:
    """Whether something listens at a port of this machine."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def without_scheduler(args: list[str], cwd: Path, begun: Callable[[], bool]) -> tuple[str, str]:
    """The address, and the last line of a command whose scheduler is killed once it has begun.

    The command must end with exit code 2 and without a traceback.
    """
    address, port = free_address()
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
    one = ["--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
    with ExitStack() as stack:

        def start(words: list[str]) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            stack.callback(_end, process)
            return process

        scheduler = start([*dask, "scheduler", *local])
        wait_until(lambda: scheduler.poll() is not None or answers(int(port)))
        start([*dask, "worker", address, *one])
        program = start([command(), *args, "--cluster", address])
        wait_until(lambda: begun() or program.poll() is not None)
        scheduler.send_signal(signal.SIGKILL)
        _, err = program.communicate(timeout=180)
    assert program.returncode == 2, err
    assert "Traceback" not in err
    return address, err.splitlines()[-1]


def results(engine: Engine) -> dict[str, tuple[str, ...]]:
    """Where the results are that workers keep."""
    gc.collect()  # a step that was waited for leaves a traceback, which holds what it waited for
    who_has = engine._client.who_has().items()  # those that were let go of are at no place
    return {key: places for key, places in who_has if key.startswith("catclf-") and places}


def holders(engine: Engine, count: int, before: Collection[str] = ()) -> list[int]:
    """The processes of the workers that keep partitions, of which there are so many.

    Results of the step before are let go of a moment after it. Those ``before`` do not count:
    a test that failed or caught an error may still hold them.
    """
    client = engine._client

    def kept() -> list[tuple[str, ...]]:
        return [places for key, places in results(engine).items() if key not in before]

    wait_until(lambda: len(kept()) == count)
    pids = client.run(os.getpid)
    return [pids[address] for addresses in kept() for address in addresses]


def _end(process: subprocess.Popen[str]) -> None:
    with suppress(OSError):
        process.kill()
    process.communicate()
