"""What other programs call commands and options, and which word a mistyped one is like."""

from __future__ import annotations

from collections.abc import Sequence

CONFIG = "catclf.config"  # under this name a context keeps what a file of options says
# What other programs call it.
OTHER_OPTIONS = {
    **dict.fromkeys(("epochs", "max-iter", "num-iterations", "steps"), "--iterations"),
    **dict.fromkeys(("alpha", "eta", "rate", "step-size"), "--learning-rate"),
    **dict.fromkeys(("lambda", "penalty", "regularization", "weight-decay"), "--l2"),
    **dict.fromkeys(("dataset", "input", "source", "train", "training-data"), "--data"),
    **dict.fromkeys(("val", "holdout", "validation-split"), "--validation"),
    **dict.fromkeys(("jobs", "n-jobs", "threads", "num-workers"), "--workers"),
    **dict.fromkeys(("out", "save", "save-to"), "--output"),
    **dict.fromkeys(("cutoff", "decision-threshold"), "--threshold"),
    **dict.fromkeys(("image-size", "resize"), "--size"),
    **dict.fromkeys(("balanced", "balance"), "--class-weight"),
    **dict.fromkeys(("ignore-errors", "skip-errors"), "--skip-bad"),
    **dict.fromkeys(("sort", "move", "unsure", "uncertain"), "--only"),
}
OTHER_COMMANDS = {
    **dict.fromkeys(("fit", "learn", "run"), "train"),
    **dict.fromkeys(("classify", "score", "infer", "label"), "predict"),
    **dict.fromkeys(("test", "eval", "validate", "accuracy"), "evaluate"),
    **dict.fromkeys(("cv", "tune", "cross-validate", "search"), "compare"),
    **dict.fromkeys(("show", "model"), "inspect"),
    **dict.fromkeys(("pack", "info", "verify", "split"), "data"),
    **dict.fromkeys(("why",), "explain"),
    **dict.fromkeys(("convert", "onnx"), "export"),
    **dict.fromkeys(("docs", "man", "manual"), "help"),
}


def close_match(word: str, known: Sequence[str]) -> str | None:
    """The word that is meant, if one is much like it or begins so."""
    from difflib import get_close_matches

    plain = {name.strip("-"): name for name in known}
    typed = word.strip("-").replace("_", "-")
    close = get_close_matches(typed, plain, n=1, cutoff=0.75)
    begins = [name for name in plain if len(typed) > 1 and name.startswith(typed)]
    return plain[(close or begins)[0]] if close or begins else None
