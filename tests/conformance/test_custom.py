"""The custom driver against the driver conformance suite, in agent-memory-server's environment.

``frameworks/agent_memory_server/custom.py`` is the suite on two stores, with the gaps of each, and what
does not do as one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.native.server import ServerError
from memrelay.embedded.ports import free_port
from tests.agent_memory_server import NAME, ModuleRedis, run_tests, settings_env
from tests.frameworks import python_of
from tests.servers import cannot_be_had


@pytest.mark.slow
def test_custom_stores_pass_but_for_their_gaps(tmp_path: Path) -> None:
    try:
        python_of(NAME)
    except ServerError as error:
        cannot_be_had(str(error))
    with ModuleRedis(tmp_path, free_port()) as redis:
        run_tests("custom", settings_env(redis_url=redis.url, models_url="", factory=""))
