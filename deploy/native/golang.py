"""Servers written in Go: built once by the Go toolchain and kept in the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from deploy.native.server import ServerError


@dataclass(frozen=True, slots=True)
class GoProgram:
    """``title`` is for people; ``package`` is what ``go install`` takes, without the version."""

    title: str
    package: str
    version: str
    takes: str
    """How long its first build takes, on 2 cores."""

    @property
    def cached(self) -> Path:
        """Where the binary is, or will be once it is built."""
        home = Path.home() / f".cache/memrelay/native/{self.title.lower()}-{self.version}"
        return home / "bin" / self.package.rpartition("/")[2]

    def find(self) -> Path:
        """The cached binary, built first when it is missing; ServerError when it cannot be."""
        binary = self.cached
        if binary.exists():
            return binary
        go = shutil.which("go")
        if go is None:
            raise ServerError(
                f"no {self.title}: without Docker it is built here, and Go is not installed"
            )
        binary.parent.mkdir(parents=True, exist_ok=True)
        with (binary.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever waited here finds it built
            if not binary.exists():
                self._build(go, binary)
        return binary

    def _build(self, go: str, binary: Path) -> None:
        """All or nothing: the binary appears by a rename, on the same file system."""
        sys.stderr.write(f"building {self.title} {self.version}, once: {self.takes} on 2 cores\n")
        with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
            built = subprocess.run(
                [go, "install", f"{self.package}@v{self.version}"],
                cwd=scratch,
                env=os.environ | {"GOBIN": scratch},
                capture_output=True,
                text=True,
                check=False,
            )
            if built.returncode != 0:
                what = f"{self.title} {self.version}"
                raise ServerError(f"{what} could not be built:\n{built.stderr[-2000:]}")
            (Path(scratch) / binary.name).replace(binary)
