"""Packed shards, and two workers of a cluster beside two threads, on the same made-up images."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from scripts.benchmarks.images import write_hdf5
from scripts.benchmarks.measure import table

Run = Callable[[], Any]
STEPS = 2  # one after the other, for each turn of a row
WORKERS = 2
TASKS = (2, 128)  # for the cost of one
MODELLED = (10, 100, 1_000, 10_000)  # workers


def cluster(scratch: Path, repeats: int, quick: bool) -> str:
    """Three tables: files, workers, and what follows for more of them."""
    m = 20_000 if quick else 100_000
    single, packed = _written(scratch, m)
    from catclf.cluster import Address
    from catclf.cluster.engine import connected
    from catclf.cluster.executor import Cluster, DistributedObjective
    from catclf.datasets import ReadOptions, open_dataset
    from catclf.maths.threads import blas_threads
    from catclf.training.objective import Point, StreamObjective

    data = {
        path.suffix: open_dataset(path, options=ReadOptions(stream=True))
        for path in (single, single.with_suffix(".npz"))
    }
    data[""] = open_dataset(packed)
    n = 64 * 64 * 3
    point = Point(1e-3 * np.random.default_rng(0).standard_normal((n, 1)), 0.1)
    threads = {
        kind: StreamObjective(each, 0.0, WORKERS, fused=False) for kind, each in data.items()
    }
    with connected(Address(processes=WORKERS)) as engine, blas_threads(1):
        by_workers = Cluster(engine, 1).distributed(StreamObjective(data[""]), data[""])
        assert isinstance(by_workers, DistributedObjective)
        problems: dict[str, Any] = {**threads, "cluster": by_workers}
        times = _least({k: lambda p=p: p.evaluate(point) for k, p in problems.items()}, repeats)  # type: ignore[misc]
        moved = _moved(by_workers, point)
        pids, megabytes = _workers_of(engine, by_workers)
        busy = {
            kind: _busy(lambda p=problems[kind]: p.evaluate(point), pids, repeats)  # type: ignore[misc]
            for kind in ("", "cluster")
        }
        costs = _cost(engine, by_workers, point, repeats)
    return "\n\n".join(
        (
            _files(m, times),
            _workers(m, times, busy, moved, max(megabytes)),
            _model(m, times["cluster"], *costs),
        )
    )


def _written(scratch: Path, m: int) -> tuple[Path, Path]:
    """The images packed to one HDF5 file, beside it the same as .npz, and to a folder."""
    import h5py

    from catclf.datasets import ReadOptions, open_source
    from catclf.datasets.hdf5 import write
    from catclf.datasets.packed import write_folder

    made, single, packed = scratch / "made.h5", scratch / "single.h5", scratch / "packed"
    source = open_source(write_hdf5(made, m), ReadOptions()).split("train")
    packed.mkdir()
    write(single, {"train": source})
    write_folder(packed, {"train": source})
    made.unlink()
    with h5py.File(single) as file:
        np.savez(single.with_suffix(".npz"), x=file["train_set_x"][:], y=file["train_set_y"][:])
    return single, packed


def _least(
    runs: dict[str, Run], repeats: int, clock: Callable[[], float] = perf_counter
) -> dict[str, float]:
    """The least seconds of each, in turn: what else the machine does only adds to them."""
    seconds = {name: float("inf") for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            for _ in range(STEPS):
                began = clock()
                run()
                if repeat:
                    seconds[name] = min(seconds[name], clock() - began)
    return seconds


def _moved(problem: Any, point: Any) -> tuple[int, int]:
    """Bytes of a step to the workers and back, as they are pickled."""
    kept, objective = problem.partitions, problem.how
    sent = len(kept._futures) * len(pickle.dumps((objective, point, "products"), protocol=5))
    pieces = kept.pieces("sums", objective, point)
    return sent, sum(len(pickle.dumps(piece, protocol=5)) for piece in pieces)


def _workers_of(engine: Any, problem: Any) -> tuple[list[int], list[float]]:
    """The processes of workers, and their peaks of resident memory in MB.

    Pages of files that are read, as those of shards are, are not in it.
    """
    kept = problem.partitions
    found = engine.run(_process, [()] * len(kept._futures), kept._shown, kept._futures)
    return [pid for pid, _ in found], [peak for _, peak in found]


def _process(partition: Any) -> tuple[int, float]:
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    return os.getpid(), peak


def _busy(run: Run, workers: list[int], repeats: int) -> float:
    """The least seconds for which a step keeps processors busy, in this process and in workers."""
    pids, least = [os.getpid(), *workers], float("inf")
    for _ in range(repeats):
        began = sum(map(_processor, pids))
        for _ in range(STEPS):
            run()
        least = min(least, (sum(map(_processor, pids)) - began) / STEPS)
    return least


def _processor(pid: int) -> float:
    """Seconds of processor time of a process by now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cost(engine: Any, problem: Any, point: Any, repeats: int) -> tuple[float, float]:
    """Seconds of a step, and of each task in it, where tasks only send as much as a step's do.

    A step's are those of two tasks. A task's are those of this process, which has the scheduler
    and the client in it: they take the tasks of all workers one after the other.
    """
    futures = problem._kept._futures

    def run(tasks: int) -> Run:
        given = [(futures[i % len(futures)], point) for i in range(tasks)]
        return lambda: engine.run(_nothing, given, ["nothing"] * tasks)

    few, many = TASKS
    busy = _least({str(tasks): run(tasks) for tasks in TASKS}, repeats, process_time)
    each = (busy[str(many)] - busy[str(few)]) / (many - few)
    return _least({"": run(few)}, repeats)[""], each


