"""Features of kind network: what a pretrained network says of an image before it classifies it."""

from __future__ import annotations

import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from catclf.features.base import SHORTEST, Features, Read, Rows, compiled
from catclf.features.network import architecture as net
from catclf.features.network.architecture import Convolution, Floats32, Weights, same_padding
from catclf.features.network.forward import Network
from catclf.maths import Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Graph

COMPILED_AFTER = 500  # images; compiling takes as long as computing a hundred of them
MIN_SIDE = 128  # smaller images are enlarged to SIDE: the network sees little in them as they are
MAX_SIDE = 320  # larger images are reduced to it
_CUBIC = -0.5  # the a of Keys's kernel, as Pillow has it
_SUPPORT = 2.0  # half the kernel's width


def side_for(size: int) -> int:
    """Pixels along a side of what the network sees of images of a size.

    From 128 to 320 it sees them as they are, faster where they are smaller. Larger ones are
    reduced to 320, and smaller ones enlarged to 256: on cats and dogs of 64 pixels a smaller
    network had 96 % right at its usual side, and 84 % at theirs.
    """
    return min(size, MAX_SIDE) if size >= MIN_SIDE else net.SIDE


class NetworkFeatures(Features):
    """Square roots of the means of the last convolution's 1280 channels in EfficientNet-Lite2.

    A row is brought to the length √n, so that its squares say what part of the activity is in each
    channel. Root and length together are worth 0.1 points on cats and dogs.

    Nothing is learned from the images of the data set: the weights come from ImageNet, a million
    photographs of a thousand classes, cats and dogs among them. With ``flip``, the mean over the
    image and its mirror image, which takes twice the time.
    """

    kind, default_size, flips, streams, knows_images = "network", net.SIDE, False, True, True
    block = 4  # a tenth of a second
    members = ("weights", "scales", "biases")
    n = net.FEATURES

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
        whole, channels = net.counts()
        values, scales = read("weights", "|i1", (whole,)), read("scales", "<f4", (channels,))
        weights = Weights(values, scales, read("biases", "<f4", (channels,)))
        return cls(size, weights, settings["flip"])

    @property
    def settings(self) -> dict[str, Any]:
        """With the origin and the licence of the weights, for people."""
        origin = f"{net.PACKAGE} {net.VERSION}"
        of_network = {"network": net.NAME, "weights": origin, "licence": net.LICENCE}
        return {"kind": self.kind} | of_network | {"side": self.side, "flip": self.flip}

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
        self._seen += len(images)
        if not self._network.compiled:  # compiled sums have the same bits
            loops = compiled(self._seen > COMPILED_AFTER)
            if loops is not None and self._replacing.acquire(blocking=False):
                # The lock is never given back: this is done once.
                self._network = Network(self._weights, self.side, loops)
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

    def to_onnx(self, graph: Graph, images: str) -> str:
        pixels = graph.transpose(graph.cast(images, np.float32), 0, 3, 1, 2)
        if self.size != self.side:
            weights = resampling(self.size, self.side)
            lines = graph.add("MatMul", weights, pixels)
            pixels = _clip(graph, graph.add("MatMul", lines, weights.T), 255)
        kernels = []
        for layer, values, scales, biases in self._weights.stored():
            shape = layer.kernel, layer.kernel, -1, layer.outputs
            w = graph.cast(values.reshape(shape).transpose(3, 2, 0, 1), np.float32)
            # DequantizeLinear in place of Cast and Mul costs runtimes the fast convolutions.
            kernels.append((layer, graph.add("Mul", w, scales[:, None, None, None]), biases))
        found = self._means(graph, pixels, kernels)
        if self.flip:
            both = graph.add("Add", found, self._means(graph, graph.reverse(pixels, 3), kernels))
            found = graph.add("Mul", both, np.float32(0.5))
        return graph.unit_rows(graph.add("Sqrt", found), np.sqrt(self.n), SHORTEST)

    def _means(
        self, graph: Graph, pixels: str, kernels: list[tuple[Convolution, str, Floats32]]
    ) -> str:
        """The means of the last convolution's channels, (N, 1280), of pixels (N, 3, side, side)."""
        centred = graph.add("Sub", pixels, np.float32(net.CENTER))
        x = graph.add("Mul", centred, np.float32(1 / net.SCALE))
        entry, side = x, self.side  # of the block
        for layer, w, b in kernels:
            outputs, before, after = same_padding(side, layer.kernel, layer.stride)
            pads, strides = [before, before, after, after], [layer.stride] * 2
            group = layer.outputs if layer.depthwise else 1
            x = graph.add("Conv", x, w, b, group=group, strides=strides, pads=pads)
            side = outputs
            if layer.relu6:
                x = _clip(graph, x, 6)
            if layer.residual:
                x = graph.add("Add", x, entry)
            if layer.ends_block:
                entry = x
        return graph.reshape(graph.add("GlobalAveragePool", x), 0, -1)


def _clip(graph: Graph, x: str, most: float) -> str:
    return graph.add("Clip", x, np.float32(0), np.float32(most))


@lru_cache(maxsize=4)
def resampling(size: int, side: int) -> NDArray[np.float32]:
    """Weights (side, size) of the pixels of a line for each pixel of a line of another length.

    R. Keys, "Cubic convolution interpolation for digital image processing", 1981. Where the line
    gets shorter the kernel gets wider, so that no pixel is left out. Each row sums to 1.
    """
    scale = size / side
    wide = max(scale, 1.0)
    centers = (np.arange(side) + 0.5) * scale
    x = np.abs(np.arange(size) + 0.5 - centers[:, None]) / wide
    near = ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _CUBIC
    weights = np.where(x < 1, near, np.where(x < _SUPPORT, far, 0.0))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def resize(image: NDArray[Any], side: int) -> NDArray[Any]:
    """An image (size, size, 3) as (side, side, 3), float32 from 0 to 255; the same if it fits.

    To be called with one BLAS thread, for equal sums everywhere.
    """
    size = len(image)
    if size == side:
        return image
    weights = resampling(size, side)
    down = weights @ image.reshape(size, size * 3).astype(np.float32)  # (side, size * 3)
    turned = down.reshape(side, size, 3).transpose(1, 0, 2).reshape(size, side * 3)
    across = (weights @ turned).reshape(side, side, 3)  # columns first
    return np.asarray(np.clip(across.transpose(1, 0, 2), 0, 255))
