"""The tests that train and print, as on other processors: scripts/kernels [NAME ...].

A name is a kernel of OpenBLAS; the default is the oldest. NumPy uses no more than a processor of
that kind has. The whole suite is run with ``--all``. Other options go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TRAIN_AND_PRINT = (
    *("docs", "bundled", "same_bytes", "sklearn"),
    *("training_*", "objective_*", "features_*", "model*", "evaluation_*", "export_*", "explain*"),
    *("cli_train*", "cli_predict", "cli_compare*", "cli_evaluate", "report*"),
)
# What NumPy does not use, by the beginnings of its names for it.
WITHOUT = {
    "NEHALEM": ("",),
    "SANDYBRIDGE": ("",),
    "HASWELL": ("X86_V4", "AVX512"),
    "SKYLAKEX": ("AVX512_ICL", "AVX512_SPR"),
    "ARMV8": ("",),
}
READ_BACK = (
    "import numpy, threadpoolctl as t; print(*{p['architecture'] for p in t.threadpool_info()})"
)


def environment(kernel: str) -> dict[str, str]:
    """The variables that make BLAS and NumPy take a processor for another one."""
    numpy: Any = import_module("numpy._core._multiarray_umath")
    used = (name for name in numpy.__cpu_dispatch__ if numpy.__cpu_features__[name])
    off = [name for name in used if name.startswith(WITHOUT.get(kernel, ()))]
    return {"OPENBLAS_CORETYPE": kernel, "NPY_DISABLE_CPU_FEATURES": " ".join(off)}


def tests() -> list[str]:
    """The modules of tests that train and print."""
    found = (path for name in TRAIN_AND_PRINT for path in ROOT.glob(f"tests/test_{name}.py"))
    return [str(path) for path in sorted(set(found))]


def run(kernel: str, arguments: list[str]) -> int:
    """Pytest's exit code under a kernel. Exits if OpenBLAS, silently, takes another one."""
    env = {**os.environ, **environment(kernel)}
    back = subprocess.check_output([sys.executable, "-c", READ_BACK], env=env, text=True).strip()
    if back.upper() != kernel:
        sys.exit(f"kernels: OpenBLAS takes {back} where {kernel} was asked for")
    print(f"{kernel}, NumPy without {env['NPY_DISABLE_CPU_FEATURES'] or 'nothing'}:", flush=True)
    pytest = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(pytest, cwd=ROOT, env=env).returncode


def main() -> None:
    given = sys.argv[1:]
    options = [each for each in given if each.startswith("-") and each != "--all"]
    kernels = [each for each in given if not each.startswith("-")]
    usual = "NEHALEM" if os.uname().machine == "x86_64" else "ARMV8"
    chosen = [] if "--all" in given else tests()
    codes = [run(kernel, [*chosen, *options]) for kernel in kernels or [usual]]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
