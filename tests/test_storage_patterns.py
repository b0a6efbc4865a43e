"""Patterns of file names, as the shell and WebDataset write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from catclf.errors import SettingsError
from catclf.storage.location import expanded, is_pattern


def test_patterns_stand_for_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a1.png", "a2.png", "b[1].png", "{1..3}"):
        (tmp_path / name).write_bytes(b"")
    assert expanded(["x{08..11}.tar"]) == [f"x{number:02d}.tar" for number in (8, 9, 10, 11)]
    assert expanded(["{1..2}-{0..1}"]) == ["1-0", "1-1", "2-0", "2-1"]
    assert expanded(["{3..1}"]) == []
    assert expanded(["a*.png", "none*"]) == ["a1.png", "a2.png", "none*"]
    assert expanded(["b[1].png", "{1..3}", "plain"]) == ["b[1].png", "{1..3}", "plain"]
    assert expanded(["a{1..2}.p?g"]) == ["a1.png", "a2.png"]
    with pytest.raises(SettingsError, match="stands for 1000000000000 names"):
        expanded(["{1..1000000}{1..1000000}"])


def test_a_name_of_a_file_is_no_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b[1].png").write_bytes(b"")
    names = ("b[1].png", "b[2].png", "a*", "{1..2}", "{a,b}", "plain")
    assert list(map(is_pattern, names)) == [False, True, True, True, False, False]
