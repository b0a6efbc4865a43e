"""Features of kind patches: two layers of patches, learned from images without their labels.

First layer: random patches, every other one mirrored, normalized, whitened, spherical k-means; then
the principal directions of its maps. Second layer: the same with random windows of the maps.

Everything is symmetric under left and right exchanged. A mirror acts on vectors (d,) as
x -> x[order] * signs. An orthonormal basis whose vectors are each even (equal to their mirror
image) or odd (its negative) turns the mirror into a change of signs: coordinates of even directions
stay, those of odd ones are negated. So the score of a vector with an atom is E + O, with the atom's
mirror image E - O, and both cost one product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from catclf import samples
from catclf.errors import SettingsError
from catclf.features.base import Features, OnProgress, Phase, Read, Rows, compiled, silent
from catclf.features.patch_layers import (
    MIDDLE,
    First,
    FirstLayer,
    Recipe,
    Second,
    SecondLayer,
    all_windows,
    cut,
    normalized,
    reduce,
)
from catclf.machine import cores
from catclf.maths import Floats, Pixels
from catclf.maths.threads import Team, blas_threads
from catclf.samples import Images, Indices

if TYPE_CHECKING:
    from catclf.features.onnx_graph import Value

# Atoms of the second layer by the number of images that they are learned from: more images have
# more to tell, and fewer do not pay for the time that more atoms take.
ATOMS_BY_IMAGES = ((100, 800), (10_000, 3200))
ATOMS_OF_MANY = 6400
COMPILED_AFTER = 1000  # images; compiling takes as long as it saves on so many more
ENERGY_LIMIT = 1e6
SCORE_LIMIT = 1e6  # of an atom, some tens in earnest: sixth powers stay finite in float32
PATCHES = 60_000
PATCH_IMAGES = 4000  # at most, that patches are drawn from
FIRST_ROUNDS = 10
FIRST_WHITENING = 0.1  # added to eigenvalues, so that noise is not blown up
MAP_IMAGES = 600  # at most, that the directions of maps are found from
WINDOWS = 100_000
WINDOW_IMAGES = 2000  # at most, that windows are drawn from
SECOND_ROUNDS = 5
SECOND_WHITENING = 0.3  # of the mean eigenvalue, added to all of them
FLAT = 1e-6  # energy of windows of images without contents
# Below what is met in images with contents, so that no filter or atom of others gets large.
LEAST_EXTRA, LEAST_SPREAD = 1e-3, 0.1
_ASSIGNED, _PROJECTED, _SUMMED = 1024, 4096, 8192  # vectors at a time


class PatchFeatures(Features):
    """How strongly each atom of the second layer appears in each region of an image."""

    kind, default_size, learned, damping = "patches", 128, True, 0.5
    members = (*First._fields[1:], *Second._fields[2:])

    def __init__(self, size: int, recipe: Recipe, first: First, second: Second) -> None:
        recipe.require_size(size)
        super().__init__(size, recipe.flip)
        self.recipe, self.n = recipe, recipe.n
        self._learned = first, second
        self._layers = FirstLayer(size, recipe, first), SecondLayer(recipe, second)
        self._seen = 0  # images, until compiled loops are used

    @classmethod
    def learn(
        cls,
        images: Images,
        seed: int = 0,
        *,
        flip: bool = True,
        workers: int | None = None,
        phase: Phase | None = None,
        recipe: Recipe | None = None,
    ) -> Self:
        """Both layers, one after the other; the same for any number of workers.

        ``recipe`` (default: the one for so many images of that size) may have few atoms, for tests.
        """
        m, size = images.shape[:2]
        atoms = next((k for limit, k in ATOMS_BY_IMAGES if m < limit), ATOMS_OF_MANY)
        recipe = recipe or Recipe.of(size, atoms, flip)
        recipe.require_size(size)
        phase = phase or silent
        learning = _Learning(images, recipe, seed, Team(workers or cores()))
        with blas_threads(1):
            with phase("learning the first layer") as on_progress:
                first = learning.first(on_progress)
            with phase("learning the second layer") as on_progress:
                second = learning.second(first, on_progress)
        return cls(size, recipe, first, second)

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> Self:
        """From a model file: bounds first, then arrays of exactly the shapes they imply."""
        recipe = Recipe(**{each.name: settings[each.name] for each in fields(Recipe)})
        recipe.require_size(size)
        energy, evens = settings["energy"], (settings["first_even"], settings["second_even"])
        sound = type(energy) is float and 1e-6 <= energy <= ENERGY_LIMIT
        for even, most in zip(evens, (recipe.channels, recipe.directions), strict=True):
            sound = sound and type(even) is int and 0 <= even <= most
        if not sound:
            raise SettingsError("patches settings out of bounds")
        half, c, d = recipe.first_atoms // 2, recipe.channels, recipe.directions
        shapes = (
            *((recipe.numbers, half), (half,), (4 * half, c), (c,)),
            *((recipe.window_numbers, d), (d,), (d, recipe.second_atoms // 2)),
        )
        arrays = [read(name, "<f4", shape) for name, shape in zip(cls.members, shapes, strict=True)]
        # A bound of |z| from lengths: that of a window is at most the root of its numbers.
        directions, means, atoms = (array.astype(np.float64) for array in arrays[4:])
        x = np.sqrt(recipe.window_numbers) * np.linalg.norm(directions) + np.linalg.norm(means)
        if x * np.linalg.norm(atoms, axis=0).max() > SCORE_LIMIT:
            raise SettingsError("patches atoms that are too large")
        first, second = First(evens[0], *arrays[:4]), Second(energy, evens[1], *arrays[4:])
        return cls(size, recipe, first, second)

    @property
    def settings(self) -> dict[str, Any]:
        first, second = self._learned
        learned = {"energy": second.energy, "first_even": first.even, "second_even": second.even}
        return {"kind": self.kind} | asdict(self.recipe) | learned

    def arrays(self) -> dict[str, NDArray[Any]]:
        found = self._learned[0]._asdict() | self._learned[1]._asdict()
        return {name: found[name] for name in self.members}

    @property
    def groups(self) -> dict[str, slice]:
        """Regions of the image, row by row."""
        grid = self.recipe.grid
        each = self.n // grid**2
        return {
            f"region {row},{column}": slice(place * each, (place + 1) * each)
            for place, (row, column) in enumerate(np.ndindex(grid, grid))
        }

    def name_of(self, number: int) -> str:
        grid, half = self.recipe.grid, self.recipe.second_atoms // 2
        shape = grid, grid, 2, self.n // (2 * grid**2 * half), half
        row, column, sign, side, atom = np.unravel_index(number, shape)
        return f"atom {atom + side * half}{'-' if sign else '+'}({row},{column})"

    def transform(self, images: Pixels) -> Rows:
        self.require_images(images)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        self._seen += len(images)
        first, second = self._layers
        first.kernels = second.kernels = compiled(self._seen > COMPILED_AFTER)
        for image, row in zip(images, rows, strict=True):
            row[...] = second.row(first.map(image))
        return rows

    def to_onnx(self, images: Value) -> Value:
        pixels = images.cast(np.float32).transpose(0, 3, 1, 2)
        return self._layers[1].to_onnx(self._layers[0].to_onnx(pixels))


class Mirror(NamedTuple):
    """x -> x[order] * signs, its own inverse: order int64 (d,), signs 1.0 or -1.0 (d,)."""

    order: NDArray[np.int64]
    signs: NDArray[np.float32]

    def __call__(self, x: Rows) -> Rows:
        """The mirror images of vectors (k, d)."""
        return np.asarray(x[:, self.order] * self.signs)

    def of_windows(self, width: int) -> Mirror:
        """For windows of width x width places, where this one is for the channels of a place."""
        count = len(self.order)
        numbers = np.arange(width**2 * count).reshape(width, width, count)
        order = numbers[:, ::-1][:, :, self.order].reshape(-1)
        return Mirror(order, np.tile(self.signs, width**2))


class Basis(NamedTuple):
    """Orthonormal directions V (d, count), the ``even`` even ones first, and their variances."""

    V: Floats
    even: int
    variances: Floats


class _Learning:
    """Both layers from images uint8 (m, size, size, 3); the same for any number of workers."""

    def __init__(self, images: Images, recipe: Recipe, seed: int, team: Team) -> None:
        self._images, self._recipe, self._seed, self._team = images, recipe, seed, team
        self._size = int(images.shape[1])

    def first(self, on_progress: OnProgress) -> First:
        """Filters and directions of the first layer."""
        rng, recipe = np.random.default_rng((self._seed, 1)), self._recipe
        chosen = self._some(rng, MAP_IMAGES)
        step = _steps(on_progress, FIRST_ROUNDS + len(chosen))
        filters, offsets = self._filters(rng, step)
        numbers = 2 * recipe.first_atoms
        nothing = np.zeros((numbers, 0), np.float32), np.zeros(0, np.float32)
        layer = FirstLayer(self._size, recipe, First(0, filters, offsets, *nothing))
        second, mean = np.zeros((numbers, numbers)), np.zeros(numbers)
        for strengths in self._team.in_order(
            lambda number: layer.pooled(self._image(number)), chosen.tolist()
        ):
            flat = strengths.reshape(-1, numbers)
            second += flat.T @ flat
            mean += flat.sum(axis=0, dtype=np.float64)
            step()
        count = len(chosen) * recipe.places**2
        mean /= count
        # A number of a place is (sign, side, atom): the mirror exchanges sides.
        order = np.arange(numbers).reshape(2, 2, -1)[:, ::-1].reshape(-1)
        mirror = Mirror(order, np.ones(numbers, np.float32))
        covariance = second / count - np.outer(mean, mean)
        basis = principal_directions(covariance, mirror, recipe.channels)
        center = ((mean + mean[order]) / 2.0) @ basis.V
        center[basis.even :] = 0.0
        return First(basis.even, filters, offsets, _f32(basis.V), _f32(center))

    def second(self, first: First, on_progress: OnProgress) -> Second:
        """Directions and atoms of the second layer."""
        rng, recipe = np.random.default_rng((self._seed, 2)), self._recipe
        chosen, places = self._some(rng, WINDOW_IMAGES), np.arange(recipe.channels)
        step = _steps(on_progress, len(chosen) + SECOND_ROUNDS)
        signs = np.where(places < first.even, 1.0, -1.0).astype(np.float32)
        mirror = Mirror(places, signs).of_windows(recipe.window)
        windows = self._windows(first, chosen, rng, step)
        for rows in samples.cut(slice(0, len(windows)), _PROJECTED):  # so that little is copied
            windows[rows][1::2] = mirror(windows[rows][1::2])
        squares = np.einsum("ij,ij->i", windows, windows)
        energy = max(float(squares.mean(dtype=np.float64)) / recipe.window_numbers, FLAT)
        normalized(windows, np.float32(recipe.floor * energy))
        mean, covariance = _covariance_of(windows, mirror)
        basis = principal_directions(covariance, mirror, recipe.directions)
        extra = max(SECOND_WHITENING * float(np.trace(covariance)) / len(covariance), LEAST_EXTRA)
        whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + extra)
        directions, center = _f32(whitening), _f32(mean @ whitening)
        # Written over the windows: both would take too much memory.
        white = windows.reshape(-1)[: len(windows) * recipe.directions].reshape(len(windows), -1)
        for rows in samples.cut(slice(0, len(windows)), _PROJECTED):
            white[rows] = windows[rows] @ directions - center
        atoms = unit(white[_drawn(rng, white, recipe.second_atoms // 2)])
        for _ in range(SECOND_ROUNDS):
            atoms = k_means_round(white, atoms, basis.even, self._team)
            step()
        # Scores get a standard deviation of 1, so that one threshold suits all data.
        spread = max(float((white[:2000] @ atoms.T).std(dtype=np.float64)), LEAST_SPREAD)
        return Second(energy, basis.even, directions, center, _f32(atoms.T / spread))

    def _windows(
        self, first: First, chosen: Indices, rng: np.random.Generator, step: Callable[[], None]
    ) -> Rows:
        """About ``WINDOWS`` random windows of the chosen images' maps."""
        recipe, layer = self._recipe, FirstLayer(self._size, self._recipe, first)
        places = recipe.second_steps**2
        each = min(-(-WINDOWS // len(chosen)), places)
        wanted = [(number, rng.choice(places, each, replace=False)) for number in chosen.tolist()]
        windows = np.empty((len(chosen), each, recipe.window_numbers), np.float32)

        def drawn(wanted: tuple[int, Indices]) -> Rows:
            number, picked = wanted
            return np.asarray(all_windows(layer.map(self._image(number)), recipe.window)[picked])

        for of_image, rows in zip(windows, self._team.in_order(drawn, wanted), strict=True):
            of_image[:] = rows
            step()
        return windows.reshape(-1, recipe.window_numbers)

    def _filters(self, rng: np.random.Generator, step: Callable[[], None]) -> tuple[Rows, Rows]:
        """Filters (d, k1/2) and offsets (k1/2,): whitening and atoms as one product."""
        recipe, patches = self._recipe, self._patches(rng)
        patches -= patches.mean(axis=1, keepdims=True)
        normalized(patches, np.float32(recipe.epsilon))
        mirror = Mirror(np.arange(3), np.ones(3, np.float32)).of_windows(recipe.patch)
        mean, covariance = _covariance_of(patches, mirror)
        basis = principal_directions(covariance, mirror, len(mean))
        whitening = basis.V / np.sqrt(np.maximum(basis.variances, 0.0) + FIRST_WHITENING)
        white = np.asarray((patches - _f32(mean)) @ _f32(whitening), np.float32)
        atoms = unit(white[_drawn(rng, white, recipe.first_atoms // 2)])
        for _ in range(FIRST_ROUNDS):
            atoms = k_means_round(white, atoms, basis.even, self._team)
            step()
        filters = whitening @ atoms.T.astype(np.float64)
        # Taking the filters' mean takes the mean from a patch, too.
        return _f32(filters - filters.mean(axis=0)), _f32(mean @ filters)

    def _patches(self, rng: np.random.Generator) -> Rows:
        """About ``PATCHES`` random patches (N, d) of the reduced images, every other mirrored."""
        chosen, patch = self._some(rng, PATCH_IMAGES), self._recipe.patch
        reduction, each = self._recipe.reduction(self._size), -(-PATCHES // len(chosen))
        found = []
        for number in chosen.tolist():
            windows = cut(reduce(self._image(number), reduction) - MIDDLE, patch)
            count = min(each, len(windows) ** 2)  # small images have no more to give
            down, across = rng.integers(0, len(windows), (2, count))
            found.append(windows[down, across].reshape(count, patch, patch, 3))
        patches = np.concatenate(found)
        patches[1::2] = patches[1::2, :, ::-1].copy()
        return patches.reshape(len(patches), -1)

    def _some(self, rng: np.random.Generator, most: int) -> Indices:
        """Sorted numbers of at most ``most`` images."""
        m = len(self._images)
        return np.sort(rng.choice(m, min(m, most), replace=False))

    def _image(self, number: int) -> Pixels:
        return np.asarray(self._images[number : number + 1][0])


def _steps(on_progress: OnProgress, total: int) -> Callable[[], None]:
    """What counts the steps of a phase, of which there are ``total``."""
    done = count(1)
    return lambda: on_progress(next(done), total)


def _f32(values: NDArray[Any]) -> Rows:
    return np.ascontiguousarray(values, dtype=np.float32)


def principal_directions(covariance: Floats, mirror: Mirror, count: int) -> Basis:
    """The ``count`` leading eigenvectors of a covariance (d, d), averaged with its mirror image.

    Such a covariance maps even vectors to even ones and odd to odd ones, so that its eigenvectors
    are found in the two spaces by themselves.
    """
    order, signs = mirror.order, mirror.signs.astype(np.float64)
    mirrored = covariance[order][:, order] * signs * signs[:, None]
    covariance = (covariance + mirrored) / 2.0
    found = []
    for space in _even_and_odd(mirror):
        values, vectors = np.linalg.eigh(space.T @ covariance @ space)
        found.append((values, space @ vectors))
    values = np.concatenate([values for values, _ in found])
    V = np.concatenate([vectors for _, vectors in found], axis=1)
    is_even = np.arange(len(values)) < len(found[0][0])
    best = np.argsort(-values, kind="stable")[:count]
    best = np.concatenate([best[is_even[best]], best[~is_even[best]]])
    return Basis(V[:, best], int(is_even[best].sum()), values[best])


def _even_and_odd(mirror: Mirror) -> Iterator[Floats]:
    """Orthonormal bases (d, ·) of the vectors that the mirror keeps, and of those it negates."""
    order, signs = mirror.order, mirror.signs
    places = np.arange(len(order))
    first, alone = places[places < order], places[places == order]
    pairs = np.arange(len(first))
    for sign in (1.0, -1.0):
        own = alone[signs[alone] == sign]
        basis = np.zeros((len(order), len(first) + len(own)))
        basis[first, pairs] = np.sqrt(0.5)
        basis[order[first], pairs] = sign * signs[first] * np.sqrt(0.5)
        basis[own, len(first) + np.arange(len(own))] = 1.0
        yield basis


def _covariance_of(vectors: Rows, mirror: Mirror) -> tuple[Floats, Floats]:
    """The mean (d,), averaged with its mirror image, and covariance (d, d) of vectors (N, d)."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    mean = (mean + mean[mirror.order] * mirror.signs) / 2.0
    second = (vectors.T @ vectors).astype(np.float64) / len(vectors)
    return mean, second - np.outer(mean, mean)


def _drawn(rng: np.random.Generator, vectors: Rows, count: int) -> Indices:
    return rng.choice(len(vectors), count, replace=len(vectors) < count)


def k_means_round(vectors: Rows, atoms: Rows, even: int, team: Team) -> Rows:
    """Unit atoms (count, d) that with their mirror images fit ``vectors`` (N, d) better.

    A round of spherical k-means: a vector belongs to the atom, or mirrored atom, with the largest
    |cosine|, and an atom becomes the direction of the signed sum of its vectors. (A. Coates and
    A. Ng, "Learning feature representations with k-means", 2012.) The atom itself is added to its
    sum: a little inertia, and one that nothing belongs to stays. The first ``even`` coordinates are
    those of even directions.
    """
    blocks = [vectors[rows] for rows in samples.cut(slice(0, len(vectors)), _ASSIGNED)]
    assigned = team.in_order(partial(_assigned, atoms=atoms, even=even), blocks)
    nearest, E, O = (np.concatenate(each) for each in zip(*assigned, strict=True))  # noqa: E741
    flips = np.where(E * O < 0.0, np.float32(-1.0), np.float32(1.0))
    strengths = E + flips * O
    sums, order = atoms.astype(np.float64), np.argsort(nearest, kind="stable")
    for some in samples.cut(slice(0, len(order)), _SUMMED):  # so that little is copied
        chosen = order[some]
        weighted = vectors[chosen] * strengths[chosen, None]
        weighted[:, even:] *= flips[chosen, None]
        full, firsts = np.unique(nearest[chosen], return_index=True)
        sums[full] += np.add.reduceat(weighted, firsts, axis=0, dtype=np.float64)
    return unit(sums)


def _assigned(block: Rows, atoms: Rows, even: int) -> tuple[NDArray[np.int64], Rows, Rows]:
    """For each vector its atom, and the even and the odd part of their score: (k,) each.

    max(|E + O|, |E - O|) = |E| + |O|.
    """
    E = block[:, :even] @ atoms[:, :even].T
    O = block[:, even:] @ atoms[:, even:].T  # noqa: E741
    nearest = (np.abs(E) + np.abs(O)).argmax(axis=1)
    places = np.arange(len(block)), nearest
    return nearest, E[places], O[places]


def unit(vectors: NDArray[np.floating[Any]]) -> Rows:
    """Rows of length 1; a row of zeros stays."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)
