"""Fashion-MNIST from Debian's package: where it is installed, or fetched and only unpacked."""

import subprocess
import tempfile
from pathlib import Path

from . import files

PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
SECONDS = 600.0


def fetch_installed(cache: Path, names: list[str]) -> list[str]:
    """Copy the files into `cache` from the installed package; gives reasons where that failed."""
    if not INSTALLED.is_dir():
        return [f"Debian's {PACKAGE}: not installed, {INSTALLED} is not there"]
    return _copied(INSTALLED, cache, names)


def fetch(cache: Path, names: list[str]) -> list[str]:
    """Copy the files into `cache` from the package, which apt-get fetches; installs nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            _run(["apt-get", "download", "--quiet", PACKAGE], folder)
            (archive,) = folder.glob("*.deb")
            _run(["dpkg-deb", "--extract", str(archive), str(folder)], folder)
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            return [f"Debian's archive: {error}"]
        return _copied(folder / INSTALLED.relative_to("/"), cache, names)


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; OSError with what it said where it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise OSError(f"`{' '.join(command[:3])}` failed: {done.stderr.strip()[-1000:]}")


def _copied(source: Path, cache: Path, names: list[str]) -> list[str]:
    reasons = []
    for name in names:
        try:
            files.store(cache, name, files.read(source, name))
        except (OSError, ValueError) as error:
            reasons.append(f"Debian's {PACKAGE}: {error}")
    return reasons
