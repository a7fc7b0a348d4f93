"""Debian's packages on any Linux: a release debootstrapped once, kept in the user's cache, run by chroot."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.native.server import ServerError

SUITE = "trixie"
DATA = "/srv"
"""Where a program in the release finds the directory that ``chrooted`` was given."""

# Everything is mounted in a namespace of its own, which ends with the last process in it.
_BUILD = 'debootstrap --variant=minbase --include="$1" "$2" "$0" && rm -rf "$0"/var/cache/apt/*'
_ENTER = (
    'mount --bind "$1" "$0$2" && mount --rbind /proc "$0/proc" && mount --rbind /dev "$0/dev" '
    '&& exec chroot "$0" sh -c "$3"'
)
_LOG_TAIL = 2000


def cached_release(packages: Sequence[str]) -> Path:
    """Where the release with these packages is, or will be once it is built."""
    return Path.home() / ".cache/memrelay/native" / "-".join([SUITE, *sorted(packages)])


def find_release(packages: Sequence[str]) -> Path:
    """Its root, built first when it is missing (a minute); ServerError when it cannot be."""
    what = f"Debian's {', '.join(packages)}"
    if os.geteuid() != 0:
        raise ServerError(f"{what} cannot be had: it is run by chroot, which needs root")
    root = cached_release(packages)
    if root.exists():
        return root
    if shutil.which("debootstrap") is None:
        raise ServerError(f"{what} cannot be had: debootstrap is not installed")
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_name(f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever waited here finds it built
        if not root.exists():
            _build(what, packages, root)
    return root


def _build(what: str, packages: Sequence[str], root: Path) -> None:
    """All or nothing: the root appears by a rename, on the same file system."""
    sys.stderr.write(f"getting {what}, once: about a minute on 2 cores\n")
    with tempfile.TemporaryDirectory(dir=root.parent) as scratch:
        made = Path(scratch) / "root"
        built = subprocess.run(
            ["unshare", "--mount", "sh", "-c", _BUILD, str(made), ",".join(packages), SUITE],
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            said = (built.stdout + built.stderr)[-_LOG_TAIL:]
            raise ServerError(f"{what} could not be had:\n{said}")
        made.replace(root)


def chrooted(root: Path, directory: Path, script: str) -> list[str]:
    """The command that runs ``script`` by sh in the release, with ``directory`` as ``DATA``.

    The process id stays the same throughout when ``script`` ends in an exec.
    """
    unshare = shutil.which("unshare")
    if unshare is None:
        raise ServerError("unshare (util-linux) is not installed")
    enter = [_ENTER, str(root), str(directory), DATA, script]
    return [unshare, "--mount", "sh", "-c", *enter]
