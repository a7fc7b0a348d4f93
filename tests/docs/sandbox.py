"""A directory in which the blocks of one page are run in their order, as a reader would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Self

import yaml

from memrelay.embedded.leash import leashed
from memrelay.embedded.ports import free_port
from memrelay.seeds import SEED_NAMES
from tests.docs.blocks import ROOT, Block, Command, commands_of
from tests.docs.shown import missing_line

COMMAND_SECONDS = 180.0
BEGIN_SECONDS = 180.0
STOP_SECONDS = 90.0
POLL_SECONDS = 0.05
FEWER = "MEMRELAY_WORKER_CONCURRENCY"
SERVICE, MODEL = "8700", "9000"
"""The ports that pages speak of; a test takes free ones in their place."""
CHECK = """
import os
from pathlib import Path
from backends.registry import create_driver
from memrelay.embedded.environment import stack_environment
from memrelay.settings import load_settings
os.environ.update(stack_environment(Path(".memrelay"), 6390))  # as memrelay up reads them
for name, own in load_settings().drivers.items():
    create_driver(name, own)
"""


class Differs(AssertionError):
    """A block did not do what its page says; the message has page, line and what it said."""


class Sandbox:
    """``directory`` is where blocks run. ``url`` is a service that is up already, if the page starts none."""

    def __init__(
        self, directory: Path, url: str | None = None, *, path: Path | None = None
    ) -> None:
        self.directory = directory
        port = url.rpartition(":")[2] if url else str(free_port())
        self.ports = {SERVICE: port, MODEL: str(free_port())}
        self.env = environment(directory, port, path or Path(sys.executable).parent)
        self._running: list[subprocess.Popen[bytes]] = []
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "examples").symlink_to(ROOT / "examples")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What was begun last is ended first, in order."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, block: Block) -> str:
        """The block as its language and mark say, and what it said; ``Differs`` if it did something else."""
        if block.title is not None:
            file = self.directory / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._here(block.text))
        match block.language:
            case "console":
                return self._console(block)
            case "bash":
                return self._finish(
                    block, ["bash", "-euo", "pipefail", "-c", self._here(block.text)]
                )
            case "python" if block.title is None:
                return self._finish(block, [self._python, "-c", self._here(block.text)])
            case "python":
                compile(block.text, block.where, "exec")
            case "toml" if block.title in (None, "memrelay.toml"):
                return self._settings(block)
            case "json":
                json.loads(block.text)
            case "yaml":
                list(yaml.safe_load_all(block.text))
            case "sql":
                raise Differs(f"{block.where}: SQL is run by a test of its own; say which")
        return ""

    @property
    def _python(self) -> str:
        return str(Path(self.env["PATH"].partition(os.pathsep)[0]) / "python")

    def _here(self, text: str) -> str:
        for shown, ours in self.ports.items():
            for before in ("localhost:", "127.0.0.1:", "--port "):
                text = text.replace(before + shown, before + ours)
        return text

    def _console(self, block: Block) -> str:
        commands = commands_of(block)
        if block.mark == "runs on":
            (command,) = commands
            return self._begin(block, command)
        all_said = ""
        for command in commands:
            last = command is commands[-1]
            status = int(block.said) if block.mark == "status" and last else 0
            words = ["bash", "-c", self._here(command.line)]
            said = self._finish(block, words, status=status, command=command.line)
            self._compare(block, command, said)
            all_said += said
        return all_said

    def _finish(self, block: Block, words: list[str], *, status: int = 0, command: str = "") -> str:
        try:
            done = subprocess.run(
                words,
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Differs(f"{block.where}: {command} went on and on: {error.output}") from None
        if done.returncode != status:
            raise Differs(
                f"{block.where}: {command} ended with {done.returncode}, not {status}:\n{done.stdout}"
            )
        return done.stdout

    def _begin(self, block: Block, command: Command) -> str:
        log = self.directory / f"{len(self._running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                leashed(["/bin/bash", "-c", f"exec {self._here(command.line)}"]),
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        deadline = time.monotonic() + BEGIN_SECONDS
        while missing_line(self._here(command.shown), log.read_text()) is not None:
            if process.poll() is not None or time.monotonic() > deadline:
                self._compare(block, command, log.read_text())
            time.sleep(POLL_SECONDS)
        return log.read_text()

    def _compare(self, block: Block, command: Command, said: str) -> None:
        line = missing_line(self._here(command.shown), said)
        if line is not None:
            raise Differs(f"{block.where}: {command.line}\nlacks: {line}\nsaid:\n{said}")

    def _settings(self, block: Block) -> str:
        """They are read, and every driver in them takes its own; none is opened."""
        name = block.title or f"block-{block.line}.toml"
        (self.directory / name).write_text(self._here(block.text))
        words = ["env", "-u", FEWER, f"MEMRELAY_CONFIG={name}", self._python, "-c", CHECK]
        return self._finish(block, words, command="its settings")


def environment(directory: Path, port: str, path: Path) -> dict[str, str]:
    """Ours without any setting, programs of ``path`` first, and the user's state in ``directory``."""
    env = dict(os.environ)
    clean(env)
    return env | {
        "PATH": os.pathsep.join([str(path), env.get("PATH", os.defpath)]),
        "PYTHONPATH": str(ROOT),
        "XDG_STATE_HOME": str(directory / ".state"),
        "MEMRELAY_PORT": port,
        "MEMRELAY_URL": f"http://127.0.0.1:{port}",
        FEWER: "1",  # processes that each import all of it
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


def clean(env: MutableMapping[str, str]) -> None:
    """No setting of ours, nor of the systems that we take settings over from."""
    hidden = ("MEMRELAY_", *SEED_NAMES)
    for name in [name for name in env if name.startswith(hidden)]:
        del env[name]
