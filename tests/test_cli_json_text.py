"""JSON of every command where files, folders and classes have names that are not UTF-8."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, fill
from hypothesis import given
from hypothesis import strategies as st

from catclf.cli.shell import json_line

NAMES = (b"caf\xe8", b"caf\xe9")  # two classes that look the same when decoded
SHOWN = "caf\ufffd"


def unicode_json(line: str) -> Any:
    """One line of strict JSON, all of whose texts can be written as UTF-8."""

    def refuse(constant: str) -> Any:
        raise AssertionError(constant)

    assert line.isascii()
    assert line.count("\n") == 1
    found = json.loads(line, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")
    return found


def bytes_of(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


@pytest.fixture
def photos(run: Run, tmp_path: Path) -> Path:
    """Class folders, in a folder, all with names that are not UTF-8, and a model of them."""
    names = [os.fsdecode(b"%s/%d\xfe.png" % (name, i)) for name in NAMES for i in range(6)]
    noise = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    root = fill(tmp_path / os.fsdecode(b"\xff"), dict(zip(names, noise, strict=True)))
    assert run("train", "--data", root, "--size", "8", "--iterations", "5", "-q").code == 0
    return root


def test_no_command_prints_half_a_character(run: Run, photos: Path) -> None:
    def of(*args: str | Path) -> Any:
        result = run(*args, "--format", "json")
        assert result.code in (0, 1), result.stderr
        return unicode_json(result.stdout)

    found = of("evaluate", photos, "--threshold", "1")
    assert found["source"] == "\ufffd"
    assert bytes_of(found["source_base64"]) == b"\xff"
    assert found["classes"] == [SHOWN, SHOWN]
    assert tuple(map(bytes_of, found["classes_base64"])) == NAMES
    mistake = found["mistakes"][0]
    assert bytes_of(mistake["label_base64"]) in NAMES
    assert bytes_of(mistake["name_base64"]).endswith(b"\xfe.png")
    compared = of("compare", photos, "--size", "8", "--iterations", "5", "--folds", "2")
    assert bytes_of(compared["source_base64"]) == b"\xff"
    info = of("data", "info", photos)
    assert bytes_of(info["source_base64"]).endswith(b"/\xff")
    assert info["parts"]["train"]["classes"] == {"caf\\xe8": 6, "caf\\xe9": 6}
    of("data", "verify", photos, "--size", "8")
    assert bytes_of(of("inspect", "model.npz")["training"]["source_base64"]) == b"\xff"
    image = next(photos.glob("*/*.png"))
    assert bytes_of(of("explain", image)["label_base64"]) in NAMES
    assert bytes_of(of("explain", photos, "--index", "0")["predicted_base64"]) in NAMES


def test_a_record_of_predict_has_the_bytes_of_path_and_label(run: Run, photos: Path) -> None:
    image = next(photos.glob("*/*.png"))
    found = unicode_json(run("predict", image, "--format", "jsonl").stdout)
    assert bytes_of(found["path_base64"]) == os.fsencode(image)
    assert found["label"] == SHOWN
    assert bytes_of(found["label_base64"]) in NAMES


values = st.recursive(
    st.text(st.characters()) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=4))
def test_any_text_becomes_unicode(fields: dict[str, Any]) -> None:
    unicode_json(json_line(fields))


def test_what_is_unicode_is_not_changed() -> None:
    fields = {"ä": "日本", "list": ["é", 1, None], "of": [["😀"], {"a": "b"}]}
    assert json.loads(json_line(fields)) == fields
