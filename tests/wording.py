"""Phrases that people read and several tests look for: a new wording changes them here alone."""

from __future__ import annotations

# Tables and pages.
ACTUAL, PREDICTED, BASELINE = "actual", "predicted", "baseline"
MISTAKES = "most confident mistakes"
STD = "std"
AS_GOOD = "as good, as far as these folds can tell: "
TAKE, TEST_SET_KEPT = "take ", "no test set was used"
SELECTED = "selected by cross-validation"

# Errors.
NO_FILE, NO_SOURCE = "no such file", "there is no such file or folder"
NO_IMAGE = "there is no such file"
UNWRITTEN = "standard output cannot be written"
NO_FOLDER = "does not exist"
OTHER_FILE = "is another file of this run"
EVERY_DIVERGED = "every candidate diverged: try smaller learning rates, as "
