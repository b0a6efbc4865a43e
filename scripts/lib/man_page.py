"""Puts catclf(1) into the wheel as share/man/man1/catclf.1, printed by the program that is built.

Hatchling calls the hook, see pyproject.toml. ``man`` looks for pages in share/man beside each bin
of PATH, so that ``man catclf`` finds it in a virtual environment, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ManPage(BuildHookInterface[Any]):
    """The page of a wheel; an editable installation has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "standard":
            return
        self._folder = tempfile.TemporaryDirectory()
        page = Path(self._folder.name) / "catclf.1"
        command = [sys.executable, "-B", "-m", "catclf", "help", "--man"]
        with page.open("wb") as file:
            subprocess.run(command, cwd=self.root, stdout=file, check=True, timeout=120)
        build_data["shared_data"][str(page)] = "share/man/man1/catclf.1"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version == "standard":
            self._folder.cleanup()