def _nothing(partition: Any, point: Any) -> Any:
    return np.zeros_like(point.coordinates)


def _files(m: int, times: dict[str, float]) -> str:
    names = {".h5": "one HDF5 file", "": "packed shards of 65 536", ".npz": ".npz, held in memory"}
    rows = [
        [name, f"{1000 * times[kind]:.0f} ms", f"{times[kind] / times['.h5']:.2f}"]
        for kind, name in names.items()
    ]
    return table([f"one step of 2 threads, {m} images", "time", "ratio"], rows)


def _workers(
    m: int,
    times: dict[str, float],
    busy: dict[str, float],
    moved: tuple[int, int],
    megabytes: float,
) -> str:
    names = {"": "two threads in one process", "cluster": "`--cluster local:2`"}
    rows = [
        [
            name,
            f"{1000 * times[kind]:.0f} ms",
            f"{100 * (times[kind] / times[''] - 1):+.0f} %",
            f"{1000 * busy[kind]:.0f} ms",
            f"{100 * (busy[kind] / busy[''] - 1):+.0f} %",
        ]
        for kind, name in names.items()
    ]
    header = ["a step", "overhead", "processors busy", "overhead"]
    return (
        f"{table([f'packed shards, {m} images', *header], rows)}\n\n"
        f"A step sends {moved[0] / 1e6:.1f} MB to the two workers, and {moved[1] / 1e6:.1f} MB "
        f"come back. The peak memory of a worker is {megabytes:.0f} MB."
    )


def _model(m: int, step: float, engine: float, each: float) -> str:
    """Steps of more workers with as many images each."""
    part, work = m // WORKERS, step - engine
    rows = []
    for workers in MODELLED:
        waits = engine + each * (workers - WORKERS)
        rows.append(
            [
                f"{workers}",
                f"{workers * part / 1e6:g} million",
                f"{waits:.2f} s",
                f"{work + waits:.2f} s",
                f"{100 * waits / (work + waits):.0f} %",
            ]
        )
    header = ["images", "engine", "step", "of it the engine"]
    text = table(["workers (a model, not measured)", *header], rows)
    return (
        f"{text}\n\nThe model takes {part} images a worker, one task a worker and step, "
        f"{1000 * engine:.0f} ms for a step of two tasks that only send, and for each further one "
        f"the {1000 * each:.1f} ms for which it keeps scheduler and client busy; workers as fast "
        "as here, and none slower than the others. All times of these three tables are the least "
        "of their runs."
    )
