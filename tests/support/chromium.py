"""A real headless Chromium for the tests of pages, and what every page of HanLM must keep."""

import json
import os
import select
import shutil
import subprocess
import time
from itertools import count
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class Browser:
    """A page in Chromium, driven by its DevTools protocol over a pipe (no port, no other package)."""

    def __init__(self, profile: Path) -> None:
        self._numbers = count(1)
        read, self._write = os.pipe()
        self._read, write = os.pipe()

        def place_pipes() -> None:  # Chromium reads commands from descriptor 3 and answers on 4
            os.dup2(read, 203)
            os.dup2(write, 204)
            os.dup2(203, 3)
            os.dup2(204, 4)

        self._process = subprocess.Popen(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=place_pipes,  # noqa: PLW1509  (nothing else hands over descriptors of a chosen number)
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        self._buffer = b""
        self._id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._id += 1
        message: dict[str, Any] = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._id:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], 60)[0], "Chromium does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium ended"
            self._buffer += data
        one, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(one)

    def run(self, javascript: str) -> Any:
        result = self.call("Runtime.evaluate", expression=javascript, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def show(self, page: Path, *, width: int, dark: bool = False) -> None:
        """Open a page and wait until its figures are drawn."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.set_dark(dark)
        # The page before this one may still be there for a moment, and may be the same: each has a name of its own.
        url = f"{page.as_uri()}?{next(self._numbers)}"
        self.call("Page.navigate", url=url)
        is_here = f"location.href === {json.dumps(url)} && document.readyState === 'complete'"
        self.wait_for(f"{is_here} && document.documentElement.dataset.drawn !== undefined")

    def set_dark(self, dark: bool) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def wait_for(self, condition: str) -> None:
        deadline = time.monotonic() + 60
        while not self.run(condition):
            assert time.monotonic() < deadline, f"waited in vain for {condition}"
            time.sleep(0.1)

    def complaints(self) -> list[dict[str, Any]]:
        """Return what a developer would see in red or yellow in the console."""
        return [
            event
            for event in self.events
            if event["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
            or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"))
        ]

    def too_wide(self, width: int, *, except_in: str = ".table-scroll, svg, defs, script") -> list[str]:
        """Return the beginnings of elements that reach beyond the screen; what lies within ``except_in`` may."""
        return self.run(
            f"[...document.querySelectorAll('body *')].filter(e => !e.closest('{except_in}') && "
            f"e.getBoundingClientRect().right > {width} + 0.5).map(e => e.outerHTML.slice(0, 80))"
        )

    def requests(self) -> list[str]:
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)
