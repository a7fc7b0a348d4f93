"""A remote embedding model, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "memrelay.testing.model_server")


class Model:
    """The model server in a process of its own."""

    def __init__(self, dimensions: int, *, latency_ms: int = 0) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "--latency-ms", str(latency_ms), "--dimensions", str(dimensions)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().rpartition(" ")[2].strip()
        self._http = httpx.Client(base_url=self.url.removesuffix("/v1"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._process.kill()
        self._process.communicate()

    def behave(self, **changes: Any) -> None:
        self._http.post("/control", json=changes).raise_for_status()

    @property
    def stats(self) -> dict[str, int]:
        stats: dict[str, int] = self._http.get("/stats").json()
        return stats

    @property
    def calls(self) -> int:
        return self.stats["calls"]
