"""A browser for tests of pages: headless Chromium, driven over the WebDriver protocol.

Its own driver speaks the protocol, which is JSON over HTTP.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    # A camera that shows a pattern, and may be used.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


class Browser:
    """One browser session."""

    def __init__(self, port: int, profile: Path) -> None:
        self._base = f"http://127.0.0.1:{port}"
        args = [*FLAGS, f"--user-data-dir={profile}"]
        if os.geteuid() == 0:
            args.append("--no-sandbox")
        wanted = {
            "goog:chromeOptions": {"args": args, "binary": CHROMIUM},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": 120_000},  # milliseconds
        }
        session = self._call("/session", {"capabilities": {"alwaysMatch": wanted}})
        self._base += f"/session/{session['sessionId']}"

    def close(self) -> None:
        self._call("", method="DELETE")

    def open(self, path: Path, width: int = 1100, scheme: str = "light") -> None:
        """Show a file at a width and in a colour scheme, and wait until it is loaded."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.devtools("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.devtools("Emulation.setEmulatedMedia", {"features": features})
        self.log("browser"), self.log("performance")  # forget those of the page before
        self._call("/url", {"url": path.as_uri()})

    def run(self, script: str) -> Any:
        """The value that a script in the page returns."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def run_async(self, script: str, *args: Any) -> Any:
        """What a script passes to its last argument, a function, when it is done."""
        return self._call("/execute/async", {"script": script, "args": [*args]})

    def devtools(self, command: str, params: dict[str, Any]) -> Any:
        return self._call("/goog/cdp/execute", {"cmd": command, "params": params})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """What was logged since the last call."""
        entries: list[dict[str, Any]] = self._call("/se/log", {"type": kind})
        return entries

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.log("browser")]

    def requests(self) -> list[str]:
        """Addresses asked for since the page was opened.

        Not those inside the page, nor those of the browser's own first page.
        """
        events = (json.loads(entry["message"])["message"] for entry in self.log("performance"))
        urls = [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]
        return [url for url in urls if not url.startswith(("data:", "chrome:"))]

    def _call(self, path: str, body: Any = None, method: str = "POST") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._base + path, data, {"Content-Type": "application/json"})
        request.method = method
        with urlopen(request, timeout=310) as answer:
            return json.load(answer)["value"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("needs a browser: apt-get install chromium chromium-driver")
    folder = tmp_path_factory.mktemp("browser")
    with subprocess.Popen([str(DRIVER), "--port=0"], stdout=subprocess.PIPE, cwd=folder) as driver:
        assert driver.stdout is not None
        try:
            started = next(line for line in driver.stdout if b"successfully on port" in line)
            port = int(re.findall(rb"port (\d+)", started)[0])
            session = Browser(port, folder / "profile")
            yield session
            session.close()
        finally:
            driver.terminate()


def luminance(colour: str) -> float:
    """Relative luminance of a computed colour, rgb(…) or color(srgb …) (WCAG 2.1)."""
    numbers = [float(v) for v in re.findall(r"[\d.]+(?:e-\d+)?", colour.replace("srgb", ""))[:3]]
    channels = np.array(numbers) / (1 if colour.startswith("color(") else 255)
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
