"""Where the Chromium is that the tests use; as a script it installs Debian's, if there is none."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = (
    "the page is tested in a real Chromium, and there is none: type apt-get install chromium, or "
    "set CHROMIUM to the path of a browser"
)


def chromium() -> str:
    """The path of the browser; SystemExit where there is none."""
    named = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else NAMES
    for name in named:
        path = shutil.which(name)
        if path:
            return path
    raise SystemExit(MISSING)


if __name__ == "__main__":
    try:
        chromium()
    except SystemExit:
        if shutil.which("apt-get"):
            subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=False)
        print(f"chromium: {chromium()}")
