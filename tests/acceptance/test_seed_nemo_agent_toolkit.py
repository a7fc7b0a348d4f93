"""memrelay as memory of NVIDIA NeMo Agent Toolkit: its contract, its document's examples, its agents.

They run in its own environment (``tests/frameworks/nemo``) against a memrelay that is started here; of ours
only the wheels are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from deploy.native.server import ServerError
from tests.frameworks import FOLDER, ROOT, install, python_of
from tests.model import Model
from tests.rig import redis_servers
from tests.servers import cannot_be_had
from tests.service import Service, settings_env

PACKAGE = ROOT / "packages" / "nemo-agent-toolkit-memrelay"
DIMENSIONS = 64
MODEL = "openai/picky"
POISON = "poison"
SOURCES = {
    "default": {"drivers": ["redis", "sqlite"]},
    "picky": {"drivers": ["redis", "sqlite"], "embedding": MODEL},
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The provider and the client, as wheels, for ``PYTHONPATH``."""
    into = tmp_path_factory.mktemp("installed")
    try:
        install("nemo", [ROOT, PACKAGE], into)
    except ServerError as error:
        cannot_be_had(str(error))
    return into


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    """Refuses texts that hold ``POISON``."""
    with Model(DIMENSIONS) as model:
        model.behave(poison=POISON)
        yield model


@pytest.fixture(scope="module")
def service(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("nemo")
    picky = {"api_base": model.url, "api_key": "none", "dimensions": DIMENSIONS}
    with redis_servers(directory) as start_redis:
        url = start_redis().url
        env = settings_env(
            broker_url=f"{url}/1", journal_url=f"{url}/0", redis_url=f"{url}/2", directory=directory
        )
        more = {
            "MEMRELAY_SOURCES": json.dumps(SOURCES),
            "MEMRELAY_MODELS": json.dumps({MODEL: picky}),
        }
        with Service(env | more, directory) as service:
            yield service


def environment(installed: Path, service: Service) -> Mapping[str, str]:
    passed_on = {
        name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ
    }
    return {**passed_on, "PYTHONPATH": str(installed), "MEMRELAY_URL": service.url}


@pytest.mark.parametrize("suite", ["editor", "document", "workflows"])
def test_in_its_own_environment(installed: Path, service: Service, suite: str) -> None:
    folder = FOLDER / "nemo"
    done = subprocess.run(
        [python_of("nemo"), "-m", "pytest", "-c", folder / "pytest.ini", folder / f"{suite}.py"],
        cwd=folder,
        env=environment(installed, service),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:] + service.logs
    summary = done.stdout.splitlines()[-1]
    assert "passed" in summary
    assert "skipped" not in summary


@pytest.mark.usefixtures("installed")
def test_its_types_fit_those_of_nat(tmp_path: Path) -> None:
    """NAT says nothing about its types (py.typed), so mypy has to be led to its sources."""
    python = python_of("nemo")
    (sources,) = python.parent.parent.glob("lib/python*/site-packages/nat")
    (tmp_path / "nat").symlink_to(sources)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file=", "--python-executable", python),
            *("--strict", "--allow-untyped-decorators", "--follow-imports", "silent"),
            *("--explicit-package-bases", "--cache-dir", tmp_path / "cache", PACKAGE / "src"),
        ],
        cwd=tmp_path,
        env=os.environ | {"MYPYPATH": os.pathsep.join(map(str, (PACKAGE / "src", ROOT, tmp_path)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
