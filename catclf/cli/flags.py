"""Settings that the library names, as the options of the command line that set them."""

from __future__ import annotations

import re

_SETTING = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`\s]*))?`")


def as_options(message: str) -> str:
    """A message of the library with each setting in backticks as an option.

    `l2=0.1` becomes --l2 0.1 and `skip_bad` becomes --skip-bad: the library speaks to callers in
    Python, and knows no option.
    """
    return _SETTING.sub(_option, message)


def _option(match: re.Match[str]) -> str:
    name, value = match.groups()
    return f"--{name.replace('_', '-')}" + (f" {value}" if value is not None else "")
