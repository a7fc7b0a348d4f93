"""The wheel, built and installed in empty environments, as a user gets it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import Parser
from pathlib import Path

import httpx
import pytest

from memrelay import __version__, exits
from memrelay.embedded.ports import free_port
from memrelay.seeds import SEED_NAMES
from tests.frameworks import ROOT, uv
from tests.rig import wait_until

APPS = ("api", "backends", "workers")
LOCK = ROOT / "requirements.lock"
START_SECONDS = 300.0
SDK_PACKAGES = {
    *("memrelay", "httpx", "httpcore", "h11", "anyio", "sniffio", "idna", "certifi"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection"),
}
USE_SDK = """
from memrelay.client import Memrelay
from memrelay.errors import Unavailable
try:
    with Memrelay("http://127.0.0.1:9", patience=0) as relay:
        relay.search("tea")
except Unavailable as error:
    print(error)
"""


@dataclass(frozen=True, slots=True)
class Built:
    wheel: Path
    sdist: Path


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment with the wheel and nothing else of ours, and an empty directory to work in."""

    python: Path
    directory: Path
    env: Mapping[str, str]

    @property
    def command(self) -> Path:
        return self.python.with_name("memrelay")

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments,
            cwd=self.directory,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )

    def memrelay(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.command, *arguments)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both, the wheel out of the source distribution."""
    directory = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--python", sys.executable, "--out-dir", directory, ROOT)
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    return Built(wheel, sdist)


def _install(wheel: Path, extras: str, directory: Path) -> Installed:
    environment, work = directory / "venv", directory / "work"
    work.mkdir()
    uv("venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    wanted = f"memrelay{extras} @ {wheel.as_uri()}"
    uv("pip", "install", "--quiet", "--python", python, "--constraint", LOCK, wanted)
    passed_on = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    path = {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    assert not passed_on.keys() & SEED_NAMES.keys()
    return Installed(python, work, passed_on | path | {"MEMRELAY_PORT": str(free_port())})


def _files(package: str) -> set[str]:
    """What lies in a package of the repository, by its path there."""
    found = (path for path in (ROOT / package).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_the_sdk_and_below_it_the_servers_with_all_their_files(
    built: Built,
) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    apps = {f"memrelay/_apps/{file}" for package in APPS for file in _files(package)}
    assert names == _files("memrelay") | apps
    assert "memrelay/py.typed" in names
    assert "memrelay/_apps/backends/journal/scripts/settle.lua" in names


def test_the_source_distribution_holds_what_the_wheel_is_built_from_and_no_tests(
    built: Built,
) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {file for package in ("memrelay", *APPS) for file in _files(package)} < names
    assert {"pyproject.toml", "README.md", "CHANGELOG.md"} < names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "deploy/"))]


def test_the_version_is_said_in_one_place(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(wheel.read(name).decode())
    assert metadata["Version"] == __version__
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def sdk(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return _install(built.wheel, "", tmp_path_factory.mktemp("sdk"))


def test_the_bare_sdk_brings_httpx_and_pydantic_and_what_these_need(sdk: Installed) -> None:
    listed = sdk.run(
        sdk.python,
        "-c",
        "from importlib.metadata import distributions as d;print(*[x.name for x in d()])",
    )
    names = {name.replace("_", "-") for name in listed.stdout.split()}
    assert {"memrelay", "httpx", "pydantic"} <= names <= SDK_PACKAGES


def test_the_bare_sdk_has_a_client_that_works(sdk: Installed) -> None:
    used = sdk.run(sdk.python, "-c", USE_SDK)
    assert "cannot reach memrelay at http://127.0.0.1:9" in used.stdout, used.stderr


def test_the_bare_sdk_says_in_one_line_what_its_command_needs(sdk: Installed) -> None:
    told = sdk.memrelay("--help")
    assert (told.returncode, told.stdout) == (exits.FAILED, "")
    assert told.stderr.count("\n") == 1
    for extra in ("memrelay[cli]", "memrelay[server]", "memrelay[embedded]"):
        assert extra in told.stderr


@pytest.fixture(scope="module")
def light(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return _install(built.wheel, "[cli]", tmp_path_factory.mktemp("cli"))


def test_the_command_line_asks_a_service_elsewhere_without_the_servers_packages(
    light: Installed,
) -> None:
    asked = light.memrelay("search", "tea", "--url", "http://127.0.0.1:9")
    assert asked.returncode == exits.UNAVAILABLE
    assert "cannot reach memrelay" in asked.stderr


@pytest.mark.parametrize("command", ["api", "worker", "doctor", "up"])
def test_a_server_without_its_packages_is_one_line_with_the_mend(
    light: Installed, command: str
) -> None:
    told = light.memrelay(command)
    assert told.returncode == exits.FAILED
    assert told.stderr.count("\n") == 1, told.stderr
    assert "pip install 'memrelay[" in told.stderr


@pytest.fixture(scope="module")
def up(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """``memrelay up`` in an empty directory, ready; stopped as by Ctrl-C at the end."""
    installed = _install(built.wheel, "[embedded]", tmp_path_factory.mktemp("embedded"))
    log = installed.directory.parent / "up.log"
    with log.open("wb") as output:
        running = subprocess.Popen(
            [installed.command, "up"],
            cwd=installed.directory,
            env=installed.env,
            stdout=output,
            stderr=output,
        )

    def ready() -> bool:
        assert running.poll() is None, log.read_text()
        return "ready: " in log.read_text()

    try:
        wait_until("ready", ready, START_SECONDS)
        url = f"http://127.0.0.1:{installed.env['MEMRELAY_PORT']}"
        yield Installed(
            installed.python, installed.directory, {**installed.env, "MEMRELAY_URL": url}
        )
        running.terminate()
        assert running.wait(START_SECONDS) == exits.OK, log.read_text()
        assert "Traceback" not in log.read_text()
    finally:
        if running.poll() is None:
            running.terminate()
            running.wait(START_SECONDS)


def test_from_the_wheel_alone_a_memory_is_added_and_found(up: Installed) -> None:
    added = up.memrelay("add", "Ana is allergic to peanuts.", "--user", "ana", "--wait")
    assert added.returncode == exits.OK, added.stderr
    found = up.memrelay("search", "what must Ana not eat?", "--user", "ana")
    assert found.stdout.endswith("\tana\tAna is allergic to peanuts.\n"), found.stderr
    assert [path.name for path in up.directory.iterdir()] == [".memrelay"]


def test_from_the_wheel_alone_doctor_finds_all_well(up: Installed) -> None:
    checked = up.memrelay("doctor", "--json")
    assert checked.returncode == exits.OK, checked.stdout + checked.stderr


def test_no_package_of_the_servers_lies_in_site_packages(up: Installed) -> None:
    (packages,) = up.python.parent.parent.glob("lib/python*/site-packages")
    assert not [name for name in APPS if (packages / name).exists()]
    assert (packages / "memrelay" / "_apps" / "api").is_dir()


def test_the_api_of_the_wheel_serves_its_version(up: Installed) -> None:
    described = httpx.get(f"{up.env['MEMRELAY_URL']}/openapi.json").json()
    assert described["info"]["version"] == __version__
