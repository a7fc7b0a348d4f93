"""MCP with the client of mcp 1.x, in an environment of its own: our process has 2.x."""

from __future__ import annotations

import os
import re
import subprocess

from deploy.native.server import ServerError
from tests.frameworks import FOLDER, python_of
from tests.servers import cannot_be_had
from tests.service import Service

FRAMEWORK = "mcp1"


def test_client_of_mcp_one_is_served(service: Service) -> None:
    try:
        python = python_of(FRAMEWORK)
    except ServerError as error:
        cannot_be_had(str(error))
    passed_on = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    done = subprocess.run(
        [python, "-m", "pytest", "-c", "pytest.ini", "client.py"],
        cwd=FOLDER / FRAMEWORK,
        env={**passed_on, "MEMRELAY_URL": service.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12000:] + done.stderr[-2000:]
    assert re.fullmatch(r"3 passed in .*", done.stdout.splitlines()[-1]), done.stdout
