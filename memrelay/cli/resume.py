"""How far an import has come, on disk, so that it can go on after Ctrl-C, a crash or a power cut."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from memrelay.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Mark:
    """The lines up to ``line`` of a file with this ``key`` (which follows from its content) are accepted.

    ``refused`` of them were refused for good; ``job`` has what was accepted.
    """

    key: str
    line: int
    refused: int
    job: str | None = None


class Bookmark:
    """The mark of one file, one service and one source, under the user's state directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, file: Path | None, url: str, source: str, key: str = "") -> Self:
        """``file`` is None for what comes from stdin, which is known by its ``key`` alone."""
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        place = "\0".join((str(file.resolve()) if file else f"\0{key}", url, source))
        name = hashlib.blake2b(place.encode(), digest_size=12).hexdigest()
        return cls(Path(base) / "memrelay" / "imports" / f"{name}.json")

    def read(self) -> Mark | None:
        """The mark; None if there is none, or it cannot be one."""
        try:
            return Mark(**json.loads(self.path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, mark: Mark) -> None:
        """On disk when it returns, all or nothing."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            scratch = self.path.with_suffix(".new")
            with scratch.open("w") as file:
                json.dump(asdict(mark), file)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(self.path)
            _sync(self.path.parent)
        except OSError as error:
            raise ConfigError(
                f"{self.path}: {error.strerror}, so the import could not be resumed; "
                "XDG_STATE_HOME says where else this may be kept"
            ) from None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
