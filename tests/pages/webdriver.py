"""A headless Chromium, driven by chromedriver: as much of the WebDriver protocol as page_test.py needs.

Python's standard library only. https://www.w3.org/TR/webdriver2/ says what the requests mean.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the protocol spells "this is an element"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Home": "\ue011", "End": "\ue010", "ArrowLeft": "\ue012",
        "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "Shift": "\ue008"}


class Missing(Exception):
    """What is needed is not installed."""


class WebDriverError(Exception):
    pass


def find_programs():
    """The paths of a browser and its driver. Raises Missing with the names of what is not there."""
    browser = next((path for path in map(shutil.which, BROWSERS) if path), None)
    driver = shutil.which("chromedriver")
    missing = [name for name, path in (("chromium", browser), ("chromedriver", driver)) if not path]
    if missing:
        raise Missing(" and ".join(missing))
    return browser, driver


class Browser:
    """One browser with one window. Use it in a `with`: its processes and files go when the block ends."""

    def __init__(self):
        browser, driver = find_programs()
        self.folder = tempfile.TemporaryDirectory(prefix="attnflow-pages-", ignore_cleanup_errors=True)
        self.downloads = pathlib.Path(self.folder.name, "downloads")
        self.downloads.mkdir()
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        try:
            self._open(browser)
        except BaseException:
            self.close()
            raise

    def _open(self, browser):
        self.base = None
        for line in self.process.stdout:  # "ChromeDriver was started successfully on port 12345."
            if "started successfully on port" in line:
                self.base = "http://127.0.0.1:" + line.rstrip().rstrip(".").rsplit(" ", 1)[1]
                break
        if self.base is None:
            raise WebDriverError("chromedriver ended before it listened")
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--disable-dev-shm-usage", "--user-data-dir=" + self.folder.name + "/profile"]
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": browser, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}}, timeout=120)
        self.session = "/session/" + answer["sessionId"]
        self._post("/timeouts", {"script": 60000, "pageLoad": 120000})
        self.cdp("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            if getattr(self, "session", None):
                self._call("DELETE", self.session)
        except (OSError, WebDriverError):
            pass
        finally:
            self.session = None
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.folder.cleanup()

    def _call(self, method, path, body=None, timeout=150):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"},
                                         method=method)
        # No proxy: the driver is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise WebDriverError(value["error"] + ": " + value["message"].split("\n")[0]) from None

    def _post(self, path, body):
        return self._call("POST", self.session + path, body)

    def cdp(self, command, **parameters):
        """A command of the DevTools protocol, for what WebDriver has no word."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    # --- The window and the page

    def resize(self, width, height):
        """The size of the page in CSS pixels: also below what a window may have."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                 mobile=False)

    def prefer(self, **features):
        """As prefers_color_scheme="dark"; without any, as the browser comes."""
        self.cdp("Emulation.setEmulatedMedia",
                 features=[{"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def open(self, address):
        """Loads the page, also where only the part after # is new."""
        self._post("/url", {"url": "about:blank"})
        self.console(), self.requests()  # what was before does not count
        self._post("/url", {"url": address})

    def run(self, script, *arguments):
        """The value of a script's `return`."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def run_later(self, script, *arguments):
        """The value that a script gives to its last argument, a function."""
        return self._post("/execute/async", {"script": script, "args": list(arguments)})

    def frames(self, count=2):
        """Waits until so many frames were drawn."""
        self.run_later("let k = arguments[0]; const done = arguments[1];"
                       "const go = () => k-- > 0 ? requestAnimationFrame(go) : done(null); go();", count)

    def wait(self, condition, seconds=20):
        """Until the expression is true. Returns whether it became so."""
        end = time.monotonic() + seconds
        while not self.run("return Boolean(" + condition + ")"):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def element(self, identifier):
        return self._post("/element", {"using": "css selector", "value": "#" + identifier})

    def click(self, identifier):
        self._post("/element/" + self.element(identifier)[ELEMENT] + "/click", {})

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._call("GET", self.session + "/screenshot")))

    # --- Pointer and keys

    def press(self, *names, shift=False):
        """Presses and releases keys, one after the other; they go to whatever has the focus."""
        actions = [{"type": "keyDown", "value": KEYS["Shift"]}] if shift else []
        for name in names:
            value = KEYS.get(name, name)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        if shift:
            actions.append({"type": "keyUp", "value": KEYS["Shift"]})
        self._post("/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def _pointer(self, actions, kind="mouse"):
        self._post("/actions", {"actions": [{"type": "pointer", "id": "pointer of " + kind,
                                             "parameters": {"pointerType": kind}, "actions": actions}]})

    def point(self, x, y):
        """Moves the mouse there, in CSS pixels of the window."""
        self._pointer([{"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}])

    def drag(self, start, end, steps=5):
        moves = [{"type": "pointerMove", "duration": 20,
                  "x": round(start[0] + (end[0] - start[0]) * k / steps),
                  "y": round(start[1] + (end[1] - start[1]) * k / steps)} for k in range(1, steps + 1)]
        self._pointer([{"type": "pointerMove", "x": round(start[0]), "y": round(start[1]), "duration": 0},
                       {"type": "pointerDown", "button": 0}, *moves, {"type": "pointerUp", "button": 0}])

    def wheel(self, x, y, down):
        self._post("/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [
            {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": down, "duration": 0}]}]})

    # --- What the browser noted since the page was opened, or since the last call

    def _log(self, kind):
        return self._call("POST", self.session + "/se/log", {"type": kind})

    def console(self):
        """Errors and warnings of the console."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """The addresses that were asked for."""
        messages = (json.loads(entry["message"])["message"] for entry in self._log("performance"))
        return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
