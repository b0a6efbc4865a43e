"""What other programs call commands and options, and which word a mistyped one is like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

CONFIG = "catclf.config"  # under this name a context keeps what a file of options says
# What other programs call it.
OTHER_OPTIONS = {
    "--iterations": "epochs max-iter num-iterations steps",
    "--learning-rate": "alpha eta rate step-size",
    "--l2": "lambda penalty regularization weight-decay",
    "--data": "dataset input source train training-data",
    "--validation": "val holdout validation-split",
    "--workers": "jobs n-jobs threads num-workers",
    "--output": "out save save-to",
    "--threshold": "cutoff decision-threshold",
    "--size": "image-size resize",
    "--class-weight": "balanced balance",
    "--skip-bad": "ignore-errors skip-errors",
    "--only": "sort move unsure uncertain",
}
OTHER_COMMANDS = {
    "train": "fit learn run",
    "predict": "classify score infer label",
    "evaluate": "test eval validate accuracy",
    "compare": "cv tune cross-validate search",
    "inspect": "show model",
    "data": "pack info verify split",
    "explain": "why",
    "export": "convert onnx",
    "help": "docs man manual",
}


def meant(word: str, known: Sequence[str], others: Mapping[str, str] | None = None) -> str | None:
    """The word that is meant: what ``others`` call it, or one that is much like it or begins so."""
    plain = {name.strip("-"): name for name in known}
    typed = word.strip("-").replace("_", "-")
    for name, words in (others or {}).items():
        if typed in words.split() and name in known:
            return name
    from difflib import get_close_matches

    close = get_close_matches(typed, plain, n=1, cutoff=0.75)
    begins = [name for name in plain if len(typed) > 1 and name.startswith(typed)]
    return plain[(close or begins)[0]] if close or begins else None
