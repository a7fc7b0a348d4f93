"""Campaigns as a table: a line for each, and their sums."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.verdict import NAMES, ZEROS

BEGIN, END = "<!-- campaigns -->", "<!-- end of campaigns -->"
HEAD = (
    "seed",
    "seconds",
    "broker",
    "stores, and what else",
    "operations",
    "faults",
    *(NAMES[name] for name in ZEROS),
    "anything else",
    "searches answered, a store down",
    "all searches answered",
    "slowest search, a store down",
    "drained after",
)


def table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of Markdown: the campaigns, their sum, and what the faults were."""
    rows = [_row(result) for result in results]
    if len(results) > 1:
        rows.append(_sum(results))
    lines = [_line(HEAD), _line(["---"] * len(HEAD)), *map(_line, rows), ""]
    return lines + _faults(results)


def render(page: str, results: Sequence[str]) -> str:
    """The page with the table of ``results`` (lines of JSON) between its marks."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    text = "\n".join(table([json.loads(line) for line in results]))
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _row(result: Mapping[str, Any]) -> list[str]:
    searches = result["searches"]
    return [
        str(result["seed"]),
        f"{result['seconds']:g}",
        result["broker"],
        ", ".join([*result["stores"], *result["with"]]),
        f"{result['operations']:,}",
        str(sum(result["faults"].values())),
        *(str(result["zeros"][name]) for name in ZEROS),
        str(sum(result["others"].values())),
        _share(searches["asked with a store down"], searches["unanswered with a store down"]),
        _share(searches["asked"], searches["unanswered"]),
        f"{searches['slowest with a store down']} s",
        f"{result['drained after']} s" if result["drained after"] >= 0 else "not",
    ]


def _sum(results: Sequence[Mapping[str, Any]]) -> list[str]:
    def of_all(name: str) -> int:
        return sum(result["searches"][name] for result in results)

    slowest = max(result["searches"]["slowest with a store down"] for result in results)
    return [
        "all",
        f"{sum(result['seconds'] for result in results):g}",
        "",
        "",
        f"{sum(result['operations'] for result in results):,}",
        str(sum(sum(result["faults"].values()) for result in results)),
        *(str(sum(result["zeros"][name] for result in results)) for name in ZEROS),
        str(sum(sum(result["others"].values()) for result in results)),
        _share(of_all("asked with a store down"), of_all("unanswered with a store down")),
        _share(of_all("asked"), of_all("unanswered")),
        f"{slowest} s",
        "",
    ]


def _share(asked: int, unanswered: int) -> str:
    return f"{1 - unanswered / max(asked, 1):.2%} of {asked:,}"


def _faults(results: Sequence[Mapping[str, Any]]) -> list[str]:
    counts: Counter[str] = Counter()
    longest: dict[str, float] = {}
    for result in results:
        counts.update(result["faults"])
        for kind, (_, most) in result["drains"].items():
            longest[kind] = max(longest.get(kind, 0.0), most)
    lines = [
        "| fault | times | what was in flight at its end was stored after, at most |",
        "|---|---|---|",
    ]
    for kind, times in sorted(counts.items()):
        seconds = f"{longest[kind]} s" if kind in longest else ""
        lines.append(f"| {kind} | {times} | {seconds} |")
    return lines


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
