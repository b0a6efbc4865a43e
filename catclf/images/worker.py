"""A process that decodes images: names come in on stdin, pixels or reasons go out on stdout.

``catclf.images.pool`` starts it and speaks to it. It loads Pillow and no NumPy, so that it is ready
soon and small; an image that kills it, or that the system kills it for, takes no one else along.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from catclf.errors import ImageError
from catclf.images import decode
from catclf.images.member import CONTENT, Content, Member
from catclf.images.preprocess import Limits, Preprocess

NAME = struct.Struct("<I")  # bytes of what follows: the settings, then names
ANSWER = struct.Struct("<?I")  # whether it succeeded; bytes of pixels or of the JSON reason
READY = b"+"  # sent once, when names can be taken


_FILE, _MEMBER = b"/", b":"  # the first byte of a place, or CONTENT


def place_of(path: str) -> bytes:
    """An image as a worker gets it: the name of a file, a place in an archive, or its bytes."""
    if isinstance(path, Content):
        return path.frame
    if isinstance(path, Member):
        return _MEMBER + path.packed()
    return _FILE + os.fsencode(path)


def _path(place: bytes) -> str:
    if place.startswith(CONTENT):
        return Content.framed("", "", place)
    content = place[1:]
    return Member.unpacked(content) if place.startswith(_MEMBER) else os.fsdecode(content)


def settings(preprocess: Preprocess, limits: Limits) -> str:
    """How images are to be decoded, which a worker gets first."""
    return json.dumps(
        [
            [preprocess.size, preprocess.fit, preprocess.resampling, preprocess.background],
            [limits.pixels, limits.file_bytes, limits.truncated],
        ]
    )


def main() -> None:
    """Answer each name in order until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    with suppress(OSError):  # where memory runs out, the system should end this process first
        Path("/proc/self/oom_score_adj").write_text("500")
    source = sys.stdin.buffer
    answers = os.dup(1)
    os.dup2(2, 1)  # so that nothing but answers can be written there
    with suppress(BrokenPipeError):
        _send(answers, READY)
        content = _next(source)
        if content is None:
            os._exit(0)
        (size, fit, resampling, background), limit = json.loads(content)
        preprocess = Preprocess(size, fit, resampling, tuple(background))
        limits = Limits(*limit)
        while (place := _next(source)) is not None:
            try:
                good, content = True, decode.read_bytes(_path(place), preprocess, limits)
            except ImageError as error:
                good, content = False, json.dumps([error.kind, str(error)]).encode()
            _send(answers, ANSWER.pack(good, len(content)) + content)
    os._exit(0)  # nothing is left to be written, and tidying up would take longer than an image


def _next(source: BinaryIO) -> bytes | None:
    """What comes next, until the other side has ended or closed the pipe."""
    head = source.read(NAME.size)
    return source.read(NAME.unpack(head)[0]) if head else None


def _send(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
