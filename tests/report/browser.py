"""How is a page tried as a user would?  Chromium without a window, driven over a pair of pipes (the Chrome DevTools Protocol)."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Page:
    """One open page. `errors` are the exceptions and messages of errors that it has shown."""

    def __init__(self, read, write):
        self._read, self._write = read, write
        self._count = 0
        self._session = None
        self.errors = []

    def call(self, method: str, **parameters) -> dict:
        """One command of the protocol, and its result."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters} | ({"sessionId": self._session} if self._session else {})
        self._write.write(json.dumps(message).encode() + b"\0")
        self._write.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _receive(self) -> dict:
        data = bytearray()
        while (byte := self._read.read(1)) != b"\0":
            assert byte, "the browser went away"
            data += byte
        message = json.loads(data)
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        return message

    def open(self, url: str, width: int = 1600, height: int = 1000, scheme: str = "light") -> float:
        """Open `url`; the seconds until it is ready: it sets `data-ready` at its body, and has drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable")
        self.call("Page.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        begun = time.perf_counter()
        self.call("Page.navigate", url=url)
        while not self.run("document.body !== null && 'ready' in document.body.dataset"):
            assert time.perf_counter() < begun + 60 and not self.errors, self.errors or "the page does not get ready"
            time.sleep(0.02)
        self.settle()
        return time.perf_counter() - begun

    def run(self, script: str):
        """The value of an expression (a promise is waited for)."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(done))))")

    def click(self, x: float, y: float, count: int = 1) -> None:
        """Press and release the mouse at a point of the page."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)
        self.settle()

    def click_on(self, element: str) -> None:
        """Click into the middle of the element that an expression gives."""
        self.click(*self.run(f"(() => {{ const b = ({element}).getBoundingClientRect(); return [b.left + b.width / 2, b.top + b.height / 2]; }})()"))

    def press(self, key: str, text: str = "") -> None:
        """Press and release a key."""
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=text or (key if len(key) == 1 else ""))
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def screenshot(self) -> bytes:
        """The page as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


@contextlib.contextmanager
def browser(profile):
    """A Page of a new browser, whose profile is the folder `profile`."""
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()

    def redirect():
        os.dup2(to_browser, 3)
        os.dup2(from_browser, 4)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
               f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, preexec_fn=redirect, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(to_browser)
    os.close(from_browser)
    try:
        with os.fdopen(read, "rb", 0) as reader, os.fdopen(write, "wb") as writer:
            page = Page(reader, writer)
            yield page
            page._session = None
            with contextlib.suppress(AssertionError, OSError):
                page.call("Browser.close")
    finally:
        process.terminate()
        process.wait(10)
