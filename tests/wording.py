"""Phrases that people read and several tests look for: a new wording changes them here alone."""

from __future__ import annotations

# Tables and pages.
ACTUAL, PREDICTED, BASELINE = "actual", "predicted", "baseline"
CORRECT = "predicted correctly"
MISTAKES = "most confident mistakes"
EVIDENCE = "the image, and its evidence"
STD = "std"
AS_GOOD = "as good, as far as these folds can tell: "
TAKE, TEST_SET_KEPT = "take ", "no test set was used"
MAJORITY = "majority baseline"
SELECTED = "selected by cross-validation"

# Warnings.
BALANCE_DIFFERS = "class balance differs: "
ONE_CLASS = "every image is cat: most numbers need both classes"

# Errors.
NO_FILE, NO_SOURCE = "no such file", "there is no such file or folder"
NO_IMAGE, NOT_AN_IMAGE = "there is no such file", "is not an image in a format read here"
UNWRITTEN = "standard output cannot be written"
NO_FOLDER = "does not exist"
OTHER_FILE = "is another file of this run"
INPUT_IMAGE, ANOTHER_NAME = "is an image ", "give another output name"
NOT_COMPARISON = "is not the JSON that catclf compare prints"
NEEDS_DATA = "of no use without labelled images: give --data"
NOT_FINITE = "not finite"
NUL = "no file name holds a NUL byte"
EMPTY, UNREADABLE = "is empty", "cannot be read: "
EVERY_DIVERGED = "every candidate diverged: try smaller learning rates, as "
UNREPORTED = "please report it"
