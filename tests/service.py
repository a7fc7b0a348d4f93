"""memrelay as it is run: an API and a worker, in processes of their own, for tests to use and to kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from deploy.native.server import wait_until_stopped
from memrelay.embedded.leash import leashed
from memrelay.embedded.ports import free_port, is_free

_ROOT = Path(__file__).parent.parent
_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_POLL_SECONDS = 0.05
_LOG_TAIL_LINES = 30
_PASSED_ON = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")


class ServiceError(Exception):
    """It did not start, or did not end; the message holds the ends of its logs."""


def settings_env(
    *, broker_url: str, journal_url: str, redis_url: str, directory: Path
) -> dict[str, str]:
    """Settings of a Redis driver (``redis``, the primary) and a SQLite replica (``sqlite``)."""
    return {
        "MEMRELAY_BROKER_URL": broker_url,
        "MEMRELAY_JOURNAL_URL": journal_url,
        "MEMRELAY_DRIVERS__REDIS__URL": redis_url,
        "MEMRELAY_DRIVERS__SQLITE__PATH": str(directory / "replica.db"),
        "MEMRELAY_SOURCES": json.dumps({"default": {"drivers": ["redis", "sqlite"]}}),
    }


def settings_on(url: str, directory: Path) -> dict[str, str]:
    """The same, all on one Redis: broker, journal and driver in its databases 0, 1 and 2."""
    return settings_env(
        broker_url=f"{url}/0", journal_url=f"{url}/1", redis_url=f"{url}/2", directory=directory
    )


class Service:
    """One API and one worker with the settings ``env``; files and logs in ``directory``.

    ``start`` returns when ``/readyz`` is 200; ``stop`` ends both in order (the worker warmly). Two
    services at a time need journals and brokers of their own: these have no namespace for installations.
    ``root`` has the packages ``api``, ``backends``, ``memrelay`` and ``workers``. As a context manager:
    started, and stopped. Both end with the thread that started them.
    """

    def __init__(self, env: Mapping[str, str], directory: Path, *, root: Path = _ROOT) -> None:
        self.directory = directory
        self.api: Sequence[str] = ("api",)
        """The module that the API is, and its arguments; ``worker`` is the same of the worker."""
        self.worker: Sequence[str] = ("workers",)
        self.python = sys.executable
        """The interpreter that both run in."""
        self.port = int(env.get("MEMRELAY_PORT") or free_port())
        own = {
            "MEMRELAY_PORT": str(self.port),
            "PYTHONPATH": str(root),
            "PYTHONUNBUFFERED": "1",
        }
        passed_on = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
        self.env: dict[str, str] = passed_on | dict(env) | own
        self._api: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_log(self) -> Path:
        return self.directory / "api.log"

    @property
    def worker_log(self) -> Path:
        return self.directory / "worker.log"

    @property
    def logs(self) -> str:
        """The ends of both logs, for the message of a test that failed."""
        return "\n".join(_tail(log) for log in (self.api_log, self.worker_log))

    def start(self) -> None:
        """Both started, the API ready; ServiceError otherwise, and nothing is left running."""
        try:
            self.start_worker()
            self.start_api()
        except BaseException:
            self.kill_api()
            self.kill_worker()
            raise

    def start_api(self) -> None:
        """Ready on return."""
        if not is_free(self.port):
            raise ServiceError(f"the API cannot start: port {self.port} is taken")
        self._api = self._spawn(self.api, self.api_log)
        self._wait("the API to be ready", self._ready)

    def start_worker(self) -> None:
        """Started, not waited for: what it has to do waits for it."""
        self._worker = self._spawn(self.worker, self.worker_log)

    def wait_for_worker(self) -> None:
        """Until the worker of a started service, without keys, has done something."""
        self._wait("the worker to work", self._works)

    def stop(self) -> None:
        """An orderly end of both; harmless when they have ended."""
        self.stop_api()
        self.stop_worker()

    def stop_api(self) -> None:
        process, self._api = self._api, None
        self._end(process)

    def stop_worker(self) -> None:
        """A warm shutdown: what it works on is finished first."""
        process, self._worker = self._worker, None
        self._end(process)

    def kill_api(self) -> None:
        """SIGKILL, as in a crash; gone on return."""
        process, self._api = self._api, None
        _kill(process)

    def kill_worker(self) -> None:
        """SIGKILL to the parent and all its children at once; gone on return."""
        process, self._worker = self._worker, None
        _kill(process)

    def kill_worker_parent(self) -> None:
        """SIGKILL to the worker's parents alone: the children of its lanes are left to notice."""
        process, self._worker = self._worker, None
        if process is not None:
            for lane in children(process.pid):
                os.kill(lane, signal.SIGKILL)
            process.kill()
            process.wait()

    def freeze_worker(self) -> None:
        """SIGSTOP to the parent and all its children; none of them does anything more on return."""
        group = [self.worker_pid, *self.worker_lanes, *self.worker_children]
        os.killpg(self.worker_pid, signal.SIGSTOP)
        wait_until_stopped(group)

    def thaw_worker(self) -> None:
        os.killpg(self.worker_pid, signal.SIGCONT)

    def restart_api(self) -> None:
        self.kill_api()
        self.start_api()

    def restart_worker(self) -> None:
        self.kill_worker()
        self.start_worker()

    @property
    def api_running(self) -> bool:
        return self._api is not None and self._api.poll() is None

    @property
    def worker_running(self) -> bool:
        return self._worker is not None and self._worker.poll() is None

    @property
    def worker_status(self) -> int | None:
        """The worker's exit status; None while it runs."""
        return None if self._worker is None else self._worker.poll()

    @property
    def api_status(self) -> int | None:
        """The API's exit status; None while it runs."""
        return None if self._api is None else self._api.poll()

    @property
    def api_pid(self) -> int:
        assert self._api is not None, "the API is not running"
        return self._api.pid

    @property
    def worker_pid(self) -> int:
        """Of the worker's parent, which leads the process group of its children."""
        assert self._worker is not None, "the worker is not running"
        return self._worker.pid

    @property
    def worker_lanes(self) -> list[int]:
        """Of Celery's parents, one for each lane: interactive, bulk."""
        return children(self.worker_pid)

    @property
    def worker_children(self) -> list[int]:
        """Of the processes that do the work, those of the interactive lane first."""
        return [child for lane in self.worker_lanes for child in children(lane)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _spawn(self, module: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            return subprocess.Popen(
                leashed([self.python, "-m", *module]),
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _wait(self, what: str, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not until():
            for process in (self._api, self._worker):
                if process is not None and process.poll() is not None:
                    raise ServiceError(f"exit status {process.returncode}:\n{self.logs}")
            if time.monotonic() > deadline:
                raise ServiceError(f"waited {_START_SECONDS:g} s for {what}:\n{self.logs}")
            time.sleep(_POLL_SECONDS)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _works(self) -> bool:
        """Whether a delete of what there is not has come through."""
        path = "/v1/memories/nothing?wait=stored&timeout=60s"
        request = urllib.request.Request(self.url + path, method="DELETE")
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _end(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is None:
            return
        process.send_signal(signal.SIGCONT)  # a frozen process would never see the next one
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            raise ServiceError(f"it did not end in {_STOP_SECONDS:g} s:\n{self.logs}") from None


def _kill(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None and process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"--- {log.name} ends with:", *lines[-_LOG_TAIL_LINES:]])
