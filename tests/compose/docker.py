"""The docker client, and a daemon of our own where none answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from deploy.native.server import ServerError

_PLUGINS = Path.home() / ".cache/memrelay/docker"
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


def docker(
    *words: str,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *words],
        env=os.environ | {"DOCKER_BUILDKIT": "1"} | dict(env or {}),
        stdin=stdin or subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


@contextmanager
def daemon(data: Path) -> Iterator[None]:
    """Docker answers within it: the machine's daemon, or one of our own with everything in ``data``,
    which ends with it. ServerError when it cannot be had."""
    if shutil.which("docker") is None:
        raise ServerError("docker is not installed: on Debian, apt-get install docker.io iptables")
    if "DOCKER_CONFIG" not in os.environ and _PLUGINS.exists():
        os.environ["DOCKER_CONFIG"] = str(_PLUGINS)  # .ci/run lays the compose plugin there
    if docker("compose", "version").returncode != 0:
        raise ServerError("docker's compose plugin is missing: .ci/run shows how Debian's is had")
    if docker("info").returncode == 0:
        yield
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        raise ServerError("no Docker daemon answers, and none can be started: root and dockerd")
    data.mkdir(parents=True, exist_ok=True)
    os.environ["DOCKER_HOST"] = f"unix://{data}/docker.sock"
    with (data / "dockerd.log").open("ab") as log:
        process = _start(data, log)
        try:
            _wait(process, data / "dockerd.log")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)


def _start(data: Path, log: Any) -> subprocess.Popen[bytes]:
    sys.stderr.write(f"no Docker daemon answers: starting one in {data}\n")
    (data / "dockerd.pid").unlink(missing_ok=True)
    return subprocess.Popen(
        [
            "dockerd",
            *("--host", os.environ["DOCKER_HOST"]),
            *("--data-root", str(data / "data")),
            *("--exec-root", str(data / "exec")),
            *("--pidfile", str(data / "dockerd.pid")),
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while docker("info").returncode != 0:
        if process.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
            raise ServerError(f"dockerd does not answer; its log {log} ends with:\n{last}")
        time.sleep(0.2)
