"""The exit codes that shell scripts may rely on."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a shell script may rely on."""

    DONE = 0
    NO = 1  # the answer is no, as grep and diff say it
    FAILED = 2  # could not do the job: usage, unreadable model or data, diverged
    PARTIAL = 3  # did the job, but some inputs failed
    HUNG_UP = 129
    INTERRUPTED = 130
    TERMINATED = 143
    CLOSED_PIPE = 141
