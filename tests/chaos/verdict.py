"""The judgement of a campaign, as one line of JSON: counters that can be added up over campaigns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

import httpx

from tests.chaos.campaign import (
    FOREIGN_MEMORIES,
    Campaign,
    Injected,
    Tenant,
    drains,
    foreign_scope,
    kinds_count,
)
from tests.chaos.sound import unreadable
from tests.chaos.watch import Search
from tests.oracle import judge, read
from tests.rig import Rig, wait_until

JOB_READERS = 4
PASS_SECONDS = 180.0
SHOWN = 20
AFTER_ALL = "all stores killed"
STORE_FAULTS = ("store ", "file locked")
ZEROS = ("lost", "resurrected", "duplicates", "stale", "foreign")
NAMES = {
    "lost": "acknowledged lost",
    "resurrected": "resurrected deletes",
    "duplicates": "visible duplicates",
    "stale": "stale over newer",
    "foreign": "cross-namespace hits",
}


def judged(campaign: Campaign) -> dict[str, Any]:
    """All counters; ``passed`` is true when every zero is one and nothing else is wrong."""
    rig, record = campaign.rig, campaign.record
    _turn_expired_into_deletes(campaign)
    wrong: defaultdict[str, list[str]] = defaultdict(list)
    wrong["failures"], wrong["unreadable"] = record.failures, []
    wrong["not drained"] = [member.decode() for member in record.left]
    requests: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    dead: dict[str, int] = {}
    for tenant in campaign.tenants:
        requests += tenant.traffic.requests
        letters = rig.dead_letters(tenant.namespace)
        dead[tenant.namespace] = len(letters)
        for name, ids in [*_of_clients(tenant), *_of_stores(rig, tenant, letters)]:
            wrong[name] += ids
        found = job_statuses(rig, tenant)
        statuses += found
        if not letters:
            ended_otherwise = found.total() - found["stored"]
            wrong["jobs not stored"] += [str(dict(found))] * ended_otherwise
    for store in rig.stores:
        wrong["foreign"] += _foreign_damage(rig, store)
    lost = {store: len(ids) for store in rig.stores if (ids := _unreadable(campaign, store))}
    for store in lost:  # when all else is judged: a pass mends more than that
        _full_pass(campaign, store)
        wrong["unreadable"] += _unreadable(campaign, store)
    searches = [search for t in campaign.tenants for search in t.searchers.searches]
    return {
        "operations": len(rig.ledger.lines),
        "requests": dict(sorted(requests.items())),
        "faults": kinds_count(record.faults, rig.crashes),
        "zeros": {name: len(wrong[name]) for name in ZEROS},
        "others": {name: len(wrong[name]) for name in sorted(wrong) if name not in ZEROS},
        "shown": {name: ids[:SHOWN] for name, ids in wrong.items() if ids},
        "dead letters": sum(dead.values()),
        "expired": sum(len(tenant.traffic.expiring) for tenant in campaign.tenants),
        "canceled": sum(len(rig.canceled(tenant.namespace)) for tenant in campaign.tenants),
        "detached": dict(campaign.due.detached),
        "jobs": dict(statuses),
        "searches": searched(searches, record.faults),
        "drains": drains(record.faults),
        "drained after": round(record.drained_seconds, 1),
        "mended by a full pass": lost,
        "passed": not any(wrong.values()),
    }


def _unreadable(campaign: Campaign, store: str) -> list[str]:
    """What a store has in its scan and not in its index: Weaviate may lose that when it is killed."""
    settings = campaign.rig.settings(store)
    return [
        f"{tenant.namespace}, {store}: {id}"
        for tenant in campaign.tenants
        for id in unreadable(settings, replace(campaign.rig.scope, namespace=tenant.namespace))
    ]


def _full_pass(campaign: Campaign, store: str) -> None:
    """As an operator would after a crash, by ``memrelay sync``: after one of them nothing may be missing."""
    with httpx.Client(base_url=campaign.tenants[0].apis[0].url, timeout=30) as client:
        client.post(f"/v1/drivers/{store}/sync", json={"full": True}).raise_for_status()

        def ended() -> bool:
            rows = client.get("/v1/drivers").json()["drivers"]
            [sync] = [row["sync"] for row in rows if row["name"] == store]
            return sync["ended_at"] is not None

        wait_until(f"a full pass of {store}", ended, PASS_SECONDS)


def _turn_expired_into_deletes(campaign: Campaign) -> None:
    """The ledger as it must read now that everything that was to expire has."""
    gone: dict[tuple[str, str, int], int] = {}
    for tenant in campaign.tenants:
        gone |= {(tenant.namespace, *key): at for key, at in tenant.traffic.expiring.items()}
    ledger = campaign.rig.ledger
    ledger.lines = [
        replace(line, digest=None) if (line.namespace, line.id, line.version) in gone else line
        for line in ledger.lines
    ]


def _of_clients(tenant: Tenant) -> list[tuple[str, list[str]]]:
    """What those who wrote and searched have seen."""
    traffic, seen = tenant.traffic, tenant.searchers.wrong
    return [
        ("foreign", [str(told) for told in seen.foreign]),
        ("duplicates", [str(told) for told in seen.twice]),
        ("resurrected", [f"found: {told}" for told in seen.deleted]),
        ("deleted found without the journal", [str(told) for told in seen.blind]),
        ("repeated otherwise", [str(pair) for pair in traffic.repeated_otherwise]),
        ("dishonest answers", seen.other),
        ("errors of clients", [repr(error)[:500] for error in traffic.errors]),
    ]


def _of_stores(
    rig: Rig, tenant: Tenant, letters: Mapping[int, Mapping[str, str]]
) -> list[tuple[str, list[str]]]:
    """What the stores and the journal hold of a namespace, against the ledger."""
    wrong = _of_canceled(rig, tenant)
    gone = rig.canceled(tenant.namespace)
    canceled = {(line.id, line.version) for line in rig.ledger.lines if line.version in gone}
    scope = replace(rig.scope, namespace=tenant.namespace)
    for store in rig.stores:
        dead = {
            (row["id"], version)
            for version, row in letters.items()
            if store in row["drivers"].split(",")
        }
        verdict = judge(rig.ledger, rig.settings(store), scope, dead | canceled)
        wrong += [
            (name, [f"{tenant.namespace}, {store}: {id}" for id in ids])
            for name, ids in asdict(verdict).items()
        ]
    entered = rig.entered(tenant.namespace)
    acknowledged = sum(line.namespace == tenant.namespace for line in rig.ledger.lines)
    if entered != acknowledged:
        wrong.append(("duplicates", [f"{entered} entered, {acknowledged} acknowledged"]))
    return wrong


def _of_canceled(rig: Rig, tenant: Tenant) -> list[tuple[str, list[str]]]:
    """What was canceled stays so, and nothing else was."""
    asked = tenant.traffic.canceled
    gone = rig.canceled(tenant.namespace)
    found: Counter[str] = Counter()
    for line in rig.ledger.lines:
        if line.namespace == tenant.namespace and line.version in gone:
            found[line.job] += 1
    return [
        ("canceled unasked", sorted(found.keys() - asked.keys())),
        ("not canceled after all", [job for job, count in asked.items() if found[job] < count]),
    ]


def _foreign_damage(rig: Rig, store: str) -> list[str]:
    """What memrelay did to the memories of a namespace that it was never asked to touch."""
    entries, count = read(rig.settings(store), foreign_scope())
    live = sum(entry.digest is not None for entry in entries)
    sound = (live, count) == (FOREIGN_MEMORIES, FOREIGN_MEMORIES)
    return [] if sound else [f"{store}: {live} scanned and {count} counted of {FOREIGN_MEMORIES}"]


def job_statuses(rig: Rig, tenant: Tenant) -> Counter[str]:
    """How many jobs of a namespace say what, but for those of which a part was to be canceled."""
    every = {line.job for line in rig.ledger.lines if line.namespace == tenant.namespace}
    jobs = sorted(every - tenant.traffic.canceled.keys())

    def statuses(part: Sequence[str]) -> Counter[str]:
        with httpx.Client(base_url=tenant.apis[0].url, timeout=30) as client:
            answers = [client.get(f"/v1/jobs/{job}") for job in part]
        return Counter(
            answer.json().get("status", f"HTTP {answer.status_code}") for answer in answers
        )

    with ThreadPoolExecutor(JOB_READERS) as pool:
        parts = pool.map(statuses, [jobs[n::JOB_READERS] for n in range(JOB_READERS)])
    return sum(parts, Counter[str]())


def searched(searches: Sequence[Search], faults: Sequence[Injected]) -> dict[str, Any]:
    """Availability and times. Without any store there is nothing to answer from: what was asked from the
    beginning of such a fault until the first answer after its end is counted apart."""
    ordered = sorted(searches, key=lambda search: search.began)
    dark, back = _dark(ordered, faults)
    counted = [s for s in ordered if not any(_overlap(s, *span) for span in dark)]
    answered = [s for s in counted if s.status == 200]
    stores = [(f.began, f.back) for f in faults if f.kind.startswith(STORE_FAULTS)]
    others = [
        (f.began, f.back)
        for f in faults
        if f.kind.startswith(("API", "journal")) or f.target == "journal"
    ]
    alone = [
        s
        for s in counted
        if any(_overlap(s, *span) for span in stores)
        and not any(_overlap(s, *span) for span in others)
    ]
    quiet = [s for s in answered if not any(_overlap(s, f.began, f.back) for f in faults)]
    during = [s for s in alone if s.status == 200]
    return {
        "asked": len(counted),
        "unanswered": len(counted) - len(answered),
        "statuses": dict(Counter(f"{s.status} {s.code}".strip() for s in counted)),
        "asked with a store down": len(alone),
        "unanswered with a store down": sum(s.status != 200 for s in alone),
        "availability": round(len(answered) / max(len(counted), 1), 5),
        "fallback": sum(s.fallback for s in answered),
        "slowest with a store down": round(max((s.took for s in during), default=0.0), 2),
        "slowest": round(max((s.took for s in answered), default=0.0), 2),
        "p99 quiet": _p99(quiet),
        "p99 with a store down": _p99(during),
        "first answer after all stores": [round(seconds, 1) for seconds in back],
    }


def _dark(
    ordered: Sequence[Search], faults: Sequence[Injected]
) -> tuple[list[tuple[float, float]], list[float]]:
    spans, back = [], []
    for fault in faults:
        if fault.kind == AFTER_ALL:
            after = (s.ended for s in ordered if s.began >= fault.back and s.status == 200)
            end = next(after, fault.back)
            spans.append((fault.began, end))
            back.append(end - fault.back)
    return spans, back


def _overlap(search: Search, began: float, ended: float) -> bool:
    return search.began <= ended and search.ended >= began


def _p99(searches: Sequence[Search]) -> float:
    took = sorted(search.took for search in searches)
    return round(took[int(len(took) * 0.99)], 3) if took else 0.0
