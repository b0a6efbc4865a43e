"""Features of kind network: what a pretrained network says of an image before it classifies it."""

from __future__ import annotations

import json
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.base import Read, Rows, require_images
from catclf.features.compiled import kernels
from catclf.features.network.architecture import (
    FEATURES,
    LICENCE,
    NAME,
    PACKAGE,
    SIDE,
    VERSION,
    counts,
)
from catclf.features.network.forward import Network
from catclf.features.network.pretrained import pretrained
from catclf.features.network.resize import resize
from catclf.features.network.weights import Weights
from catclf.maths import Pixels

COMPILED_AFTER = 500  # images; compiling takes as long as computing a hundred of them
SHORTEST = np.float32(1e-6)  # of a row that is brought to that length
MIN_SIDE = 128  # smaller images are enlarged to SIDE: the network sees little in them as they are
MAX_SIDE = 320  # larger images are reduced to it: the network gains nothing from more pixels


def side_for(size: int) -> int:
    """Pixels along a side of what the network sees of images of a size.

    From 128 to 320 it sees them as they are, faster where they are smaller. Larger ones are
    reduced to 320, and smaller ones enlarged to 256: on cats and dogs of 64 pixels a smaller
    network had 96 % right at its usual side, and 84 % at theirs.
    """
    return min(size, MAX_SIDE) if size >= MIN_SIDE else SIDE


class NetworkFeatures:
    """Square roots of the means of the last convolution's 1280 channels in EfficientNet-Lite2.

    A row is brought to the length √n, so that its squares say what part of the activity is in each
    channel. Root and length together are worth 0.1 points on cats and dogs.

    Nothing is learned from the images of the data set: the weights come from ImageNet, a million
    photographs of a thousand classes, cats and dogs among them. With ``flip``, the mean over the
    image and its mirror image, which takes twice the time.
    """

    kind = "network"
    n = FEATURES
    block = 4  # images that a thread encodes at a time: a tenth of a second

    def __init__(self, size: int, weights: Weights, flip: bool = False) -> None:
        self._size, self._weights, self._flip = size, weights, flip
        self.side = side_for(size)
        self._network = Network(weights, self.side)
        self._seen = 0  # images, until compiled sums are used
        self._replacing = threading.Lock()

    @classmethod
    def pretrained(cls, size: int, flip: bool = False) -> NetworkFeatures:
        """With the weights of the installed data package. Raises SettingsError, ModelError."""
        return cls(size, pretrained(), flip)

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> NetworkFeatures:
        """From a model file. Raises SettingsError, ModelError."""
        whole, channels = counts()
        flip = settings.get("flip")
        expected = _settings(side_for(size), flip is True)
        # As text, in which 1, 1.0 and true differ.
        if json.dumps(settings, sort_keys=True) != json.dumps(expected, sort_keys=True):
            raise SettingsError("network settings that this catclf does not know")
        weights = Weights(
            read("weights", "|i1", (whole,)),
            read("scales", "<f4", (channels,)),
            read("biases", "<f4", (channels,)),
        )
        return cls(size, weights, flip is True)

    @property
    def settings(self) -> dict[str, Any]:
        return _settings(self.side, self._flip)

    @property
    def parts(self) -> dict[str, slice]:
        return {"channels": slice(0, self.n)}

    def name_of(self, number: int) -> str:
        return f"channel {number}"

    def arrays(self) -> dict[str, NDArray[Any]]:
        weights = self._weights
        return {"weights": weights.values, "scales": weights.scales, "biases": weights.biases}

    def transform(self, images: Pixels) -> Rows:
        """Rows (k, 1280), each image by itself."""
        require_images(images, self._size)
        self._compile_for(len(images))
        rows = np.empty((len(images), self.n), dtype=np.float32)
        for image, row in zip(images, rows, strict=True):
            seen = resize(image, self.side)
            row[:] = self._network(seen)
            if self._flip:
                row += self._network(seen[:, ::-1])
                row *= np.float32(0.5)
        np.sqrt(rows, out=rows)
        lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        rows *= np.float32(np.sqrt(self.n)) / np.maximum(lengths, SHORTEST)
        return rows

    def _compile_for(self, count: int) -> None:
        """Use compiled sums after many images, for as many more: the bits stay the same."""
        self._seen += count
        if self._network.compiled:
            return
        loops = kernels(self._seen > COMPILED_AFTER)
        if loops is not None and self._replacing.acquire(blocking=False):
            # The lock is never given back: this is done once.
            self._network = Network(self._weights, self.side, loops)


def _settings(side: int, flip: bool) -> dict[str, Any]:
    """What a model file remembers; the origin and the licence of the weights are told to people."""
    return {
        "kind": NetworkFeatures.kind,
        "network": NAME,
        "weights": f"{PACKAGE} {VERSION}",
        "licence": LICENCE,
        "side": side,
        "flip": flip,
    }
