"""Chromium without a window, driven over a pipe by its DevTools protocol; nothing to install beside the browser."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from select import POLLHUP, POLLIN, poll
from time import monotonic
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT = 60.0

# Every piece of text that is seen, with its place: what overlaps is compared by lines, not by boxes.
_TEXTS = """
(() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || ['STYLE', 'TITLE', 'DESC', 'title', 'desc'].includes(element.tagName)) continue;
    if (!element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    // What is hidden for the eye alone, for who listens to the page.
    if (element.closest('thead') && getComputedStyle(element.closest('thead')).clipPath !== 'none') continue;
    const size = parseFloat(getComputedStyle(element).fontSize);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      // A line's box is taller than its letters.
      const high = Math.min(box.height, size), middle = (box.top + box.bottom) / 2;
      if (box.width < 1 || box.right < 0) continue;
      found.push({text: node.data.trim().slice(0, 60), left: box.left, right: box.right,
                  top: middle - high / 2 + scrollY, bottom: middle + high / 2 + scrollY});
    }
  }
  return found;
})()
"""


def find() -> str | None:
    """Return the browser's path, None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A browser with one page."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.events: list[dict[str, Any]] = []

    def start(self) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _read(self) -> dict[str, Any]:
        end = monotonic() + _TIMEOUT
        while b"\0" not in self._buffer:
            # Not select(), which knows no file beyond the 1,024th.
            waiting = poll()
            waiting.register(self._receive, POLLIN | POLLHUP)
            if not waiting.poll(1000 * max(end - monotonic(), 0)):
                raise TimeoutError("the browser does not answer")
            part = os.read(self._receive, 1 << 20)
            if not part:
                raise ConnectionError("the browser has ended")
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path: Path, width: int, *, dark: bool = False, height: int = 900, scale: float = 1.0) -> None:
        """Open a page at a width in CSS pixels, and wait until it is loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._read()

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def complaints(self) -> list[str]:
        """Return what the page's console shows and which exceptions there were."""
        found = []
        for event in self.events:
            parameters = event["params"]
            if event["method"] == "Log.entryAdded":
                found.append(f"{parameters['entry']['level']}: {parameters['entry']['text']}")
            elif event["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
                found.append(json.dumps(parameters)[:300])
        return found

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for; what lies within it, as data, is none."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [address for address in asked if not address.startswith("data:")]

    def overlaps(self) -> list[tuple[str, str]]:
        """Return each two texts that lie over each other."""
        boxes = sorted(self.evaluate(_TEXTS), key=lambda box: box["top"])
        found = []
        for number, one in enumerate(boxes):
            for other in boxes[number + 1 :]:
                if other["top"] >= one["bottom"] - 1:
                    break
                if min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1:
                    found.append((one["text"], other["text"]))
        return found

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """Save what is seen as PNG; the whole page, or its first `height` CSS pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def browser(program: str) -> Iterator[Browser]:
    """Start a browser and end it."""
    to_it, from_us = os.pipe()
    to_us, from_it = os.pipe()

    def connect() -> None:
        # The pipes that the protocol is spoken over must be these two.
        for source, target in ((os.dup(to_it), 3), (os.dup(from_it), 4)):
            os.dup2(source, target)

    with tempfile.TemporaryDirectory(prefix="browser-") as profile:
        command = [
            program,
            "--headless",
            "--no-sandbox",  # CI runs as root, in a container
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--no-first-run",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
        ]
        process = subprocess.Popen(
            command,
            preexec_fn=connect,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        try:
            page = Browser(from_us, to_us)
            page.start()
            yield page
            with contextlib.suppress(Exception):
                page._session = ""
                page.call("Browser.close")
        finally:
            os.close(from_us)
            os.close(to_us)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
