"""Searches all the time: whether they are answered, how soon, and whether a hit should not be there."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx

from memrelay.times import now_us, parse_time
from tests.chaos.load import HOT_IDS, USERS, Traffic
from tests.rig import WORDS

log = logging.getLogger("chaos")
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 8.0
FOREIGN = "foreign"
"""The namespace in which the stores hold what nobody may see; its ids begin so, too."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search as its client saw it. ``status`` 0: no API answered."""

    began: float
    took: float
    status: int
    fallback: bool = False
    code: str = ""
    """Of the problem that was the answer."""

    @property
    def ended(self) -> float:
        return self.began + self.took


@dataclass(slots=True)
class Wrong:
    """Hits that should not have been: (id, version, who served them)."""

    foreign: list[tuple[str, int, str]] = field(default_factory=list)
    deleted: list[tuple[str, int, str]] = field(default_factory=list)
    blind: list[tuple[str, int, str]] = field(default_factory=list)
    """Deleted too, in answers that said that the journal could not be asked (``behind`` null)."""
    twice: list[tuple[str, int, str]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    """Answers that are neither a result nor an honest refusal."""


class Searchers:
    """Clients in threads; each turns to the next API when one does not answer."""

    def __init__(self, urls: Sequence[str], traffic: Traffic, *, seed: int, count: int) -> None:
        self.searches: list[Search] = []
        self.wrong = Wrong()
        self._deleted = traffic.deleted
        self._canary = traffic.canary
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(list(urls), Random(f"{seed}/{traffic.canary}/search/{n}")),
                name=f"search-{traffic.canary}-{n}",
            )
            for n in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, urls: list[str], chance: Random) -> None:
        with httpx.Client(timeout=ANSWER_SECONDS) as http:
            while not self._stopped.wait(PAUSE_SECONDS):
                self._search(http, _query(chance), urls)

    def _search(self, http: httpx.Client, body: dict[str, Any], urls: list[str]) -> None:
        began, now = time.monotonic(), now_us()
        answer = None
        for _ in range(len(urls)):
            try:
                answer = http.post(urls[0] + "/v1/search", json=body)
                break
            except httpx.TransportError:
                urls.append(urls.pop(0))
        took = time.monotonic() - began
        if answer is None:
            self.searches.append(Search(began, took, 0))
            return
        told = answer.json()
        fallback, code = told.get("fallback", False), told.get("code", "")
        self.searches.append(Search(began, took, answer.status_code, fallback, code))
        if answer.status_code == 200:
            self._check(told, began, now)
            return
        log.info("search: %d %s", answer.status_code, told.get("detail", ""))
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            self.wrong.other.append(f"{answer.status_code}: {answer.text[:300]}")

    def _check(self, found: dict[str, Any], began: float, now: int) -> None:
        served = ",".join(found["served_by"])
        seen = set()
        for hit in found["hits"]:
            told = (hit["id"], hit["version"], served)
            if hit["id"].startswith(FOREIGN) or not hit["text"].startswith(self._canary):
                self.wrong.foreign.append(told)
            if self._deleted.covers(hit, began):
                log.warning("found although deleted: %s, behind %s", told, found["behind"])
                blind = self.wrong.blind if found["behind"] is None else self.wrong.deleted
                blind.append(told)
            if hit["expires_at"] is not None and parse_time(hit["expires_at"]) <= now:
                self.wrong.other.append(f"expired: {told}")
            if hit["id"] in seen:
                self.wrong.twice.append(told)
            seen.add(hit["id"])


def _query(chance: Random) -> dict[str, Any]:
    body: dict[str, Any] = {"query": " ".join(chance.choices(WORDS, k=5)), "top_k": 10}
    match chance.randrange(4):
        case 0:
            body["filter"] = {
                "id": {"$in": [f"hot-{n}" for n in chance.sample(range(HOT_IDS), 30)]}
            }
        case 1 | 2:
            body["user_id"] = f"user-{chance.randrange(USERS)}"
    if chance.random() < 0.5:
        body["mode"] = "semantic"
    return body
