"""mem0 and LangChain against memrelay over one running store: all embed in process with the same model."""

from __future__ import annotations

from typing import Any

from benchmarks.neighbours.process import Neighbour
from benchmarks.neighbours.rounds import US, Counter, Rates, memrelay
from benchmarks.stack import Stack

NO_HISTORY = "no history"
BARE_MEM0 = f"mem0, {NO_HISTORY}"
TRIED = 200


def measure(
    stack: Stack, kind: str, url: str, *, counts: dict[str, int], rounds: int
) -> dict[str, Any]:
    """Rounds in turn, each neighbour in the fastest of its ways; mem0 with its history and without."""
    rates = Rates()
    with (
        Neighbour("mem0", kind, url) as mem0,
        Neighbour("langchain", kind, url) as langchain,
        stack.service(kind) as service,
        Counter(stack.driver(kind)) as counter,
    ):
        tried = {
            "mem0": _tried(mem0, [way for way in mem0.ways if NO_HISTORY not in way]),
            BARE_MEM0: _tried(mem0, [way for way in mem0.ways if NO_HISTORY in way]),
            "langchain": _tried(langchain, langchain.ways),
        }
        memrelay(service, counter, seed=1, size=2000)
        for number in range(rounds):
            for name, ways in tried.items():
                neighbour = langchain if name == "langchain" else mem0
                fastest = max(ways, key=lambda way: ways[way])
                rates.add(name, neighbour.rate(fastest, counts[name]))
            rates.add(US, memrelay(service, counter, seed=2 + number, size=counts[US]))
        return {
            "memories": counts,
            "versions": {"mem0": mem0.versions, "langchain": langchain.versions},
            "ways_tried": tried,
            **rates.report(),
        }


def _tried(neighbour: Neighbour, ways: list[str]) -> dict[str, float]:
    """Memories a second of each, after a first few."""
    for way in ways:
        neighbour.rate(way, 20)
    return {way: round(neighbour.rate(way, TRIED)) for way in ways}
