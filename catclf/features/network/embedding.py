"""Features of kind network: what a pretrained network says of an image before it classifies it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import SHORTEST, Features, Read, Rows, compiled
from catclf.features.network.architecture import (
    CENTER,
    FEATURES,
    LICENCE,
    NAME,
    PACKAGE,
    SCALE,
    SIDE,
    VERSION,
    counts,
    same_padding,
)
from catclf.features.network.forward import Network
from catclf.features.network.resize import resampling, resize
from catclf.features.network.weights import Weights
from catclf.maths import Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Graph

COMPILED_AFTER = 500  # images; compiling takes as long as computing a hundred of them
MIN_SIDE = 128  # smaller images are enlarged to SIDE: the network sees little in them as they are
MAX_SIDE = 320  # larger images are reduced to it


def side_for(size: int) -> int:
    """Pixels along a side of what the network sees of images of a size.

    From 128 to 320 it sees them as they are, faster where they are smaller. Larger ones are
    reduced to 320, and smaller ones enlarged to 256: on cats and dogs of 64 pixels a smaller
    network had 96 % right at its usual side, and 84 % at theirs.
    """
    return min(size, MAX_SIDE) if size >= MIN_SIDE else SIDE


class NetworkFeatures(Features):
    """Square roots of the means of the last convolution's 1280 channels in EfficientNet-Lite2.

    A row is brought to the length √n, so that its squares say what part of the activity is in each
    channel. Root and length together are worth 0.1 points on cats and dogs.

    Nothing is learned from the images of the data set: the weights come from ImageNet, a million
    photographs of a thousand classes, cats and dogs among them. With ``flip``, the mean over the
    image and its mirror image, which takes twice the time.
    """

    kind, default_size, flips, streams, knows_images = "network", SIDE, False, True, True
    block = 4  # a tenth of a second
    members = ("weights", "scales", "biases")
    n = FEATURES

    def __init__(self, size: int, weights: Weights, flip: bool = False) -> None:
        super().__init__(size, flip)
        self._weights, self.side = weights, side_for(size)
        self._network = Network(weights, self.side)
        self._seen = 0  # images, until compiled sums are used
        self._replacing = threading.Lock()

    @classmethod
    def pretrained(cls, size: int, flip: bool = False) -> Self:
        """With the weights of the installed data package. Raises SettingsError, ModelError."""
        from catclf.features.network.pretrained import pretrained

        return cls(size, pretrained(), flip)

    @classmethod
    def learn(cls, images: Any, seed: int = 0, *, flip: bool = False, **_: Any) -> Self:
        return cls.pretrained(int(images.shape[1]), flip)

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> Self:
        whole, channels = counts()
        shapes = (("|i1", whole), ("<f4", channels), ("<f4", channels))
        arrays = [
            read(name, dtype, (count,))
            for name, (dtype, count) in zip(cls.members, shapes, strict=True)
        ]
        return cls(size, Weights(*arrays), settings["flip"])

    @property
    def settings(self) -> dict[str, Any]:
        """With the origin and the licence of the weights, for people."""
        return {
            "kind": self.kind,
            "network": NAME,
            "weights": f"{PACKAGE} {VERSION}",
            "licence": LICENCE,
            "side": self.side,
            "flip": self.flip,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        weights = self._weights
        return {"weights": weights.values, "scales": weights.scales, "biases": weights.biases}

    @property
    def groups(self) -> dict[str, slice]:
        return {"channels": slice(0, self.n)}

    def name_of(self, number: int) -> str:
        return ""  # no number of a channel tells people anything

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        self._compile_for(len(images))
        rows = np.empty((len(images), self.n), dtype=np.float32)
        for image, row in zip(images, rows, strict=True):
            seen = resize(image, self.side)
            row[:] = self._network(seen)
            if self.flip:
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
        loops = compiled(self._seen > COMPILED_AFTER)
        if loops is not None and self._replacing.acquire(blocking=False):
            # The lock is never given back: this is done once.
            self._network = Network(self._weights, self.side, loops)

    def to_onnx(self, graph: Graph, images: str) -> str:
        pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
        if self.size != self.side:
            weights = resampling(self.size, self.side)
            lines = graph.add("MatMul", weights, pixels)
            pixels = graph.add("MatMul", lines, weights.T)
            pixels = _clip(graph, pixels, 255)
        kernels = _kernels(graph, self._weights)
        found = self._means(graph, pixels, kernels)
        if self.flip:
            both = graph.add("Add", found, self._means(graph, graph.reverse(pixels, 3), kernels))
            found = graph.add("Mul", both, np.float32(0.5))
        return graph.unit_rows(graph.add("Sqrt", found), np.sqrt(self.n), SHORTEST)

    def _means(self, graph: Graph, pixels: str, kernels: list[Any]) -> str:
        """The means of the last convolution's channels, (N, 1280), of pixels (N, 3, side, side)."""
        centred = graph.add("Sub", pixels, np.float32(CENTER))
        x = graph.add("Mul", centred, np.float32(1 / SCALE))
        entry, side = x, self.side  # of the block
        for layer, w, b in kernels:
            outputs, before, after = same_padding(side, layer.kernel, layer.stride)
            x = graph.add(
                "Conv",
                x,
                w,
                b,
                group=layer.outputs if layer.depthwise else 1,
                strides=[layer.stride] * 2,
                pads=[before, before, after, after],
            )
            side = outputs
            if layer.relu6:
                x = _clip(graph, x, 6)
            if layer.residual:
                x = graph.add("Add", x, entry)
            if layer.ends_block:
                entry = x
        return graph.reshape(graph.add("GlobalAveragePool", x), 0, -1)


def _kernels(graph: Graph, weights: Weights) -> list[Any]:
    """Each convolution with the names of its weights (outputs, inputs, k, k) and biases."""
    found = []
    for layer, values, scales, biases in weights.stored():
        shape = layer.kernel, layer.kernel, -1, layer.outputs
        kernels = values.reshape(shape).transpose(3, 2, 0, 1)
        # DequantizeLinear in place of Cast and Mul costs runtimes the fast form of convolutions.
        factors = scales[:, None, None, None]
        w = graph.add("Mul", graph.cast(kernels, np.float32), factors)
        found.append((layer, w, biases))
    return found


def _clip(graph: Graph, x: str, most: float) -> str:
    return graph.add("Clip", x, np.float32(0), np.float32(most))
