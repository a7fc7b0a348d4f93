"""A neighbour as a process of its own environment, from the side of the benchmark."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.frameworks import ROOT, python_of

FOLDER = Path(__file__).parent


class Neighbour:
    """``benchmarks/neighbours/<name>/program.py`` with one store, as ``program.py`` says."""

    def __init__(self, name: str, store: str, url: str) -> None:
        self._command = [
            str(python_of(name, FOLDER)),
            "-m",
            f"benchmarks.neighbours.{name}.program",
        ]
        self._store = {"store": store, "url": url}
        self._seed = 1000

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(Path.home()), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        opened = self._ask(self._store)
        self.versions: dict[str, str] = opened["versions"]
        self.ways: list[str] = opened["ways"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def rate(self, way: str, count: int) -> float:
        """Memories a second of adding new ones; AssertionError unless all are there and one is found."""
        self._seed += 1
        answer = self._ask({"way": way, "seed": self._seed, "count": count})
        assert answer["stored"] == count, answer
        assert answer["found"], f"{way}: its search does not find what it has"
        return float(count / answer["seconds"])

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
