"""What is done with a stack that is up, step by step. A step raises ServerError at something wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from deploy.native.server import ServerError
from memrelay import Memrelay
from tests.compose.stack import SECRET, Stack, wait

PROFILES = ("core", "weaviate", "pgvector", "rabbitmq", "flower", "observability")
SENTENCE = "Ana likes aubergines from the garden of her grandmother"
QUESTION = "Which vegetables does Ana like?"
BATCHES = 40
BATCH = 50
type Step = Callable[[], str | None]


class Journey:
    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield "ask without a key", self.ask_without_key
        yield "take in one memory and find it", self.write_and_search
        yield "crash the worker while memories come in", self.crash_worker
        if {"flower", "observability"} & set(self.stack.profiles):
            yield "Flower", self.flower
        if "observability" in self.stack.profiles:
            yield "Prometheus", self.prometheus
        yield "stop", self.stop
        yield "up again, on the same data", self.again

    def ask_without_key(self) -> str:
        body = {"query": QUESTION}
        status = httpx.post(f"{self.stack.url('API')}/v1/search", json=body).status_code
        _demand(status == 401, f"without a key the API answers {status}")
        return "401"

    def write_and_search(self) -> str:
        with self._client() as client:
            began = time.monotonic()
            answer = client.add(SENTENCE)
            job = client.wait_job(answer.job.id, timeout=120)
            took = time.monotonic() - began
            _demand(job.status == "stored", f"the job is {job.status}: {job.errors}")
        return f"{', '.join(job.counts)} hold it after {took:.2f} s; {self._found()}"

    def crash_worker(self) -> str:
        before = self.stack.states()["worker"]["RestartCount"]
        with self._client() as client, ThreadPoolExecutor(4) as pool:
            jobs = list(pool.map(lambda at: _batch(client, at), range(BATCHES // 2)))
            rest = pool.map(lambda at: _batch(client, at), range(BATCHES // 2, BATCHES))
            self.stack.crash("worker")
            jobs += rest
            wait("the worker's restart", lambda: self._restarts() > before)
            ended = [client.wait_job(job, timeout=240) for job in jobs]
        wrong = [job for job in ended if job.status != "stored"]
        _demand(not wrong, f"{len(wrong)} jobs are not stored, as {wrong[:1]}")
        return f"{BATCHES * BATCH} memories accepted, all stored in {', '.join(ended[0].counts)}"

    def flower(self) -> str:
        url = self.stack.url("FLOWER")
        refused = httpx.get(f"{url}/api/tasks").status_code
        _demand(refused == 401, f"without a password Flower answers {refused}")
        with httpx.Client(base_url=url, auth=("memrelay", SECRET), timeout=60) as flower:
            wait("tasks in Flower", lambda: len(flower.get("/api/tasks").json()) > 0)
            wait("both workers in Flower", lambda: _online(flower) == 2)
            pages = ["/tasks", "/workers?json=1", "/api/tasks", "/api/workers?refresh=1"]
            said = {page: flower.get(page).raise_for_status().text for page in pages}
            said |= self._task_pages(flower, json.loads(said["/api/tasks"]))
        for page, text in said.items():
            _demand("ubergine" not in text and "note " not in text, f"{page} shows a memory")
        tasks = json.loads(said["/api/tasks"]).values()
        delivered = sum(task["name"] == "memrelay.deliver" for task in tasks)
        _demand(delivered > 0, "no task delivered anything")
        return f"asks for a password; 2 workers, {len(tasks)} tasks, {delivered} of them deliver; no texts"

    def _task_pages(self, flower: httpx.Client, tasks: dict[str, object]) -> dict[str, str]:
        """Of ten tasks."""
        return {
            page: flower.get(page).raise_for_status().text
            for page in (f"/task/{uuid}" for uuid in list(tasks)[:10])
        }

    def prometheus(self) -> str:
        url = self.stack.url("PROMETHEUS")

        def healthy() -> bool:
            found = httpx.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"]
            return bool(found) and all(target["health"] == "up" for target in found)

        took = wait("every target to be scraped", healthy)
        groups = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        _demand(bool(rules), "no rules are loaded")
        bad = [rule["name"] for rule in rules if rule["health"] == "err"]
        _demand(not bad, f"rules fail: {bad}")
        return f"every target up after {took:.0f} s, {len(rules)} rules"

    def stop(self) -> str:
        began = time.monotonic()
        self.stack.stop()
        took = time.monotonic() - began
        exits = {name: state["ExitCode"] for name, state in self.stack.states().items()}
        _demand(set(exits.values()) <= {0, 143}, f"exit statuses: {exits}")
        _demand(exits["api"] == exits["worker"] == 0, f"exit statuses: {exits}")
        return f"in {took:.0f} s, exit statuses {exits}"

    def again(self) -> str:
        self.stack.up()
        return self._found()

    def _found(self) -> str:
        with self._client() as client:
            answer = client.search(QUESTION, top_k=1)
        texts = [hit.text for hit in answer.hits]
        _demand(texts == [SENTENCE], f"a search found {texts}")
        return f"found by {' and '.join(answer.served_by)} ({answer.mode})"

    def _restarts(self) -> int:
        state = self.stack.states()["worker"]
        healthy = state["Running"] and state["Health"]["Status"] == "healthy"
        return int(state["RestartCount"]) if healthy else 0

    def _client(self) -> Memrelay:
        return Memrelay(self.stack.url("API"), api_key=SECRET, timeout=60)


def _online(flower: httpx.Client) -> int:
    return sum(worker["status"] for worker in flower.get("/workers?json=1").json()["data"])


def _batch(client: Memrelay, at: int) -> str:
    return client.add([f"note {at} {i}, of nothing at all" for i in range(BATCH)]).job.id


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ServerError(otherwise)
