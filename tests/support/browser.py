"""One Chromium without a network, driven over its debugging pipe (JSON messages ended by a zero byte)."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
# Chromium reads commands from descriptor 3 and answers on 4: the pipes are moved there before it starts.
ON_3_AND_4 = (
    "import fcntl, os, sys; pipes = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]; "
    "[os.dup2(pipe, place) for place, pipe in zip((3, 4), pipes)]; os.execv(sys.argv[3], sys.argv[3:])"
)
PATIENCE = 120  # s: a cold start on a busy machine


class Browser:
    """One Chromium with one page, spoken to in the words of its debugging protocol."""

    def __init__(self, folder):
        down, self.write = os.pipe()
        self.read, up = os.pipe()
        command = [CHROMIUM, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}/profile", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_3_AND_4, str(down), str(up), *command],
            pass_fds=(down, up),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        self.buffer, self.last, self.events, self.session = b"", 0, [], None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=0, uploadThroughput=0)

    def _message(self):
        """The next message; waits at most `PATIENCE`."""
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.read], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            self.buffer += os.read(self.read, 1 << 20)
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, **parameters):
        """Send a command and return its answer; events that arrive meanwhile are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.last:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        """The value of a JavaScript expression in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path, width, scheme="light", height=900):
        """Open a file at a width and colour scheme and wait until its charts are drawn."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Page.navigate", url=path.as_uri())
        end = time.monotonic() + PATIENCE
        while self.value("document.documentElement?.dataset.charts") is None:
            assert time.monotonic() < end, "the charts are not drawn"
            time.sleep(0.1)

    def troubles(self):
        """Console errors, exceptions and log entries since the page was opened."""
        found = []
        for event in self.events:
            kind, parameters = event.get("method"), event.get("params", {})
            if kind == "Runtime.exceptionThrown" or (
                kind == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning")
            ):
                found.append(parameters)
            if kind == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"])
        return found

    def requests(self):
        """Addresses that the page asked for, itself and data in place aside."""
        urls = [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("file:", "data:", "about:"))]

    def close(self):
        """End the browser."""
        self.session = None
        with contextlib.suppress(OSError):
            os.write(self.write, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.read)
        os.close(self.write)
