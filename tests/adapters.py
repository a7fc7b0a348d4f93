"""Adapters in ``memrelay/compat``, in the environments of their frameworks, against a real memrelay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.frameworks import FOLDER, ROOT, install, python_of
from tests.rig import redis_servers
from tests.service import Service, settings_env


@contextmanager
def served(directory: Path, sources: Mapping[str, Any]) -> Iterator[Service]:
    """A memrelay with these sources, of the drivers ``redis`` and ``sqlite``."""
    with redis_servers(directory) as start_redis:
        url = start_redis().url
        env = settings_env(
            broker_url=f"{url}/1", journal_url=f"{url}/0", redis_url=f"{url}/2", directory=directory
        )
        with Service(env | {"MEMRELAY_SOURCES": json.dumps(sources)}, directory) as service:
            yield service


def installed(name: str, into: Path) -> Path:
    """Our wheel, for ``PYTHONPATH`` in the environment ``name``. Raises ServerError."""
    install(name, [ROOT], into)
    return into


def assert_suite_passes(name: str, suite: str, ours: Path, service: Service) -> None:
    """All tests of one file in ``tests/frameworks/<name>`` pass; none is skipped."""
    folder = FOLDER / name
    passed_on = {key: os.environ[key] for key in ("HOME", "PATH", "TMPDIR") if key in os.environ}
    done = subprocess.run(
        [python_of(name), "-m", "pytest", "-c", folder / "pytest.ini", folder / f"{suite}.py"],
        cwd=folder,
        env={**passed_on, "PYTHONPATH": str(ours), "MEMRELAY_URL": service.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:] + service.logs
    summary = done.stdout.splitlines()[-1]
    assert "passed" in summary
    assert "skipped" not in summary


def assert_types_fit(name: str, cache: Path) -> None:
    """``memrelay/compat/<name>.py`` passes mypy against the framework's own types."""
    strict = ("--strict", "--no-warn-unused-ignores", "--follow-imports", "silent")
    ours = ROOT / "memrelay" / "compat" / f"{name}.py"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", cache),
            *("--python-executable", python_of(name), *strict, ours),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
