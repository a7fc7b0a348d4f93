"""promtool, Prometheus' own checker of rules: an installed one, or Debian's, kept in the user's cache."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from deploy.native.server import ServerError

PACKAGE = "prometheus"
_LOG_TAIL = 2000


def cached() -> Path:
    """Where it is kept, or will be once it was got."""
    return Path.home() / ".cache/memrelay/native/promtool-debian/promtool"


def find() -> Path:
    """The program, taken out of Debian's package first when it is missing; ServerError when it cannot be."""
    installed = shutil.which("promtool")
    if installed is not None:
        return Path(installed)
    if not cached().exists():
        _get()
    return cached()


def _get() -> None:
    """All or nothing: it appears by a rename, on the same file system."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise ServerError("no promtool: it is taken from Debian's package, and this is no Debian")
    cached().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cached().parent) as directory:
        scratch = Path(directory)
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", PACKAGE]
        if _run(download, scratch).returncode != 0:
            _run(["apt-get", "-qq", "update"], scratch)
            done = _run(download, scratch)
            if done.returncode != 0:
                raise ServerError(f"no promtool:\n{done.stderr[-_LOG_TAIL:]}")
        [package] = scratch.glob("*.deb")
        done = _run(["dpkg-deb", "-x", str(package), "files"], scratch)
        if done.returncode != 0:
            raise ServerError(f"no promtool:\n{done.stderr[-_LOG_TAIL:]}")
        (scratch / "files/usr/bin/promtool").replace(cached())


def _run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    find()
