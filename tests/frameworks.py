"""Python environments of their own for frameworks that cannot live beside us, kept in the user's cache.

``tests/frameworks/<name>/requirements.txt`` pins one, ``overrides.txt`` says what a package asks for in vain
(as of uv); other pins are another environment. From this repository nothing is in it: ``install`` puts that
beside it, as it is now. ``python -m tests.frameworks`` builds them all.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy.native.server import ServerError

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "frameworks"
CACHE = Path.home() / ".cache" / "memrelay"
UV = Path(sys.prefix) / "bin" / "uv"


def python_of(name: str, folder: Path = FOLDER) -> Path:
    """The interpreter of the environment ``folder/name``, built where it is missing. Raises ServerError."""
    requirements = folder / name / "requirements.txt"
    pins = sys.version.encode() + requirements.read_bytes()
    directory = CACHE / f"venv-{name}-{hashlib.sha256(pins).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"venv-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever waited here finds it built
        python = directory / "bin" / "python"
        if not (directory / "ready").exists():
            uv("venv", "--quiet", "--clear", "--python", sys.executable, directory)
            overrides = requirements.with_name("overrides.txt")
            more = ("--override", overrides) if overrides.exists() else ()
            uv("pip", "install", "--quiet", "--python", python, "-r", requirements, *more)
            (directory / "ready").touch()
    return python


def install(name: str, packages: Sequence[Path], into: Path) -> None:
    """Wheels of these folders of ours, installed for ``PYTHONPATH`` in the folder ``into``."""
    python = python_of(name)
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "--target", into, *packages)


def uv(*words: str | Path) -> None:
    """Runs it to its end. Raises ServerError with its last words."""
    try:
        done = subprocess.run([UV, *words], capture_output=True, text=True, check=False)
    except OSError as error:
        raise ServerError(f"no uv to build an environment with: {error}") from None
    if done.returncode != 0:
        raise ServerError(f"uv {words[0]}: {done.stderr[-2000:]}")


if __name__ == "__main__":
    for pinned in sorted(FOLDER.glob("*/requirements.txt")):
        python_of(pinned.parent.name)
