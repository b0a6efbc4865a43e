"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
from importlib import import_module
from importlib.util import find_spec

import pytest
from conftest import ROOT

MODULES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "catclf").rglob("*.py")
    if "\n    >>> " in path.read_text()
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_print_what_they_say(
    name: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "catclf.sklearn" and find_spec("sklearn") is None:
        pytest.skip("no scikit-learn")
    monkeypatch.chdir(str(tmp_path))
    result = doctest.testmod(import_module(name))
    assert result.attempted > 0
    assert result.failed == 0


def test_there_are_examples() -> None:
    assert {"catclf.datasets.open", "catclf.sklearn"} <= set(MODULES)
