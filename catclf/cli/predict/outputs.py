"""The outputs of ``catclf predict``: each is whole or not there, and its failures are counted.

In a folder an output whose argument could not be read, or not to its end, has a mark beside it: the
next run makes it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catclf.cli.stdout import Write, results, warn
from catclf.errors import OutputError, SettingsError
from catclf.storage.location import locate, same
from catclf.text import printable, url_of

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from catclf.cli.predict.records import Line
    from catclf.model.predict import Prediction

FAILED = ".failed"  # after the name of an output
Shard = tuple[list[str], Path | None]  # arguments, and the file of their records or None for stdout


def failed_mark(output: Path) -> Path:
    """The file that marks an output as one to be made again; it holds the failures."""
    return output.with_name(output.name + FAILED)


class Outputs:
    """The outputs of shards, one after the other; each file appears when its shard is done."""

    def __init__(
        self,
        shards: list[Shard],
        model: Path,
        tally: Tally,
        pause: AbstractContextManager[None],
        kept: bool,
        marked: bool,
    ) -> None:
        self._shards, self._model, self._tally, self._pause = deque(shards), model, tally, pause
        self._kept, self._marked = kept, marked
        self._head = b""
        self._line: Line = nothing
        self._tail: Callable[[], bytes] = bytes
        self._stack = ExitStack()

    def __enter__(self) -> Outputs:
        self._open()
        return self

    def __exit__(self, *failure: Any) -> bool | None:
        return self._stack.__exit__(*failure)

    def begin(self, head: bytes, line: Line, tail: Callable[[], bytes]) -> None:
        """Say how records are written: what is before them, each, and what is after them."""
        self._head, self._line, self._tail = head, line, tail
        self._write(head)

    def write(self, records: list[Prediction], ends: deque[int]) -> None:
        """Write records; ``ends`` are the numbers of records up to the ends of shards."""
        while records:
            while ends and ends[0] == self._tally.done:
                ends.popleft()
                self.end()
            stop = ends[0] - self._tally.done if ends else len(records)
            self._tally.show(records[:stop], self._write, self._line)
            records = records[stop:]

    def end(self) -> None:
        """Finish the output of a shard, and open the next one's."""
        self._write(self._tail())
        with self._pause:
            pass  # the last moment at which a signal leaves the old output
        output = self._shards[0][1]
        if self._marked and output is not None and self._tally.unread:
            with results(failed_mark(output), (), kept=False) as write:  # before it is there
                write("".join(f"{line}\n" for line in self._tally.unread).encode())
        self._stack.close()
        if self._marked and output is not None and not self._tally.unread:
            with suppress(OSError):  # who may write need not be allowed to remove
                locate(failed_mark(output)).remove()
        self._shards.popleft()
        if self._shards:
            self._open()
            self._write(self._head)

    def finish(self) -> None:
        """Finish the last output, and those of shards after it, which hold no inputs."""
        while self._shards:
            self.end()

    def _open(self) -> None:
        paths, output = self._shards[0]
        self._tally.begin(output, paths)
        taken = [self._model, *_files(paths)]
        self._write: Write = self._stack.enter_context(results(output, taken, kept=self._kept))


class Tally:
    """The records written so far, counted for the exit code; ``say`` names failures."""

    def __init__(self, say: Callable[[str], object] = warn) -> None:
        self._say = say
        self._output: Path | None = None
        self._replaces = False
        self._arguments: set[str] = set()
        self.unread: list[str] = []  # failures of arguments themselves, of the last output
        self.done = self.failed = self.negative = self.incomplete = 0

    def begin(self, output: Path | None, arguments: list[str]) -> None:
        """Note the output that the next records are for, and what it is made of."""
        self._output, self._replaces = output, False
        self._arguments, self.unread = {url_of(each) for each in arguments}, []
        with suppress(OSError):
            self._replaces = output is not None and locate(output).exists()

    def show(self, batch: list[Prediction], write: Write, line: Line) -> None:
        """Write a batch's lines, and name its failures on stderr."""
        for record in batch:
            self._require_kept(record)
            if record.error is not None:
                self.failed += 1
                said = f"{printable(record.path)}: {record.error}"
                self._say(said)
                if record.path in self._arguments:
                    self.incomplete += not self.unread
                    self.unread.append(said)
            elif not record.positive:
                self.negative += 1
        write(b"".join(map(line, batch)))
        self.done += len(batch)

    def add(self, others: Tally) -> None:
        """Count the records of others, too."""
        self.done += others.done
        self.failed += others.failed
        self.negative += others.negative
        self.incomplete += others.incomplete

    def __getstate__(self) -> dict[str, int]:
        """The numbers alone: a worker sends no more of it."""
        names = "done", "failed", "negative", "incomplete"
        return {name: getattr(self, name) for name in names}

    def _require_kept(self, record: Prediction) -> None:
        """Raise OutputError if the output is this image, found only in a folder or a list."""
        if self._output is None or not self._replaces:
            return
        with suppress(OSError, ValueError, SettingsError):  # a name that no file can have
            if same(Path(record.path), self._output):
                raise OutputError(
                    f"{printable(self._output)}: is an image to be scored, and saving would "
                    "replace it: give another output name"
                )


def nothing(record: Prediction) -> bytes:
    """The line of a record where none is written."""
    return b""


def _files(paths: list[str]) -> Iterator[Path]:
    """The files named by the arguments, which no output may replace."""
    return (Path(path.removeprefix("@")) for path in paths if path not in ("-", "@", ""))
