"""schemathesis over all of ``/openapi.json``: the document is true of the service, and no answer is a 5xx.

With ``--log-cli-level=INFO`` it says at the end how many answers of which status there were.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from api.app import described
from tests.fuzzing import SEED, tried
from tests.house import ADMIN_KEY
from tests.integration.conftest import SOURCES
from tests.rig import redis_servers
from tests.service import Service, settings_on

log = logging.getLogger(__name__)
EXAMPLES = 4
KEY = {"Authorization": f"Bearer {ADMIN_KEY}"}
CONFIG = {
    "seed": SEED,
    "generation": {"database": "none"},
    "phases": {"stateful": {"enabled": False}},
    "checks": {
        # What goes together with what is said in words, not in the schema: a 422 is no surprise.
        "positive_data_acceptance": {"enabled": False},
    },
    "operations": [
        {  # of a stream the document has the schema of the data; test_openapi.py holds events against it
            "include-path": "/v1/jobs/{id}/events",
            "checks": {"response_schema_conformance": {"enabled": False}},
        },
        {  # a bad line is answered as a line of a 200; a batch that retrieves has no use for writes' headers
            "include-path": ["/v1/memories/import", "/v1/sources/{source}/batch"],
            "checks": {"negative_data_rejection": {"enabled": False}},
        },
        {  # a memory's id may be "count", and a job's is not looked into: these take what /{id} does, too
            "include-path-regex": "^/v1/(memories|jobs)/[a-z]+$",
            "checks": {"allow_header_conformance": {"enabled": False}},
        },
    ],
}
ANSWERS: Counter[int] = Counter()
document = schemathesis.openapi.from_dict(
    json.loads(json.dumps(described().openapi())), config=SchemathesisConfig.from_dict(CONFIG)
)


@schemathesis.serializer("application/x-ndjson")
def _ndjson(_: object, value: object) -> bytes:
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a service of its own, with an admin key: requests at random retire drivers and purge."""
    directory = tmp_path_factory.mktemp("schema")
    with redis_servers(directory) as start:
        redis = start().url
        env = settings_on(redis, directory)
        env |= {"MEMRELAY_SOURCES": json.dumps(SOURCES), "MEMRELAY_ADMIN_KEY": ADMIN_KEY}
        with Service(env, directory) as service:
            yield service.url
    log.info("%d answers: %s", ANSWERS.total(), sorted(ANSWERS.items()))


def test_document_is_the_service_s(url: str) -> None:
    assert httpx.get(f"{url}/openapi.json").json() == described().openapi()


@document.parametrize()
@tried(EXAMPLES)
def test_service_is_as_its_document_says(url: str, case: schemathesis.Case) -> None:
    answer = case.call_and_validate(base_url=url, headers=KEY, timeout=90)
    ANSWERS[answer.status_code] += 1
