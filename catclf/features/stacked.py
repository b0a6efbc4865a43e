"""Two layers of learned patches.

A. Coates and A. Ng, "Learning feature representations with k-means", 2012, section 4: the strengths
of a first layer's atoms, pooled, are what a second layer's patches are cut from. Different here:
both layers are symmetric under the mirror, channels between them are principal directions in the
place of receptive fields, windows are brought to one length, and pooled numbers go through a square
root.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.errors import SettingsError
from catclf.features.base import Phase, Read, Rows, require_images, silent
from catclf.features.compiled import kernels
from catclf.features.stacked_layers import FirstLayer, SecondLayer
from catclf.features.stacked_learn import First, Second, learn_first, learn_second
from catclf.features.stacked_recipe import Recipe
from catclf.machine import cores
from catclf.maths import Pixels
from catclf.parallel import Team, blas_threads
from catclf.samples import Images

COMPILED_AFTER = 1000  # images; compiling takes as long as it saves on so many more
ENERGY_LIMIT = 1e6
SCORE_LIMIT = 1e6  # of an atom, some tens in earnest: sixth powers stay finite in float32


class StackedFeatures:
    """How strongly each atom of the second layer appears in each region of an image."""

    kind = "stacked"

    def __init__(self, size: int, recipe: Recipe, first: First, second: Second) -> None:
        recipe.require_size(size)
        self._size, self.recipe, self.n = size, recipe, recipe.n
        self._learned = first, second
        self._first = FirstLayer(size, recipe, *first[:4])
        self._second = SecondLayer(recipe, *second)
        self._seen = 0  # images, until compiled loops are used

    @classmethod
    def restore(cls, settings: dict[str, Any], size: int, read: Read) -> StackedFeatures:
        """From a model file: bounds first, then arrays of exactly the shapes they imply."""
        names = set(asdict(Recipe()))
        if set(settings) != {"kind", "energy", "first_even", "second_even", *names}:
            raise SettingsError("stacked settings that this catclf does not know")
        recipe = Recipe(**{name: settings[name] for name in names})
        recipe.require_size(size)
        energy = settings["energy"]
        if type(energy) is not float or not 1e-6 <= energy <= ENERGY_LIMIT:
            raise SettingsError("stacked settings out of bounds")
        evens = settings["first_even"], settings["second_even"]
        for even, most in zip(evens, (recipe.channels, recipe.directions), strict=True):
            if type(even) is not int or not 0 <= even <= most:
                raise SettingsError("stacked settings out of bounds")
        half, c, d = recipe.first_atoms // 2, recipe.channels, recipe.directions
        first = First(
            read("filters", "<f4", (recipe.numbers, half)),
            read("offsets", "<f4", (half,)),
            read("channels", "<f4", (4 * half, c)),
            read("channel_means", "<f4", (c,)),
            evens[0],
        )
        second = Second(
            energy,
            read("directions", "<f4", (recipe.window_numbers, d)),
            read("direction_means", "<f4", (d,)),
            evens[1],
            read("atoms", "<f4", (d, recipe.second_atoms // 2)),
        )
        if _largest_score(recipe, second) > SCORE_LIMIT:
            raise SettingsError("stacked atoms that are too large")
        return cls(size, recipe, first, second)

    @property
    def settings(self) -> dict[str, Any]:
        first, second = self._learned
        learned = {"energy": second.energy, "first_even": first.even, "second_even": second.even}
        return {"kind": self.kind} | asdict(self.recipe) | learned

    @property
    def parts(self) -> dict[str, slice]:
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

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        first, second = self._learned
        return {
            "filters": first.filters,
            "offsets": first.offsets,
            "channels": first.directions,
            "channel_means": first.mean,
            "directions": second.directions,
            "direction_means": second.mean,
            "atoms": second.atoms,
        }

    def transform(self, images: Pixels) -> Rows:
        """Rows (k, n), each image by itself."""
        require_images(images, self._size)
        rows = np.empty((len(images), self.n), dtype=np.float32)
        self._seen += len(images)
        loops = kernels(self._seen > COMPILED_AFTER)
        for image, row in zip(images, rows, strict=True):
            row[...] = self._second.row(self._first.map(image, loops), loops)
        return rows


def learn_stacked(
    images: Images,
    recipe: Recipe,
    seed: int,
    *,
    workers: int | None = None,
    phase: Phase | None = None,
) -> StackedFeatures:
    """Both layers, one after the other; the same for any number of workers.

    ``phase`` shows the progress of each layer. Raises SettingsError when the images are too small.
    """
    size, phase = int(images.shape[1]), phase or silent
    recipe.require_size(size)
    team = Team(workers or cores())
    with blas_threads(1):
        with phase("learning the first layer") as on_progress:
            first = learn_first(images, recipe, seed, team, on_progress)
        with phase("learning the second layer") as on_progress:
            second = learn_second(images, recipe, first, seed, team, on_progress)
    return StackedFeatures(size, recipe, first, second)


def _largest_score(recipe: Recipe, second: Second) -> float:
    """A bound of |z| from lengths: that of a window is at most the square root of its numbers."""
    window = np.sqrt(recipe.window_numbers)
    x = window * np.linalg.norm(second.directions.astype(np.float64))
    x += np.linalg.norm(second.mean.astype(np.float64))
    return float(x * np.linalg.norm(second.atoms.astype(np.float64), axis=0).max())
