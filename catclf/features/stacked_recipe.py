"""How ``stacked`` features are cut, encoded and pooled: bounds, sizes, and how many atoms."""

from __future__ import annotations

from dataclasses import dataclass

from catclf.errors import SettingsError
from catclf.features.base import NUMBERS_LIMIT

USUAL_SIZE = 128  # larger images are first reduced by a whole factor to about this
SMALL = 96  # images of at most this size, after the reduction, are small
PRODUCTS_LIMIT = 10**10  # of one layer for an image: a third of a second
NUMBERS_HELD = 1 << 24  # at a time, for one image: 64 MB
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
# 100 000, 0.959 and 0.956 with rows damped, too (see ``standardize``). No better: 10 rounds of
# k-means (0.956, 0.953), whitening with 0.1 (0.951, 0.950) or 0.6 (0.954, 0.953) of the mean
# eigenvalue; from 40 000 windows 0.957, 0.954 with 384 directions and 0.956, 0.953 with 6400 atoms.
# Atoms of the second layer by the number of images that they are learned from: more images have
# more to tell, and fewer do not pay for the time that more atoms take.
ATOMS_BY_IMAGES = ((100, 800), (10_000, 3200))
ATOMS_OF_MANY = 6400


@dataclass(frozen=True)
class Recipe:
    """The settings of both layers.

    First layer: ``first_atoms``, half of them mirror images of the others, of ``patch`` pixels
    along a side, at every ``stride`` pixels; ``epsilon`` is added to a patch's variance;
    ``first_threshold`` is taken from an atom's strength; pooled to ``places`` along a side, and
    projected on ``channels`` directions. Second layer: windows of ``window`` places along a side,
    normalised with ``floor`` times their mean energy, projected on ``directions``;
    ``second_atoms``, and ``grid`` regions along a side.
    """

    first_atoms: int = 128
    patch: int = 8
    stride: int = 2
    epsilon: float = 10.0
    first_threshold: float = 0.5
    places: int = 15
    channels: int = 64
    window: int = 3
    floor: float = 0.01
    directions: int = 256
    second_atoms: int = 3200
    grid: int = 2
    flip: bool = True

    def __post_init__(self) -> None:
        bounds = {
            "first_atoms": (2, 1024),
            "patch": (2, 16),
            "stride": (1, 16),
            "places": (2, 64),
            "channels": (1, 512),
            "window": (1, 16),
            "directions": (1, 1024),
            "second_atoms": (2, 65536),
            "grid": (1, 16),
        }
        sound = all(
            type(value := getattr(self, name)) is int and least <= value <= most
            for name, (least, most) in bounds.items()
        )
        positive = {"epsilon": 1e6, "floor": 1e6, "first_threshold": 100.0}
        sound = sound and all(
            type(value := getattr(self, name)) is float and 0.0 <= value <= most
            for name, most in positive.items()
        )
        sound = sound and (
            min(self.epsilon, self.floor) >= 1e-6
            and self.first_atoms % 2 == 0
            and self.second_atoms % 2 == 0
            and self.second_steps >= self.grid
            and self.channels <= 2 * self.first_atoms
            and self.directions <= self.window_numbers
            and type(self.flip) is bool
            and self.n <= NUMBERS_LIMIT
        )
        if not sound:
            raise SettingsError("stacked settings out of bounds")

    @classmethod
    def for_images(cls, count: int, size: int, *, flip: bool = True) -> Recipe:
        """The recipe for ``count`` images of a size to learn from.

        Small images have few pixels to tell apart by and few patches to encode: their patches are
        smaller and denser, and more numbers of each place are kept.
        """
        atoms = next((k for limit, k in ATOMS_BY_IMAGES if count < limit), ATOMS_OF_MANY)
        if size // cls.reduction(size) > SMALL:
            return cls(second_atoms=atoms, flip=flip)
        return cls(
            first_atoms=256,
            patch=6,
            stride=1,
            channels=96,
            directions=384,
            second_atoms=atoms,
            flip=flip,
        )

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
        steps = self.first_steps(size)
        if steps < self.places:
            least = self.patch + (self.places - 1) * self.stride
            raise SettingsError(
                f"images of {size}x{size} are too small for stacked: {least} pixels are needed"
            )
        first = steps**2 * (self.numbers + self.places) * self.first_atoms
        second = self.second_steps**2 * self.directions * (self.window_numbers + self.second_atoms)
        held = max(
            2 * steps * self.places * self.first_atoms,
            self.second_steps**2 * max(self.window_numbers, self.directions),
        )
        if max(first, second) > PRODUCTS_LIMIT or held > NUMBERS_HELD:
            raise SettingsError(f"images of {size}x{size} take too long with these settings")
