"""A server process of ours: started when it answers, stopped when it is gone, killable for drills."""

from __future__ import annotations

import fcntl
import functools
import os
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from memrelay.embedded.leash import leashed
from memrelay.embedded.ports import is_free

_POLL_SECONDS = 0.02
_STOPPED_SECONDS = 30.0
_LOG_TAIL_LINES = 15
# What a server may see of our environment: its own settings are the command and what we add.
_PASSED_ON = ("HOME", "LANG", "PATH", "TMPDIR", "TZ")


def wait_until_stopped(pids: Iterable[int]) -> None:
    """Returns when every thread of these processes has obeyed SIGSTOP: on a busy machine the first that is
    told may have to wait for its turn, and the others work on until then."""
    deadline = time.monotonic() + _STOPPED_SECONDS
    for pid in pids:
        while not all(map(_is_stopped, Path(f"/proc/{pid}/task").glob("*/stat"))):
            if time.monotonic() > deadline:
                raise ServerError(f"process {pid} was told to stand still and does not")
            time.sleep(_POLL_SECONDS / 10)


def _is_stopped(stat: Path) -> bool:
    try:
        state = stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended
    return state in "TtXZ"


class ServerError(Exception):
    """A server cannot be had or did not start; the first line says which and why."""


@functools.cache
def _spawner(pid: int) -> ThreadPoolExecutor:
    """One thread for each process (``pid``: its own again after a fork), alive until it exits."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"spawner-{pid}")


class Server(ABC):
    """One child process with a data directory. Not for use from several threads at once.

    ``start`` returns when the server answers; ``stop`` and ``kill`` return when it is gone. The data
    stays, so ``start`` after either is a restart. As a context manager: started, and stopped.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float]
    stop_seconds: ClassVar[float]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients reach it, on loopback."""

    @abstractmethod
    def _ports(self) -> list[int]:
        """The ports that must be free before a start."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The program's path and its arguments."""

    @abstractmethod
    def _settings(self) -> dict[str, str]:
        """What to add to its environment."""

    @abstractmethod
    def _answers(self, pid: int) -> bool:
        """Whether the process ``pid``, not another on its port, is ready for clients."""

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id; ServerError when it does not run."""
        if self._process is None or not self.running:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Ready for clients on return; nothing to do when it runs. Raises ServerError."""
        if self.running:
            return
        for port in self._ports():
            if not is_free(port):
                raise ServerError(f"{self.name} cannot start: port {port} is taken")
        command = self._command()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._directory_lock() as lock, self.log.open("ab") as log:
            self._process = self._spawn(command, lock, log.fileno())
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """An orderly end, by ``stop_signal``; by SIGKILL when that takes too long. Harmless when stopped."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)  # a frozen process would never see the next one
        self._process.send_signal(self.stop_signal)
        try:
            self._process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """A sudden end, as in a crash. ``sig`` must be one that ends it."""
        if self._process is not None:
            self._process.send_signal(sig)
            self._process.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """It has stopped answering while its connections stay open, until ``thaw``."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until_stopped([self.pid])

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def _directory_lock(self) -> Iterator[int]:
        """A lock on the data, passed on to the server so that it lasts as long as the server does."""
        lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ServerError(f"another {self.name} runs in {self.directory}") from None
            yield lock
        finally:
            os.close(lock)

    def _spawn(self, command: list[str], lock: int, log: int) -> subprocess.Popen[bytes]:
        """The process, in a session of its own: Ctrl-C reaches us alone, and we stop it in order."""
        environment = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}

        def spawn() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                leashed(command),
                cwd=self.directory,
                env=environment | self._settings(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )

        if threading.current_thread() is threading.main_thread():
            return spawn()
        return _spawner(os.getpid()).submit(spawn).result()  # the leash is on the forking thread

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + self.start_seconds
        while not self._answers(process.pid):
            if process.poll() is not None:
                raise self._failure(f"exited with status {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure(f"was not ready after {self.start_seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _failure(self, what: str) -> ServerError:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        return ServerError(
            "\n".join([f"{self.name} {what}; its log {self.log} ends with:", *lines])
        )
