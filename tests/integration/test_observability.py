"""What a running service tells of itself: spans at a receiver, and logs without what is nobody's business."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import redis

from tests.integration.test_metrics import scrape, value
from tests.loud import QUOTED, LoudModel, install_driver
from tests.otlp import Received, Receiver
from tests.rig import wait_until
from tests.service import Service, settings_env

ROOT = Path(__file__).parents[2]
SECONDS = 60
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
SECRETS = {
    name: f"canary{uuid4().hex}"
    for name in ("text", "tag", "metadata", "user", "id", "query", "key", "password", "api_key")
}
CREDENTIALS = ("key", "password", "api_key")
"""Those that nobody is told, who sent the texts no more than others."""


@dataclass(frozen=True)
class Watched:
    """A service whose logs are JSON and whose spans are received. Its drivers: ``redis``, which it reaches as
    a user with a password, as journal and broker, and ``loud``; its sources: ``default``, and ``remote``,
    which a loud model embeds."""

    service: Service
    http: httpx.Client
    receiver: Receiver
    model: LoudModel
    admin: Any

    def add(self, text: str, *, wait: bool = True, **more: Any) -> dict[str, Any]:
        source = {"source": more.pop("source")} if "source" in more else {}
        params = {"wait": "stored", "timeout": "60s"} if wait else {}
        headers = more.pop("headers", {})
        body = {"memories": [{"text": text, **more}], **source}
        answer = self.http.post("/v1/memories", json=body, params=params, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        added: dict[str, Any] = answer.json()
        return added

    @property
    def lines(self) -> list[str]:
        logs = (self.service.api_log, self.service.worker_log)
        return [line for log in logs for line in log.read_text().splitlines()]

    def logged(self, *parts: str) -> bool:
        return any(all(part in line for part in parts) for line in self.lines)


@pytest.fixture(scope="module")
def watched(_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("watched")
    install_driver(directory / "strangers")
    admin: Any = redis.Redis.from_url(_redis)
    user = ["watched", "on", f">{SECRETS['password']}", "~*", "&*", "+@all"]
    admin.execute_command("ACL", "SETUSER", *user)
    url = _redis.replace("://", f"://watched:{SECRETS['password']}@")
    with Receiver() as receiver, LoudModel() as model:
        env = settings_env(
            broker_url=f"{url}/3",
            journal_url=f"{url}/4",
            redis_url=f"{url}/5",
            directory=directory,
        )
        remote = {"drivers": ["redis"], "embedding": "openai/loud", "dimensions": 8}
        key = {"api_base": model.url, "api_key": SECRETS["api_key"]}
        env |= {
            "MEMRELAY_DRIVERS__LOUD__PATH": str(directory / "loud.db"),
            "MEMRELAY_SOURCES": json.dumps(
                {"default": {"drivers": ["redis", "loud"]}, "remote": remote}
            ),
            "MEMRELAY_MODELS": json.dumps({"openai/loud": key}),
            "MEMRELAY_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        service = Service(env, directory)
        service.env["PYTHONPATH"] += f"{os.pathsep}{directory / 'strangers'}"
        with service, httpx.Client(base_url=service.url, timeout=90) as http:
            yield Watched(service, http, receiver, model, admin)
    admin.execute_command("ACL", "DELUSER", "watched")
    admin.close()


def spans_of(watched: Watched, trace: str, *names: str) -> dict[str, Received]:
    """The spans of one trace by name and driver, once there are these."""

    def found() -> dict[str, Received]:
        return {
            " ".join([span.name, str(span.attributes.get("memrelay.driver", ""))]).strip(): span
            for span in watched.receiver.of(trace)
        }

    wait_until(f"spans {names}", lambda: set(names) <= found().keys(), SECONDS)
    return found()


def deliveries_of(watched: Watched, request: Received) -> list[Received]:
    linked = (request.trace, request.id)
    return [
        span for span in watched.receiver.spans if span.name == "deliver" and linked in span.links
    ]


def test_a_request_is_followed_through_the_queue_to_every_driver(watched: Watched) -> None:
    watched.add("a traced memory", headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
    request = spans_of(watched, TRACE, "POST /v1/memories")["POST /v1/memories"]
    assert (request.service, request.parent) == ("memrelay-api", CALLER)
    assert request.attributes["http.response.status_code"] == 200
    wait_until("its delivery", lambda: bool(deliveries_of(watched, request)), SECONDS)
    [delivery] = deliveries_of(watched, request)
    assert delivery.service == "memrelay-worker"
    assert delivery.trace != TRACE, "it is of all requests that it works for, and linked to each"
    children = spans_of(watched, delivery.trace, "embed", "apply redis", "apply loud")
    assert {span.parent for name, span in children.items() if name != "deliver"} == {delivery.id}
    assert not any(span.failed for span in children.values())


def test_a_batch_is_linked_to_each_of_its_requests(watched: Watched) -> None:
    traces = [uuid4().hex for _ in range(12)]

    def send(trace: str) -> None:
        headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
        watched.add(f"one of many: {trace}", wait=False, headers=headers)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(send, traces))
    for trace in traces:
        request = spans_of(watched, trace, "POST /v1/memories")["POST /v1/memories"]
        wait_until(
            "its delivery", lambda request=request: bool(deliveries_of(watched, request)), SECONDS
        )


def test_a_search_has_a_span_for_each_driver_that_it_asks(watched: Watched) -> None:
    trace = uuid4().hex
    body = {"query": "a traced memory", "mode": "hybrid"}
    headers = {"traceparent": f"00-{trace}-{CALLER}-01"}
    assert watched.http.post("/v1/search", json=body, headers=headers).status_code == 200
    found = spans_of(watched, trace, "POST /v1/search", "embed", "search redis", "search loud")
    request = found.pop("POST /v1/search")
    assert {span.parent for span in found.values()} == {request.id}


def test_what_is_no_traceparent_begins_a_trace(watched: Watched) -> None:
    for given in ("", "00-zz-zz-01", "x" * 5000):
        headers = {"traceparent": given}
        assert watched.http.get("/v1/sources", headers=headers).status_code == 200


def test_logs_and_spans_hold_no_texts_and_no_secrets_whatever_goes_wrong(watched: Watched) -> None:
    memory = {
        "id": SECRETS["id"],
        "user_id": SECRETS["user"],
        "tags": [SECRETS["tag"]],
        "metadata": {"note": SECRETS["metadata"]},
        "headers": {"Idempotency-Key": SECRETS["key"], "Authorization": f"Bearer {SECRETS['key']}"},
    }
    text = f"{QUOTED}, {SECRETS['text']}"
    provoke_a_driver(watched, text, memory)
    provoke_a_model(watched, text)
    provoke_requests(watched)
    provoke_servers(watched)
    told = [*watched.lines, *(body.decode("latin-1") for body in watched.receiver.bodies)]
    told += watched.http.get("/metrics").text.splitlines()
    for name, canary in SECRETS.items():
        assert not [line for line in told if canary in line], name


def provoke_a_driver(watched: Watched, text: str, memory: dict[str, Any]) -> None:
    """One whose bug quotes the memory; then it is left alone."""
    watched.add(text, **memory)
    wait_until("the bug in the log", lambda: watched.logged("contract", "RuntimeError"), SECONDS)
    wait_until(
        "its failure in the metrics",
        lambda: (
            value(
                scrape(watched.http),
                "memrelay_store_failures_total",
                driver="loud",
                code="driver_bug",
            )
            > 0
        ),
        SECONDS,
    )
    wait_until(
        "its retry there",
        lambda: value(scrape(watched.http), "memrelay_retries_total", stage="loud") > 0,
        SECONDS,
    )


def provoke_a_model(watched: Watched, text: str) -> None:
    """It fails for a while and quotes, then refuses for good and quotes."""
    job = watched.add(text, wait=False, source="remote")["job"]["id"]
    wait_until("the model to fail", lambda: watched.logged("embedding 1 memories"), SECONDS)
    watched.model.status = 400
    wait_until("it to be given up", lambda: ended(watched, job) == "failed", SECONDS)
    found = scrape(watched.http)
    assert value(found, "memrelay_dead_letters_total", cause="embedding_refused") > 0
    assert value(found, "memrelay_embedding_failures_total") > 0
    query = {"query": f"{QUOTED}, {SECRETS['query']}", "source": "remote"}
    refused = watched.http.post("/v1/search", json=query)
    assert refused.status_code == 422
    pages = ["/v1/dead-letters", "/ui/dead-letters", "/v1/drivers", "/ui/drivers"]
    for page in (f"/v1/jobs/{job}", f"/ui/jobs/{job}", *pages):
        told = watched.http.get(page).raise_for_status().text
        assert ("may not send" in told) is ("drivers" not in page), page
        assert not [name for name in CREDENTIALS if SECRETS[name] in told], page
    assert "may not send" in refused.text
    assert SECRETS["api_key"] not in refused.text


def ended(watched: Watched, job: str) -> str:
    return str(watched.http.get(f"/v1/jobs/{job}").json()["status"])


def provoke_requests(watched: Watched) -> None:
    """Bad ones of every kind."""
    canary = SECRETS["text"]
    for body in (canary, json.dumps({"memories": [{"text": canary, "id": canary * 20}]})):
        headers = {"content-type": "application/json"}
        answer = watched.http.post("/v1/memories", content=body, headers=headers)
        assert answer.status_code in (400, 422)
    assert watched.http.get(f"/v1/memories/{SECRETS['id']}").status_code in (200, 404)
    assert watched.http.get(f"/v1/{canary}?{canary}").status_code == 404


def provoke_servers(watched: Watched) -> None:
    """Journal, broker and a driver turn everybody away for a while."""
    watched.admin.execute_command("ACL", "SETUSER", "watched", "off")
    watched.admin.execute_command("CLIENT", "KILL", "USER", "watched")
    try:
        for _ in range(3):
            body = {"memories": [{"text": SECRETS["text"]}]}
            assert watched.http.post("/v1/memories", json=body).status_code == 503
        assert "memrelay_journal_up 0.0" in watched.http.get("/metrics").text
        wait_until("the sweeper to fail", lambda: watched.logged("cannot sweep"), SECONDS)
    finally:
        watched.admin.execute_command("ACL", "SETUSER", "watched", "on")
    wait_until(
        "the service to be back",
        lambda: watched.http.get("/readyz").status_code == 200,
        SECONDS,
    )
    watched.add("after all that")


def test_every_line_of_every_process_is_a_json_object(watched: Watched) -> None:
    watched.add(f"{QUOTED} again")
    wait_until("a line", lambda: watched.logged("takes 1 memories later", "envelopes"), SECONDS)
    rows = [json.loads(line) for line in watched.lines]
    assert {row["process"] for row in rows} == {"api", "worker"}
    for row in rows:
        assert {"at", "level", "logger", "process", "pid", "message"} <= row.keys()
    [row, *_] = [row for row in rows if "takes 1 memories later" in row["message"]]
    assert row["queue"] == "deliver.interactive"
    assert len(row["trace_id"]) == 32
    wait_until(
        "its span",
        lambda: any(row["trace_id"] == span.trace for span in watched.receiver.spans),
        SECONDS,
    )


def test_a_line_names_the_envelope_as_its_job_does(watched: Watched) -> None:
    job = watched.add(f"{QUOTED} once more")["job"]["id"]
    envelope = job.split("_")[1]
    wait_until("its line", lambda: watched.logged(f'"envelopes":"{envelope}"'), SECONDS)


def test_a_process_that_does_not_trace_imports_nothing_of_it() -> None:
    code = "import sys, api.app, workers.deliver; print(*sys.modules)"
    env = {key: text for key, text in os.environ.items() if not key.startswith("OTEL_")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "backends.tracing" in done.stdout
    assert "backends.otel" not in done.stdout
    assert "opentelemetry.exporter" not in done.stdout, "redis-py imports the SDK where it is there"


def test_a_process_that_cannot_start_says_so_in_the_same_form() -> None:
    env = {"PYTHONPATH": str(ROOT), "MEMRELAY_LOG_FORMAT": "json", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-m", "api"],
        env=env | {"MEMRELAY_PORT": "none"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    told = json.loads(line)
    assert told["level"] == "critical"
    assert told["message"].startswith("setting port: ")
