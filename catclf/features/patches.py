"""Encoding images with a learned dictionary of small patches.

A. Coates, H. Lee and A. Ng, "An analysis of single-layer networks in unsupervised feature
learning", AISTATS 2011; A. Coates and A. Ng, "The importance of encoding versus training with
sparse coding and vector quantization", ICML 2011. Different here: images are seen at two scales,
regions overlap, the dictionary holds the mirror image of each of its atoms, and the pooled numbers
go through a square root.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.base import NUMBERS_LIMIT, Read, Rows, require_images
from catclf.maths import Pixels

USUAL_SIZE = 64  # larger images are first reduced by a whole factor to about this
ATOMS_LIMIT = 4096
WORK_LIMIT = 1 << 24  # numbers held for one image: 64 MB; the usual recipe needs 1 million
SHORTEST = np.float32(1e-6)  # of a row that is brought to the usual length
MIDDLE = np.float32(128.0)  # taken from pixels, so that sums of squares keep their digits


@dataclass(frozen=True)
class Recipe:
    """How patches are cut, encoded and pooled.

    Chosen by cross-validation on the course's training images and on 2000 cats and dogs:
    ``atoms`` of the dictionary, half of them mirror images of the others; ``patch`` pixels along a
    side; for each of ``scales`` the factor by which the image is reduced and the step between
    patches; ``grid`` regions along a side; ``epsilon`` is added to the variance of a patch, and
    ``threshold`` is taken from the strength of an atom.
    """

    atoms: int = 400
    patch: int = 6
    grid: int = 3
    scales: tuple[tuple[int, int], ...] = ((1, 2), (2, 1))
    epsilon: float = 10.0
    threshold: float = 0.5
    flip: bool = True

    def __post_init__(self) -> None:
        whole = (
            self.atoms,
            self.patch,
            self.grid,
            *(part for pair in self.scales for part in pair),
        )
        sound = (
            all(type(value) is int and value >= 1 for value in whole)
            and all(len(pair) == 2 and max(pair) <= 64 for pair in self.scales)
            and self.atoms % 2 == 0
            and self.atoms <= ATOMS_LIMIT
            and 2 <= self.patch <= 16
            and self.grid <= 16
            and 1 <= len(self.scales) <= 8
            and all(type(value) is float for value in (self.epsilon, self.threshold))
            and 1e-6 <= self.epsilon <= 1e6
            and 0.0 <= self.threshold <= 100.0
            and type(self.flip) is bool
            and self.n <= NUMBERS_LIMIT
        )
        if not sound:
            raise SettingsError("patch settings out of bounds")

    @classmethod
    def for_size(cls, size: int, *, flip: bool = True) -> Recipe:
        """The recipe for images of a size: its patches show as much of any image."""
        factor = max(1, size // USUAL_SIZE)
        return cls(scales=((factor, 2), (2 * factor, 1)), flip=flip)

    @property
    def numbers(self) -> int:
        """d, the numbers in a patch."""
        return self.patch**2 * 3

    @property
    def n(self) -> int:
        """Two signs of each atom in each region of each scale; half of it when sides are alike."""
        return len(self.scales) * self.grid**2 * 2 * self.atoms // (2 if self.flip else 1)

    def require_size(self, size: int) -> None:
        """Raise SettingsError when a scale leaves too few patches for the regions, or too many."""
        for reduction, stride in self.scales:
            steps = (size // reduction - self.patch) // stride + 1
            if steps < self.grid:
                least = reduction * (self.patch + (self.grid - 1) * stride)
                raise SettingsError(
                    f"images of {size}x{size} are too small for patches: {least} pixels are needed"
                )
            if steps**2 * (self.numbers + 1 + 2 * self.atoms) > WORK_LIMIT:
                raise SettingsError(f"images of {size}x{size} have too many patches")


class PatchFeatures:
    """The strength of each atom in each region of an image, at each scale.

    With p a patch (d,) of the reduced image, s = sqrt(variance + ε), C taking the mean from a
    patch, W the whitening and D the atoms: z = Dᵀ W (C p / s - μ), f = max(±z - t, 0), weighted by
    a tent over each region, averaged with the mirror image, and its square root; then the whole row
    is brought to the length √n, so that busy and smooth images weigh alike. All that is linear is
    one product: filters F = C W D (d, K/2) and offsets c = μ W D, z = Fᵀ p / s - c. The
    filters of mirrored atoms are the mirrored filters, and are not kept.
    """

    kind = "patches"

    def __init__(
        self,
        size: int,
        recipe: Recipe,
        filters: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> None:
        """``filters`` float32 (scales, d, K/2) and ``offsets`` (scales, K/2)."""
        recipe.require_size(size)
        self._size, self.recipe, self.n = size, recipe, recipe.n
        self._filters, self._offsets = filters, offsets
        self._encoders = [
            _Encoder(size, recipe, reduction, stride, filters[i], offsets[i])
            for i, (reduction, stride) in enumerate(recipe.scales)
        ]

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> PatchFeatures:
        """From a model file: bounds first, then arrays of exactly the shapes they imply."""
        wanted = {"kind", *asdict(Recipe())}
        scales = settings.get("scales")
        if set(settings) != wanted or not isinstance(scales, list):
            raise SettingsError("patch settings that this catclf does not know")
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in scales):
            raise SettingsError("patch settings that this catclf does not know")
        values = {name: settings[name] for name in wanted - {"kind", "scales"}}
        try:
            recipe = Recipe(scales=tuple((pair[0], pair[1]) for pair in scales), **values)
        except TypeError as error:
            raise SettingsError("patch settings of a wrong type") from error
        recipe.require_size(size)
        count, half = len(recipe.scales), recipe.atoms // 2
        filters = read("filters", "<f4", (count, recipe.numbers, half))
        offsets = read("offsets", "<f4", (count, half))
        return cls(size, recipe, filters, offsets)

    @property
    def settings(self) -> dict[str, Any]:
        recipe = asdict(self.recipe)
        return {"kind": self.kind} | recipe | {"scales": [list(pair) for pair in recipe["scales"]]}

    @property
    def parts(self) -> dict[str, slice]:
        names = ("fine", "coarse")
        count = len(self.recipe.scales)
        each = self.n // count
        return {
            names[i] if count == len(names) else f"scale {i + 1}": slice(i * each, (i + 1) * each)
            for i in range(count)
        }

    def name_of(self, number: int) -> str:
        grid = self.recipe.grid
        scale, row, column, sign, atom = np.unravel_index(
            number,
            (
                len(self.recipe.scales),
                grid,
                grid,
                2,
                self.n // (2 * grid**2) // len(self.recipe.scales),
            ),
        )
        part = list(self.parts)[int(scale)]
        return f"{part} atom {atom}{'-' if sign else '+'}({row},{column})"

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        return {"filters": self._filters, "offsets": self._offsets}

    def transform(self, images: Pixels) -> Rows:
        """Rows (k, n), each image by itself."""
        require_images(images, self._size)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        parts = np.split(rows, len(self._encoders), axis=1)  # views
        for encoder, part in zip(self._encoders, parts, strict=True):
            encoder.encode(images, part)
        lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        rows *= np.float32(np.sqrt(self.n)) / np.maximum(lengths, SHORTEST)
        return rows


class _Encoder:
    """One scale: an image to the pooled strengths of its atoms."""

    def __init__(
        self,
        size: int,
        recipe: Recipe,
        reduction: int,
        stride: int,
        filters: NDArray[np.float32],
        offsets: NDArray[np.float32],
    ) -> None:
        self._recipe, self._reduction, self._stride = recipe, reduction, stride
        self._steps = (size // reduction - recipe.patch) // stride + 1
        self._pool = tents(self._steps, recipe.grid)
        mirrored = mirror_filters(filters, recipe.patch)
        both = np.concatenate([filters, mirrored], axis=1)  # (d, K)
        # The last row takes the offsets away: patches end in a 1.
        self._weights = np.vstack([both, -np.tile(offsets, 2)]).astype(np.float32)

    def encode(self, images: Pixels, rows: Rows) -> None:
        """Fill rows (k, n of this scale)."""
        recipe, count = self._recipe, self._steps**2
        patches = np.ones((count, recipe.numbers + 1), dtype=np.float32)
        Z = np.empty((count, recipe.atoms), dtype=np.float32)
        strong = np.empty_like(Z)
        for image, row in zip(images, rows, strict=True):
            self._cut(image, patches[:, :-1])
            np.matmul(patches, self._weights, out=Z)  # (count, d+1) @ (d+1, K)
            pooled = np.stack([self._pooled(Z, strong), self._pooled(Z, strong, negate=True)], 2)
            if recipe.flip:
                half = recipe.atoms // 2
                sides = pooled.reshape(recipe.grid, recipe.grid, 2, 2, half)
                mirrored = sides[:, ::-1, :, 1]  # what the first half finds in the mirror image
                pooled = (sides[:, :, :, 0] + mirrored) * np.float32(0.5)
            np.sqrt(pooled.reshape(-1), out=row)

    def _cut(self, image: Pixels, patches: Rows) -> None:
        """Fill patches (count, d), each divided by sqrt(variance + ε)."""
        reduced = reduce(image, self._reduction) - MIDDLE
        windows = cut(reduced, self._recipe.patch)[:: self._stride, :: self._stride]
        patches.reshape(windows.shape)[...] = windows
        patches *= inverse_deviation(patches, self._recipe.epsilon)

    def _pooled(self, Z: Rows, strong: Rows, *, negate: bool = False) -> Rows:
        """max(±Z - t, 0) weighted over regions: (grid, grid, K)."""
        threshold = np.float32(self._recipe.threshold)
        if negate:
            np.minimum(Z, -threshold, out=strong)
            np.subtract(-threshold, strong, out=strong)
        else:
            np.maximum(Z, threshold, out=strong)
            strong -= threshold
        grid, steps = self._pool.shape
        bands = (self._pool @ strong.reshape(steps, -1)).reshape(grid, steps, -1)
        return np.asarray(np.matmul(self._pool, bands))  # (grid, steps) @ (grid, steps, K)


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
    """Every patch of an image (s, s, 3), a view (s-p+1, s-p+1, p, 3p): rows of p pixels."""
    s = len(image)
    lines = image.reshape(s, s * 3)
    return np.lib.stride_tricks.sliding_window_view(lines, (patch, patch * 3))[:, ::3]


def inverse_deviation(patches: Rows, epsilon: float) -> Rows:
    """1 / sqrt(variance + ε) of each of the patches (k, d), as (k, 1)."""
    d = np.float32(patches.shape[1])
    means = patches.sum(axis=1) / d
    variance = np.einsum("ij,ij->i", patches, patches) / d - means * means
    np.maximum(variance, np.float32(0.0), out=variance)
    return np.asarray(np.float32(1.0) / np.sqrt(variance + np.float32(epsilon)))[:, None]


def mirror_filters(filters: NDArray[np.float32], patch: int) -> NDArray[np.float32]:
    """Filters (p*p*3, k) with left and right exchanged."""
    return filters[mirror_order(patch)]


def mirror_order(patch: int) -> NDArray[np.int64]:
    """The order (p*p*3,) in which the numbers of a patch are those of its mirror image."""
    numbers = np.arange(patch**2 * 3).reshape(patch, patch, 3)
    return numbers[:, ::-1].reshape(-1)


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
