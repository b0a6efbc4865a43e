"""The two layers of ``patches``: an image to a map of small descriptions, a map to a row.

A. Coates and A. Ng, "Learning feature representations with k-means", 2012, section 4: the strengths
of a first layer's atoms, pooled, are what a second layer's patches are cut from. Different here:
both layers are symmetric under the mirror, channels between them are principal directions in the
place of receptive fields, windows are brought to one length, and pooled numbers go through a root.

Both work on one image at a time, in bands that stay in the processor's cache. To be called with one
BLAS thread. Beside each stands the same as nodes of an ONNX graph, for many images at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catclf import samples
from catclf.errors import SettingsError
from catclf.features.base import SHORTEST, Rows
from catclf.maths import Pixels

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Value

USUAL_SIZE = 128  # larger images are first reduced by a whole factor to about this
SMALL = 96  # images of at most this size, after the reduction, are small
PRODUCTS_LIMIT = 10**10  # of one layer for an image: a third of a second
NUMBERS_HELD = 1 << 24  # at a time, for one image: 64 MB
NUMBERS_LIMIT = 1_000_000  # features of an image; 1024x1024 pixels are no more than 3 million
BAND = 512  # patches of an image that are encoded at a time, or a few more
ATOMS = 512  # atoms of the second layer that are pooled at a time
MIDDLE = np.float32(128.0)  # taken from pixels, so that sums of squares keep their digits
HALF, ZERO = np.float32(0.5), np.float32(0.0)
# What was tried, by AUC in 5-fold cross-validation with dictionaries learned from all images; the
# standard deviation of a round is 0.001. 2000 cats and dogs of 128 pixels, 1600 atoms:
#   0.940  the mean of max(±z - 1, 0) in a region, square root, patches of 6
#   0.945  the mean of squares instead, or the maximum      0.949  fourth powers and no threshold
#   0.950  sixth powers      0.955  and patches of 8 (0.942 at every third pixel)
# No more than 0.002 came of a second map with fewer places, the first layer's own numbers beside
# the second's, 1x1 and 2x2 regions together, twice the channels, or training on shifted crops.
# 209 images of 64 pixels, fourth powers: 0.965 with patches of 6 at every second pixel, 0.969 at
# every pixel, 0.973 with 256 first atoms and 96 channels; 0.971 with patches of 5, 0.970 of 4.
# Learning, 3200 atoms, AUC of two rounds: 0.953 and 0.951 from 40 000 windows, 0.956 and 0.953 from
# 100 000, 0.959 and 0.956 with rows damped, too (see ``Standardizer``). No better: 10 rounds of
# k-means (0.956, 0.953), whitening with 0.1 (0.951, 0.950) or 0.6 (0.954, 0.953) of the mean
# eigenvalue; from 40 000 windows 0.957, 0.954 with 384 directions and 0.956, 0.953 with 6400 atoms.


def _setting(usual: Any, least: Any, most: Any) -> Any:
    """A field with its bounds."""
    return field(default=usual, metadata={"bounds": (least, most)})


@dataclass(frozen=True)
class Recipe:
    """The settings of both layers. Raises SettingsError for those out of bounds.

    First layer: ``first_atoms``, half of them mirror images of the others, of ``patch`` pixels
    along a side, at every ``stride`` pixels; ``epsilon`` is added to a patch's variance;
    ``first_threshold`` is taken from an atom's strength; pooled to ``places`` along a side, and
    projected on ``channels`` directions. Second layer: windows of ``window`` places along a side,
    normalized with ``floor`` times their mean energy, projected on ``directions``;
    ``second_atoms``, and ``grid`` regions along a side.
    """

    first_atoms: int = _setting(128, 2, 1024)
    patch: int = _setting(8, 2, 16)
    stride: int = _setting(2, 1, 16)
    epsilon: float = _setting(10.0, 1e-6, 1e6)
    first_threshold: float = _setting(0.5, 0.0, 100.0)
    places: int = _setting(15, 2, 64)
    channels: int = _setting(64, 1, 512)
    window: int = _setting(3, 1, 16)
    floor: float = _setting(0.01, 1e-6, 1e6)
    directions: int = _setting(256, 1, 1024)
    second_atoms: int = _setting(3200, 2, 65536)
    grid: int = _setting(2, 1, 16)
    flip: bool = _setting(True, False, True)

    def __post_init__(self) -> None:
        sound = all(
            type(value := getattr(self, each.name)) is type(each.default)
            and each.metadata["bounds"][0] <= value <= each.metadata["bounds"][1]
            for each in fields(self)
        )
        sound = (
            sound
            and self.first_atoms % 2 == self.second_atoms % 2 == 0
            and self.second_steps >= self.grid
            and self.channels <= 2 * self.first_atoms
            and self.directions <= self.window_numbers
            and self.n <= NUMBERS_LIMIT
        )
        if not sound:
            raise SettingsError("patches settings out of bounds")

    @classmethod
    def of(cls, size: int, atoms: int, flip: bool = True) -> Recipe:
        """The recipe for images of a size.

        Small images have few pixels to tell apart by and few patches to encode: their patches are
        smaller and denser, and more numbers of each place are kept.
        """
        usual = cls(second_atoms=atoms, flip=flip)
        if size // cls.reduction(size) > SMALL:
            return usual
        return replace(usual, first_atoms=256, patch=6, stride=1, channels=96, directions=384)

    @property
    def numbers(self) -> int:
        """Numbers in a patch."""
        return self.patch**2 * 3

    @property
    def window_numbers(self) -> int:
        """Numbers in a window of the map."""
        return self.window**2 * self.channels

    @property
    def second_steps(self) -> int:
        """Windows along a side of the map."""
        return self.places - self.window + 1

    @property
    def n(self) -> int:
        """Two signs of each atom in each region; half of it when sides are alike."""
        return self.grid**2 * 2 * self.second_atoms // (2 if self.flip else 1)

    @staticmethod
    def reduction(size: int) -> int:
        """The whole factor by which images of a size are reduced first."""
        return max(1, size // USUAL_SIZE)

    def first_steps(self, size: int) -> int:
        """Patches along a side of an image."""
        return (size // self.reduction(size) - self.patch) // self.stride + 1

    def require_size(self, size: int) -> None:
        """Raise SettingsError when images have too few patches for the map, or too many."""
        steps, windows = self.first_steps(size), self.second_steps**2
        if steps < self.places:
            least = self.patch + (self.places - 1) * self.stride
            raise SettingsError(
                f"images of {size}x{size} are too small for patches: {least} pixels are needed"
            )
        first = steps**2 * (self.numbers + self.places) * self.first_atoms
        second = windows * self.directions * (self.window_numbers + self.second_atoms)
        held = max(
            2 * steps * self.places * self.first_atoms,
            windows * max(self.window_numbers, self.directions),
        )
        if max(first, second) > PRODUCTS_LIMIT or held > NUMBERS_HELD:
            raise SettingsError(f"images of {size}x{size} take too long with these settings")


class First(NamedTuple):
    """What the first layer learns: the other half of the filters are mirror images of these."""

    even: int  # of the channels' directions
    filters: Rows  # (d, k1/2)
    offsets: Rows  # (k1/2,)
    channels: Rows  # directions (2 k1, C)
    channel_means: Rows  # (C,), of the map


class Second(NamedTuple):
    """What the second layer learns.

    ``energy`` is the mean square of the numbers of windows, of which a small part keeps flat
    windows from being blown up; the first ``even`` directions are even ones.
    """

    energy: float
    even: int
    directions: Rows  # (q² C, D)
    direction_means: Rows  # (D,)
    atoms: Rows  # (D, k2/2)


class FirstLayer:
    """An image uint8 (size, size, 3) to its map (G, G, C), G = ``recipe.places``.

    A patch p (d,) with mean 0 and variance v gives z = Fᵀ p / sqrt(v + ε) - c with the filters F
    (d, k1) and offsets c; max(±z - t, 0) is pooled by tents to G x G places and its square root
    taken; these 2 k1 numbers of a place are projected on C directions. ``kernels`` are compiled
    loops, with the same bits.
    """

    kernels: ModuleType | None = None

    def __init__(self, size: int, recipe: Recipe, learned: First) -> None:
        self._size, self._recipe, self._learned = size, recipe, learned
        self._reduction, steps = recipe.reduction(size), recipe.first_steps(size)
        self._pool = tents(steps, recipe.places)
        filters = learned.filters
        both = np.concatenate([filters, filters[mirror_order(recipe.patch)]], axis=1)
        # The last row takes the offsets away: patches end in a 1.
        self._weights = np.vstack([both, -np.tile(learned.offsets, 2)]).astype(np.float32)
        self._boxes = boxes(steps, size // self._reduction, recipe).astype(np.float32)

    def map(self, image: Pixels) -> Rows:
        """The map (G, G, C), float32."""
        places, learned = self._recipe.places, self._learned
        pooled = self.pooled(image).reshape(places**2, -1)
        return (pooled @ learned.channels - learned.channel_means).reshape(places, places, -1)

    def pooled(self, image: Pixels) -> Rows:
        """What is projected, (G, G, 2, k1): both signs, of filters and then of mirrored ones."""
        recipe, steps = self._recipe, len(self._boxes)
        pixels = reduce(image, self._reduction) - MIDDLE
        inverse = self._inverse_deviations(pixels)
        lines = max(1, BAND // steps)
        patches = np.ones((lines, steps, recipe.numbers + 1), np.float32)
        signed = np.empty((2, steps, recipe.places, recipe.first_atoms), np.float32)
        for band in samples.cut(slice(0, steps), lines):
            P = patches[: band.stop - band.start]
            self._cut(pixels, inverse, band.start, P)
            Z = P.reshape(len(P) * steps, -1) @ self._weights
            absolute = shrink(Z, recipe.first_threshold, self.kernels)
            for sign, strong in enumerate((Z, absolute)):
                np.matmul(self._pool, strong.reshape(len(P), steps, -1), out=signed[sign, band])
        # (2, G, G, k1): sums of s and of |s|, of which max(s, 0) and max(-s, 0) are half the sum
        # and half the difference.
        shape = 2, recipe.places, recipe.places, recipe.first_atoms
        sums, absolutes = (self._pool @ signed.reshape(2, steps, -1)).reshape(shape)
        found = np.stack([absolutes + sums, absolutes - sums], axis=-2)
        found *= HALF
        return np.asarray(np.sqrt(np.maximum(found, ZERO, out=found)))

    def _cut(self, pixels: Rows, inverse: Rows, start: int, P: Rows) -> None:
        """P (lines, steps, d + 1) := patches from line ``start`` on, divided by deviations."""
        patch, stride = self._recipe.patch, self._recipe.stride
        if self.kernels:
            lines = pixels.reshape(len(pixels), -1)
            self.kernels.patches(lines, inverse, start, stride, patch, P)
            return
        windows = cut(pixels, patch)[::stride, ::stride][start : start + len(P)]
        factors = inverse[start : start + len(P), :, None]
        for row in range(patch):
            part = slice(row * patch * 3, (row + 1) * patch * 3)
            np.multiply(windows[:, :, row], factors, out=P[:, :, part])

    def _inverse_deviations(self, pixels: Rows) -> Rows:
        """1 / sqrt(variance + ε) of each patch, (steps, steps)."""
        d = np.float32(self._recipe.numbers)
        # A product with ones is several times as fast as a sum of three.
        sums = self._boxes @ (pixels @ np.ones(3, np.float32)) @ self._boxes.T
        squares = self._boxes @ np.einsum("ijk,ijk->ij", pixels, pixels) @ self._boxes.T
        variance = np.maximum(squares / d - np.square(sums / d), ZERO)
        return np.asarray(np.float32(1.0) / np.sqrt(variance + np.float32(self._recipe.epsilon)))

    def to_onnx(self, pixels: Value) -> Value:
        """The map (N, C, G, G) of pixels float32 (N, 3, size, size).

        The product of filters with each patch is a convolution of the whole image, divided by the
        patch's deviation afterwards.
        """
        recipe, learned, factor = self._recipe, self._learned, self._reduction
        side = self._boxes.shape[1]
        if factor > 1:
            margin = (self._size - side * factor) // 2
            for axis in (2, 3):
                pixels = pixels.slice(axis, margin, margin + side * factor)
            pixels = pixels.op("AveragePool", kernel_shape=[factor] * 2, strides=[factor] * 2)
        pixels = pixels - MIDDLE
        kernels = self._weights[:-1].T.reshape(-1, recipe.patch, recipe.patch, 3)
        z = pixels.op("Conv", kernels.transpose(0, 3, 1, 2), strides=[recipe.stride] * 2)
        offsets = self._weights[-1].reshape(1, -1, 1, 1)
        z = z * self._onnx_inverse_deviations(pixels) + offsets
        positive, negative = (
            self._pool @ (signed - recipe.first_threshold).op("Relu") @ self._pool.T
            for signed in (z, -z)
        )
        strengths: Value = positive.join(negative, axis=1).sqrt()
        places = learned.channels.T[:, :, None, None]  # a product at each place
        return strengths.op("Conv", places, -learned.channel_means)

    def _onnx_inverse_deviations(self, pixels: Value) -> Value:
        """1 / sqrt(variance + ε) of each patch: float32 (N, 1, steps, steps).

        Sums of patches and of their squares are products with matrices of ones in float64, which
        holds them exactly.
        """
        ones, exact = self._boxes.astype(np.float64), pixels.cast(np.float64)
        mean, square = (
            ones @ each.sum(1) @ ones.T / float(self._recipe.numbers)
            for each in (exact, exact * exact)
        )
        variance = (square - mean * mean).op("Max", 0.0)
        return (variance + self._recipe.epsilon).sqrt().op("Reciprocal").cast(np.float32)


class SecondLayer:
    """A map (G, G, C) to a row (n,).

    A window of q x q places, brought to one length, is projected on D directions, even ones first,
    and whitened: x (D,). An atom and its mirror image score E + O and E - O, with E and O the parts
    of the product that even and odd directions make; max(±z, 0)⁶ is pooled by tents to g x g
    regions, averaged with the mirror image, and its sixth root taken, which lies between the mean
    strength of an atom in a region and the greatest; then the row is brought to the length √n.
    """

    kernels: ModuleType | None = None

    def __init__(self, recipe: Recipe, learned: Second) -> None:
        self._recipe, self._learned = recipe, learned
        self._floor = np.float32(recipe.floor * learned.energy)
        pool = tents(recipe.second_steps, recipe.grid)
        self._pool = np.kron(pool, pool)  # (g², steps²)

    def row(self, map_: Rows) -> Rows:
        """The row (n,), float32."""
        recipe, grid, learned = self._recipe, self._recipe.grid, self._learned
        windows = normalized(all_windows(map_, recipe.window), self._floor)
        x: Any = windows @ learned.directions - learned.direction_means
        even, half = learned.even, recipe.second_atoms // 2
        pooled = np.empty((grid**2, 2, 1 if recipe.flip else 2, half), np.float32)
        for atoms in samples.cut(slice(0, half), ATOMS):
            E = x[:, :even] @ learned.atoms[:even, atoms]
            O = x[:, even:] @ learned.atoms[even:, atoms]  # noqa: E741
            powers = [self._pool @ one for one in sixth_powers(E, O, self.kernels)]
            plain, mirrored = np.stack(powers[:2], axis=1), np.stack(powers[2:], axis=1)
            if recipe.flip:  # what the mirror image has in the region across
                across = mirrored.reshape(grid, grid, -1)[:, ::-1].reshape(mirrored.shape)
                pooled[:, :, 0, atoms] = (plain + across) * HALF
            else:
                pooled[:, :, 0, atoms], pooled[:, :, 1, atoms] = plain, mirrored
        row = np.cbrt(np.sqrt(pooled.reshape(-1)))
        row *= np.float32(np.sqrt(len(row))) / max(np.sqrt(row @ row), SHORTEST)
        return np.asarray(row)

    def to_onnx(self, map_: Value) -> Value:
        """The row (N, n) of a map (N, C, G, G)."""
        recipe, learned, q = self._recipe, self._learned, self._recipe.window
        kernels = learned.directions.T.reshape(-1, q, q, recipe.channels).transpose(0, 3, 1, 2)
        ones = np.ones((1, 1, q, q), np.float32)
        mean = (map_ * map_).sum(1).op("Conv", ones) / float(recipe.window_numbers)
        x = map_.op("Conv", kernels) * (mean + float(self._floor)).sqrt().op("Reciprocal")
        x = x - learned.direction_means.reshape(1, -1, 1, 1)  # (N, D, S, S)
        x = x.reshape(0, 0, recipe.second_steps**2).transpose(0, 2, 1)
        odd = np.arange(recipe.directions)[:, None] >= learned.even
        sides = [x @ learned.atoms, x @ np.where(odd, -learned.atoms, learned.atoms)]
        signs = []
        for signed in (sides, [-z for z in sides]):
            plain, mirrored = (self._onnx_regions(z.op("Relu")) for z in signed)
            if recipe.flip:
                signs.append((plain + mirrored.reverse(2)) * 0.5)
            else:
                signs.append(plain.join(mirrored, axis=3))
        row = signs[0].join(signs[1], axis=3).reshape(0, -1)
        return row.op("Pow", np.float32(1 / 6)).unit_rows(math.sqrt(recipe.n), SHORTEST)

    def _onnx_regions(self, strong: Value) -> Value:
        """Sixth powers (N, S², k) pooled: (N, g, g, k)."""
        cubes = strong * strong * strong
        pooled: Value = self._pool @ (cubes * cubes)
        return pooled.reshape(0, self._recipe.grid, self._recipe.grid, -1)


def shrink(Z: Rows, threshold: float, kernels: ModuleType | None = None) -> Rows:
    """Z := sign(Z) max(|Z| - t, 0), in place; the result is |Z| of that."""
    t = np.float32(threshold)
    if kernels:
        absolute = np.empty_like(Z)
        kernels.shrink(Z.reshape(-1), t, absolute.reshape(-1))
        return absolute
    Z -= np.clip(Z, -t, t)
    return np.abs(Z)


def sixth_powers(E: Rows, O: Rows, kernels: ModuleType | None = None) -> list[Rows]:  # noqa: E741
    """max(±Z, 0)⁶ for Z = E + O, and for E - O: four arrays."""
    if kernels:
        found = [np.empty_like(E) for _ in range(4)]
        kernels.sixth_powers(E.reshape(-1), O.reshape(-1), *(one.reshape(-1) for one in found))
        return found
    found = [limit(Z, ZERO) for Z in (E + O, E - O) for limit in (np.maximum, np.minimum)]
    for one in found:
        one *= one * one
        one *= one
    return found


def reduce(image: Pixels, factor: int) -> Rows:
    """The means of factor x factor squares, float32 (size // factor, size // factor, 3)."""
    size = len(image) // factor
    margin = (len(image) - size * factor) // 2
    inner = image[margin : margin + size * factor, margin : margin + size * factor]
    if factor == 1:
        return inner.astype(np.float32)
    squares = inner.reshape(size, factor, size, factor, 3)
    sums = squares.sum(axis=(1, 3), dtype=np.uint32)
    return np.asarray(sums / factor**2, dtype=np.float32)


def cut(image: Rows, patch: int) -> NDArray[np.float32]:
    """Every patch of an image (s, s, c), a view (s-p+1, s-p+1, p, c p): rows of p pixels."""
    s, _, channels = image.shape
    lines = image.reshape(s, s * channels)
    shape = patch, patch * channels
    return np.lib.stride_tricks.sliding_window_view(lines, shape)[:, ::channels]


def all_windows(map_: Rows, width: int) -> NDArray[np.float32]:
    """Every window of a map (G, G, C): a new array ((G-q+1)², q² C), place by place."""
    views = cut(map_, width)
    return np.ascontiguousarray(views).reshape(len(views) ** 2, -1)


def normalized(windows: Rows, floor: np.float32) -> Rows:
    """Windows (k, d) divided by sqrt(mean square + floor), in place."""
    squares = np.einsum("ij,ij->i", windows, windows) / np.float32(windows.shape[1])
    windows *= (np.float32(1.0) / np.sqrt(squares + floor))[:, None]
    return windows


def mirror_order(patch: int) -> NDArray[np.int64]:
    """The order (p*p*3,) in which the numbers of a patch are those of its mirror image."""
    numbers = np.arange(patch**2 * 3).reshape(patch, patch, 3)
    return numbers[:, ::-1].reshape(-1)


def boxes(steps: int, side: int, recipe: Recipe) -> NDArray[np.float64]:
    """Ones (steps, side) where a patch lies: products with it are sums over the side of a patch."""
    first = np.arange(steps)[:, None] * recipe.stride
    places = np.arange(side)
    return ((first <= places) & (places < first + recipe.patch)).astype(np.float64)


def tents(steps: int, grid: int) -> NDArray[np.float32]:
    """Weights (grid, steps) of overlapping regions; each row sums to 1.

    A region's weight falls in a straight line from 1 in its middle to 0 in the middles of its
    neighbours, so that a small shift of the image changes the pooled numbers little.
    """
    width = steps / grid
    middles = (np.arange(grid) + 0.5) * width
    distance = np.abs(np.arange(steps) + 0.5 - middles[:, None]) / width
    weights = np.maximum(1.0 - distance, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
