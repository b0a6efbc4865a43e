"""Numbers in sentences, by themselves and where commands say them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import Run

from catclf.text import (
    aligned,
    counted,
    pip_install,
    printable,
    setting_rows,
    to_install,
    without_query,
)


@pytest.mark.parametrize(("count", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images")])
def test_one_is_singular(count: int, text: str) -> None:
    assert counted(count, "image") == text
    assert counted(12345, "image", ",") == "12,345 images"


def test_columns_stand_under_each_other_and_colour_takes_no_room() -> None:
    rows = [("name", "value"), ("a", "\x1b[1m-1.5\x1b[0m"), ("longer", "22"), ("only",)]
    assert aligned(rows, "<>") == [
        "name    value",
        "a        \x1b[1m-1.5\x1b[0m",
        "longer     22",
        "only",
    ]
    assert aligned([("a", ""), ("bc", "d")], "><", gap=" | ") == [" a |", "bc | d"]
    assert aligned([], "<") == []


def test_settings_that_hold_several_values_have_a_row_for_each() -> None:
    counts = {"tp": 3, "fp": 1, "tn": 5, "fn": 1}
    deep: list[object] = []
    for _ in range(10000):
        deep = [deep]
    settings = {
        "l2": 0.1,
        "flip": True,
        "chosen": {"names": ["l2", "threshold"], "folds": 5, "images": 10, "counts": counts},
        "odd\n": {"a b": [1, {"c": None}]},
        "deep": deep,
    }
    assert setting_rows(settings) == [
        ("l2", "0.1"),
        ("flip", "yes"),
        ("selected by cross-validation", "l2, threshold"),
        ("cross-validation folds", "5"),
        ("cross-validation images", "10"),
        ("cross-validation accuracy", "80.00 %, 8 of 10"),
        ("odd\\n a b", "1, c none"),
        ("deep", "…"),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("https://a.b/c.tar?X-Signature=secret&n=.tar#x", "https://a.b/c.tar"),
        ("https://user:word@a.b/c", "https://a.b/c"),
        ("https://token@a.b/c", "https://a.b/c"),
        ("ftp://user:word@a.b/c", "ftp://a.b/c"),
        ("abfs://bin@a.b/c?d#e", "abfs://bin@a.b/c?d#e"),
        ("s3://bucket/what?.png", "s3://bucket/what?.png"),
        ("a?b@c#d", "a?b@c#d"),
        ("HTTPS://u:p@host/a.zip?sig=1", "https://host/a.zip"),
        ("wasbs://c@account/a.zip?sv=1&sig=1", "wasbs://c@account/a.zip"),
        ("gs://bucket/really?.png", "gs://bucket/really?.png"),
    ],
)
def test_what_opens_a_file_to_others_is_not_shown(path: str, text: str) -> None:
    assert without_query(path) == printable(path) == text


def test_a_name_is_never_taken_for_a_setting(run: Run, model: Path) -> None:
    for name in ("no`l2=3`.png", "`lr` `a.png", "a`b.png"):
        assert run("predict", name).stderr == f"catclf: {name}: there is no such file\n"


def test_a_command_to_install_is_that_of_this_python_and_quoted() -> None:
    assert pip_install("a b==1") == f"{sys.executable} -m pip install 'a b==1'"
    assert to_install("parquet").startswith(f"{sys.executable} -m pip install 'pyarrow>=")
    assert to_install("nonsense").endswith("'catclf[nonsense]'")
