"""The weights of a model of pixels as a table that any program reads."""

from __future__ import annotations

import csv
import io

from catclf.errors import SettingsError
from catclf.model import Model

CHANNELS = ("red", "green", "blue")


def to_csv(model: Model) -> str:
    """Rows ``row,column,channel,weight``: the bias first, without a place, then each weight.

    z = bias + Σ weight * pixel / 255, with pixels from 0 to 255, rows from the top and columns
    from the left. Numbers have all their digits. Raises SettingsError for other features.
    """
    if model.features is not None:
        raise SettingsError(
            f"a table of weights is for pixels, and this model has features {model.features.kind}: "
            "write an .onnx file, which holds them"
        )
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("row", "column", "channel", "weight"))
    rows.writerow(("", "", "bias", repr(float(model.b))))
    size = model.preprocess.size
    for number, weight in enumerate(model.w[:, 0].tolist()):
        row, column = divmod(number // 3, size)
        rows.writerow((row, column, CHANNELS[number % 3], repr(weight)))
    return text.getvalue()
