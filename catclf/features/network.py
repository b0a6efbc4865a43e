"""Features of kind network: what a pretrained network says of a photograph before it classifies it.

The forward pass is NumPy alone. An image passes through by itself, in products whose shapes depend
on the network and on its side alone, so that its features have the same bits in any batch and for
any number of workers, as long as BLAS has one thread. Channels come last: a pointwise convolution
is one product of matrices, and a depthwise one is a sum over windows in which neighbouring numbers
are neighbours in memory.

A block widens its input six times before it narrows it again. The wide numbers are never held
whole: a band of rows is expanded, summed over windows and projected while it is in the cache, and
the few rows that the next band needs, too, are kept.
"""

from __future__ import annotations

import math
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from catclf.features import efficientnet as net
from catclf.features.base import SHORTEST, Features, Read, Rows, compiled
from catclf.features.efficientnet import Convolution, Floats32, Weights, same_padding
from catclf.maths import Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Value

COMPILED_AFTER = 500  # images; compiling takes as long as computing a hundred of them
MIN_SIDE = 128  # smaller images are enlarged to SIDE: the network sees little in them as they are
MAX_SIDE = 320  # larger images are reduced to it
BAND = 1 << 18  # numbers of a band of expanded rows: 1 MB
PIXELS = 196  # of a band at least, where there are as many: fewer make slow products
RUN = 1 << 12  # numbers at least, where there are as many, in the inner loop of a depthwise sum
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

    @classmethod
    def learn(cls, images: Any, seed: int = 0, *, flip: bool = False, **_: Any) -> Self:
        """With the weights of the installed data package. Raises SettingsError, ModelError."""
        return cls(int(images.shape[1]), net.pretrained(), flip)

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
        loops = compiled(self._seen > COMPILED_AFTER)
        if loops is not None and not self._network.compiled:  # compiled sums have the same bits
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

    def to_onnx(self, images: Value) -> Value:
        pixels = images.cast(np.float32).transpose(0, 3, 1, 2)
        if self.size != self.side:
            weights = resampling(self.size, self.side)
            pixels = (weights @ pixels @ weights.T).op("Clip", 0.0, 255.0)
        kernels = []
        for layer, values, scales, biases in self._weights.stored():
            shape = layer.kernel, layer.kernel, -1, layer.outputs
            whole = images.graph.constant(values.reshape(shape).transpose(3, 2, 0, 1))
            # DequantizeLinear in place of Cast and Mul costs runtimes the fast convolutions.
            kernels.append((layer, whole.cast(np.float32) * scales[:, None, None, None], biases))
        found = self._means(pixels, kernels)
        if self.flip:
            found = (found + self._means(pixels.reverse(3), kernels)) * 0.5
        return found.sqrt().unit_rows(math.sqrt(self.n), SHORTEST)

    def _means(self, pixels: Value, kernels: list[tuple[Convolution, Value, Floats32]]) -> Value:
        """The means of the last convolution's channels, (N, 1280), of pixels (N, 3, side, side)."""
        x = (pixels - net.CENTER) * (1 / net.SCALE)
        entry, side = x, self.side  # of the block
        for layer, w, b in kernels:
            outputs, before, after = same_padding(side, layer.kernel, layer.stride)
            pads, strides = [before, before, after, after], [layer.stride] * 2
            group = layer.outputs if layer.depthwise else 1
            x = x.op("Conv", w, b, group=group, strides=strides, pads=pads)
            side = outputs
            if layer.relu6:
                x = x.op("Clip", 0.0, 6.0)
            if layer.residual:
                x = x + entry
            if layer.ends_block:
                entry = x
        return x.op("GlobalAveragePool").reshape(0, -1)


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


class Network:
    """The map from an image to the means of the last convolution's 1280 channels."""

    def __init__(self, weights: Weights, side: int, kernels: ModuleType | None = None) -> None:
        """For images of side x side; ``kernels`` are compiled ones, with the same sums."""
        self.compiled = kernels is not None
        layers = weights.layers()
        inner, _, _ = same_padding(side, layers[0][0].kernel, layers[0][0].stride)
        self._blocks: list[_Block] = []
        for at in range(0, len(layers) - 1, 3):
            self._blocks.append(_Block(layers[at : at + 3], inner, kernels))
            inner = self._blocks[-1].side
        _, self._w, self._b = layers[-1]
        self._free: list[list[Floats32]] = []  # buffers that no thread uses now

    def __call__(self, image: NDArray[Any]) -> Floats32:
        """Features (1280,) of an image (side, side, 3) of numbers from 0 to 255.

        To be called with one BLAS thread.
        """
        try:
            buffers = self._free.pop()
        except IndexError:
            sizes = zip(*(block.sizes for block in self._blocks), strict=True)
            buffers = [np.empty(max(each), np.float32) for each in sizes]
        lines, product, sums, result, other = buffers
        X = _windows(image, self._blocks[0].inner)
        for block in self._blocks:
            X = block(X, lines, product, sums, result)
            result, other = other, result
        Z = X @ self._w
        self._free.append(buffers)
        Z += self._b
        np.clip(Z, 0, 6, out=Z)
        return np.asarray(Z.mean(axis=0, dtype=np.float32))


