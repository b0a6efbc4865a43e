"""What the tests share: small data sets, real ones where they are at hand, and the command."""

from __future__ import annotations

import ctypes
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
import pytest
from forking import TIMEOUT, Server
from hypothesis import HealthCheck, settings
from numpy.typing import ArrayLike, NDArray
from PIL import Image

import catclf
from catclf.cluster.engine import Address, Engine, connected
from catclf.datasets import Dataset, ReadOptions, Split, open_dataset, open_source
from catclf.datasets.packed import write_folder
from catclf.errors import DataError
from catclf.images.preprocess import Preprocess

ROOT = Path(__file__).parents[1]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else ONNX Runtime writes files to the home folder
# For parametrize: the method that needs an extra which not every Python has.
FUSED = pytest.param(
    "fused", marks=pytest.mark.skipif(find_spec("numba") is None, reason="no Numba")
)
# Signals that whoever began the tests ignores, as a shell does for what it runs in the background,
# would be ignored by every command, too; many tests send them.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)
# A loaded machine fails no test.
settings.register_profile(
    "catclf", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("catclf")
GREEN, RED = (0, 255, 0), (255, 0, 0)
Colour = tuple[int, int, int]


def pytest_report_header() -> str:
    import PIL

    versions = f"numpy {np.__version__}, h5py {h5py.__version__}, Pillow {PIL.__version__}"
    return f"{versions}, CATCLF_DATASETS={os.environ.get('CATCLF_DATASETS', 'not set')}"


Tell = Callable[[str], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Takes a line on what a long test did, which is shown when the run ends."""
    return lambda line: record_property("count", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "count" and report.when == "call":
                terminalreporter.write_line(str(value))


@dataclass(frozen=True)
class Result:
    """What a finished command left behind."""

    code: int
    stdout: str
    stderr: str

    def done(self) -> str:
        """stdout of a command that did its job without a word on stderr."""
        assert (self.code, self.stderr) == (0, "")
        return self.stdout

    def refused(self, *says: str, code: int = 2) -> str:
        """The one line of a command that could not do its job and printed nothing."""
        assert (self.code, self.stdout) == (code, ""), self.stderr
        assert self.stderr.startswith("catclf: "), self.stderr
        assert self.stderr.count("\n") == 1, self.stderr
        for text in says:
            assert text in self.stderr
        return self.stderr


Run = Callable[..., Result]


@pytest.fixture(scope="session")
def forking() -> Iterator[Server]:
    server = Server(command())
    yield server
    server.close()


@pytest.fixture
def run(tmp_path: Path, forking: Server) -> Run:
    """Run the command in a process of its own, in an empty folder, and wait for its end.

    With ``env`` or ``preexec``, or ``fresh``, that is the installed command in a new process; else
    one that begins with the libraries loaded.
    """

    def run(
        *args: str | Path,
        input: str | bytes | None = None,
        env: dict[str, str] | None = None,
        cwd: Path = tmp_path,
        preexec: Callable[[], None] | None = None,
        fresh: bool = False,
    ) -> Result:
        arguments = [str(arg) for arg in args]
        given = input.encode() if isinstance(input, str) else input
        if fresh or env is not None or preexec is not None:
            done = subprocess.run(
                [command(), *arguments],
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                timeout=TIMEOUT,
                preexec_fn=preexec,
            )
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            code, out, err = forking.run(arguments, given, cwd)
        stdout, stderr = (text.decode(errors="backslashreplace") for text in (out, err))
        assert "Traceback" not in stderr, stderr
        return Result(code, stdout, stderr)

    return run


def drop_powers() -> None:
    """For the child process of a test that root runs: no right to pass over permissions.

    The capabilities leave the bounding set, so that the next program does not get them.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        pr_capbset_drop = 24
        for capability in (1, 2, 3):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
            if libc.prctl(pr_capbset_drop, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


@contextmanager
def limited(size: int) -> Iterator[None]:
    """A block in which no file becomes larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def in_python_without_powers(code: str, *args: str | Path) -> str:
    """What Python code prints in a process that may not pass over permissions."""
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=180,
        preexec_fn=drop_powers,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def command() -> str:
    """The path of the installed ``catclf``."""
    return str(Path(sys.executable).parent / "catclf")


def bash(script: str) -> list[str]:
    """The words that run a script in which ``catclf`` is the command under test."""
    return ["/bin/bash", "-c", f"catclf() {{ '{command()}' \"$@\"; }}\n{script}"]


def shell(script: str, folder: Path, env: dict[str, str] | None = None) -> Result:
    """Run a bash script in which ``catclf`` is the command under test."""
    done = subprocess.run(
        bash(script),
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=TIMEOUT,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)


def on_terminal(script: str, folder: Path, code: int = 0, **env: str) -> str:
    """What such a script shows on a terminal of 80 columns, and nothing of it in colour."""
    controller, terminal = pty.openpty()
    surroundings = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"}
    process = subprocess.Popen(
        bash(script),
        cwd=folder,
        env={**os.environ, **surroundings, **env},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = read_terminal(controller)
    os.close(controller)
    assert process.wait(timeout=TIMEOUT) == code
    return shown.decode()


@pytest.fixture(scope="module")
def three_workers() -> Iterator[Engine]:
    """Worker processes, which are started anew when they die."""
    pytest.importorskip("distributed")
    with connected(Address(processes=3)) as engine:
        yield engine


@pytest.fixture
def workers(three_workers: Engine) -> Engine:
    """All three of them, also after a test that has killed some."""
    three_workers._client.wait_for_workers(3, timeout=TIMEOUT)
    return three_workers


@pytest.fixture
def shared(workers: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The same workers for all runs in this process; their folder is another one."""

    @contextmanager
    def connected(address: Address, again: str) -> Iterator[Engine]:
        yield workers

    monkeypatch.setattr("catclf.cluster.engine.connected", connected)
    return workers


@pytest.fixture
def no_hang() -> Iterator[None]:
    """An error in place of waiting for ever."""

    def stop(*_: object) -> None:
        raise TimeoutError("this hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(180)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data sets; tests that need it are skipped without it."""
    folder = os.environ.get("CATCLF_DATASETS")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set CATCLF_DATASETS to the folder that holds it")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def course(datasets: Path) -> tuple[Path, Path]:
    """The course's train and test files."""
    folder = datasets / "catvnoncat"
    return folder / "train_catvnoncat.h5", folder / "test_catvnoncat.h5"


def make_images(
    m: int, size: int = 8, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 (m, size, size, 3) and labels (m,), both present: positives are brighter."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(m) % 2).astype(np.int64)
    rng.shuffle(labels)
    base = rng.integers(0, 156, (m, size, size, 3))
    return (base + 60 * labels.reshape(-1, 1, 1, 1)).astype(np.uint8), labels


def scenes(count: int, seed: int = 0, size: int = 32, coarse: int = 6) -> NDArray[np.uint8]:
    """Smooth images (count, size, size, 3) with neighbours that correlate as in photos."""
    values = np.random.default_rng(seed).integers(0, 256, (count, coarse, coarse, 3), np.uint8)
    images = (Image.fromarray(each).resize((size, size)) for each in values)  # bicubic
    return np.stack([np.asarray(image) for image in images])


def dataset(images: NDArray[np.uint8], labels: ArrayLike, source: str = "made") -> Dataset:
    """A data set in memory, of labels 0 and 1."""
    Y = np.array(labels, np.float64).reshape(1, -1)
    return Dataset(images, Y, ("non-cat", "cat"), source, Preprocess(images.shape[1]))


def write_packed(root: Path, m: int, size: int, shard_images: int) -> Path:
    """The folder packed/ in root, of m made-up images, and source.npz that it was packed from."""
    x, y = make_images(m, size)
    np.savez(root / "source.npz", x=x, y=y)
    (root / "packed").mkdir()
    source = open_source(root / "source.npz", ReadOptions()).split("train")
    write_folder(root / "packed", {"train": source}, shard_images=shard_images)
    return root / "packed"


def wait_until(happened: Callable[[], object]) -> None:
    """Wait for something that comes in a moment, and under load in minutes."""
    until = time.monotonic() + TIMEOUT
    while not happened():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.01)


def has_open(process: int | str, path: str | Path) -> bool:
    """Whether a process reads this file now."""
    name = os.path.realpath(path)
    with suppress(OSError):
        return any(os.path.realpath(each) == name for each in Path(f"/proc/{process}/fd").iterdir())
    return False


def read_terminal(controller: int) -> bytes:
    """All that is shown on a pseudo-terminal until its other side is closed."""
    shown = b""
    while True:
        try:
            chunk = os.read(controller, 65536)
        except OSError:  # the other side is closed
            return shown
        if not chunk:
            return shown
        shown += chunk


@pytest.fixture
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    learn_little(monkeypatch)


def learn_little(patch: pytest.MonkeyPatch) -> None:
    """Features "patches" that are learned in a moment: few atoms of few patches and windows."""
    small = {"PATCHES": 2000, "WINDOWS": 1000, "MAP_IMAGES": 10, "WINDOW_IMAGES": 10}
    for name, value in small.items():
        patch.setattr(f"catclf.features.patches.{name}", value)
    patch.setattr("catclf.features.patches.ATOMS_BY_IMAGES", ((10**6, 12),))


CLASSES = [b"non-cat", b"cat"]  # without these names a note says what label 1 is taken for


def write_hdf5(path: Path, **arrays: NDArray[np.generic] | list[bytes]) -> Path:
    """An HDF5 file with these arrays under these keys; names are of fixed length."""
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            file[key] = np.asarray(array)
    return path


def write_both_parts(path: Path, m: int, test_m: int, size: int = 8) -> Path:
    """Made images of a training and a test part in one file, in the course's schema."""
    x, y = make_images(m, size)
    test_x, test_y = make_images(test_m, size, seed=1)
    return write_hdf5(
        path,
        train_set_x=x,
        train_set_y=y,
        test_set_x=test_x,
        test_set_y=test_y,
        list_classes=CLASSES,
    )


@pytest.fixture
def small_hdf5(tmp_path: Path) -> Path:
    """Twenty 8x8 images, train and test in one file, in the course's schema."""
    return write_both_parts(tmp_path / "small.h5", 20, 10)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model by hand: z = +4 for a green image, -4 for a red one."""
    pixel = np.array([-4.0, 4.0, 0.0]) / 64**2
    w = np.tile(pixel, 64**2).reshape(-1, 1)
    catclf.save(catclf.Model(w, 0.0), tmp_path / "model.npz")
    return tmp_path / "model.npz"


def fill(root: Path, files: Mapping[str, str | bytes | Colour | NDArray[np.uint8]]) -> Path:
    """Files below a folder, by their names: text, bytes, an image's pixels, or its colour."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            path.write_text(content)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, tuple):
            paint(path, content)
        else:
            Image.fromarray(content).save(path)
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """What the files below a folder hold, by their names."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def told(data: Dataset, *texts: str) -> None:
    """Each text is in a note of the data set."""
    for text in texts:
        assert any(text in note for note in data.notes), data.notes


def fails(error: BaseException) -> Any:
    """A function that does nothing but raise."""

    def failing(*args: object, **options: object) -> NoReturn:
        raise error

    return failing


def opened(path: str | Path, split: Split = "train", **options: Any) -> Dataset:
    """One split of a data set, read with these options."""
    return open_dataset(path, split, ReadOptions(**options))


def unopened(path: str | Path, *says: str, split: Split = "train", **options: Any) -> str:
    """The one printable line that names the source and refuses it."""
    with pytest.raises(DataError) as caught:
        opened(path, split, **options)
    text = str(caught.value)
    assert text.startswith(f"{path}: "), text
    assert text.count(str(path)) == 1, text
    assert text.isprintable(), text
    for part in says:
        assert part in text, text
    return text


def paint(path: Path, colour: Colour, size: tuple[int, int] = (90, 70)) -> Path:
    """An image file of one colour."""
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store in this process's memory, and a folder of its own for what cannot be sent there."""
    fsspec = pytest.importorskip("fsspec")
    from catclf.storage import location

    monkeypatch.chdir(tmp_path)
    location._try_folder.cache_clear()
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
