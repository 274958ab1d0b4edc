"""A headless Chromium that opens one page with nothing of its own going on."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--virtual-time-budget=4000"),
)
PROBE = """
<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("load", async () => {
  let found;
  try { found = await (async () => { %s })(); } catch (error) { found = {error: String(error)}; }
  parent.postMessage(JSON.stringify({...found, errors}), "*");
});
</script>
"""
FRAME = """<!doctype html>
<iframe src="probed.html" width="%d" height="900" style="border: 0"></iframe>
<script>
addEventListener("message", (event) => {
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = event.data;
  document.body.append(pre);
});
</script>
"""
"""A page around the page, for a window cannot be as narrow as a telephone."""


def find_chromium():
    """Path of a Chromium, or a skip."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or pytest.skip("no Chromium here: python -m tests.machine")


def browse(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess:
    """Open a page in a profile of its own."""
    command = [find_chromium(), *QUIET, f"--user-data-dir={folder}/profile"]
    command += ["--window-size=1500,1000", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)


def probe(page: Path, folder: Path, script: str, width: int = 1400) -> dict:
    """What a script returns that runs in a page once it is loaded, with ``console`` lines.

    Parameters
    ----------
    script
        Body of a function that returns an object.
    """
    text = page.read_text(encoding="utf-8").replace("<style>", PROBE % script + "<style>", 1)
    (folder / "probed.html").write_text(text, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME % width, encoding="utf-8")
    done = browse(frame, folder, "--dump-dom")
    answer = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert answer, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(answer[1])) | {"console": console}