class _Block:
    """An expansion (in the first block the stem), sums over windows, and a projection.

    Maps of inner x inner pixels get ``before`` zeros and others after them, and become maps of
    side x side. ``rows`` of results are made at a time, of ``lines`` of the expanded map. The
    weights of sums (kernel, kernel, group * channels) are repeated for ``group`` neighbouring
    results, and biases for a whole row of a map. Compiled sums need no repeated weights.
    """

    def __init__(self, layers: list[Any], inner: int, kernels: ModuleType | None) -> None:
        (_, self._expand, b), (layer, w, c), (last, self._project, d) = layers
        self._kernels, self._residual = kernels, last.residual
        self._kernel, self._stride, self._channels = layer.kernel, layer.stride, layer.outputs
        kernel, stride, channels = layer.kernel, layer.stride, layer.outputs
        side, before, after = same_padding(inner, kernel, stride)
        self.inner, self.side, self._before = inner, side, before
        self._width = before + inner + after
        self._group = 1
        if stride == 1 and kernels is None:
            fits = [count for count in range(1, side + 1) if side % count == 0]
            self._group = next((count for count in fits if count * channels >= RUN), side)
        lines = BAND // (self._width * channels)
        self._rows = min(side, max(-(-PIXELS // side), (lines - kernel) // stride + 1))
        self._lines = (self._rows - 1) * stride + kernel
        self._w = np.tile(w, (1, 1, self._group))
        self._b, self._c, self._d = np.tile(b, inner), np.tile(c, side), np.tile(d, side)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each buffer: lines, the product before them, sums of a band, two results."""
        lines = self._lines * self._width * self._channels
        result = self.side**2 * self._project.shape[1]
        return lines, lines, self._rows * self.side * self._channels, result, result

    def __call__(
        self, X: Floats32, lines: Floats32, product: Floats32, sums: Floats32, result: Floats32
    ) -> Floats32:
        """The result (pixels, outputs) for the input X (pixels, inputs), in a buffer."""
        side, stride, kernel, rows = self.side, self._stride, self._kernel, self._rows
        result = _shaped(result, side * side, self._project.shape[1])
        lines = _shaped(lines, self._lines, self._width, self._channels)
        lines[:, : self._before] = 0
        lines[:, self._before + self.inner :] = 0
        for top in range(0, side, rows):
            count = min(rows, side - top)
            kept = kernel - stride if top else 0
            lines[:kept] = lines[rows * stride :][:kept]
            needed = (count - 1) * stride + kernel
            self._fill(lines[kept:needed], X, top * stride + kept - self._before, product)
            inside = _shaped(sums, count, side * self._channels)
            self._sum(lines[:needed], inside)
            pixels = slice(top * side, (top + count) * side)
            Z = result[pixels]
            np.matmul(inside.reshape(len(Z), -1), self._project, out=Z)
            across = Z.reshape(count, -1)
            if self._residual and self._kernels:
                self._kernels.add(across, self._d, X[pixels].reshape(count, -1))
                continue
            across += self._d
            if self._residual:
                Z += X[pixels]
        return result

    def _fill(self, lines: Floats32, X: Floats32, first: int, product: Floats32) -> None:
        """Lines (rows, width, channels) := relu6(X w + b), zeros above and below the map."""
        inner = self.inner
        above, end = max(0, -first), max(0, min(len(lines), inner - first))
        lines[:above] = 0
        lines[end:] = 0
        if end <= above:
            return
        lines, start = lines[above:end], first + above
        Z = _shaped(product, len(lines) * inner, self._channels)
        np.matmul(X[start * inner : (start + len(lines)) * inner], self._expand, out=Z)
        rows = Z.reshape(len(lines), -1)
        if self._kernels:
            first, step = self._before * self._channels, self._width * self._channels
            self._kernels.activate(rows, self._b, lines.reshape(-1), first, step)
            return
        target = lines[:, self._before : self._before + inner]
        flat = as_strided(target, rows.shape, (target.strides[0], target.itemsize))
        rows += self._b
        np.clip(rows, 0, 6, out=flat)

    def _sum(self, lines: Floats32, out: Floats32) -> None:
        """Out (rows, side * channels) := relu6 of each channel's sums over windows and its bias."""
        if self._kernels:
            flat = lines.reshape(len(lines), -1)
            self._kernels.depthwise(flat, self._w, self._c, self._stride, self.side, out)
            return
        down, across, each = lines.strides
        groups, run = self.side // self._group, self._w.shape[2]
        windows = as_strided(
            lines,
            (self._kernel, self._kernel, len(out), groups, run),
            (down, across, down * self._stride, across * self._stride * self._group, each),
        )
        np.einsum("ijyxc,ijc->yxc", windows, self._w, out=out.reshape(len(out), groups, run))
        out += self._c
        np.clip(out, 0, 6, out=out)


def _shaped(buffer: Floats32, *shape: int) -> Floats32:
    """The beginning of a buffer as an array of a shape."""
    return buffer[: math.prod(shape)].reshape(shape)


def _windows(image: NDArray[Any], side: int) -> Floats32:
    """The stem's windows (side * side, 27) of an image: 3x3 pixels, stride 2."""
    length, half = len(image), side + 1
    before = same_padding(length, 3, 2)[1]
    pixels = np.zeros((2 * half, 2 * half, 3), np.float32)
    inner = pixels[before : before + length, before : before + length]
    np.subtract(image, np.float32(net.CENTER), out=inner)
    inner *= np.float32(1 / net.SCALE)
    # Even and odd rows and columns by themselves, so that windows are cut out as whole rows.
    planes = pixels.reshape(half, 2, half, 2, 3).transpose(1, 3, 4, 0, 2).copy()
    windows = np.empty((3, 3, 3, side, side), np.float32)
    for i in range(3):
        for j in range(3):
            windows[i, j] = planes[i % 2, j % 2, :, i // 2 : i // 2 + side, j // 2 : j // 2 + side]
    return windows.reshape(27, -1).T
