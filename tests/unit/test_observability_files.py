"""Alert rules and dashboards in ``deploy/observability``: tested by promtool, and of names that exist."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.metrics import BY_NAME
from deploy.native import promtool
from deploy.native.server import ServerError
from tests.servers import cannot_be_had

FOLDER = Path(__file__).parents[2] / "deploy/observability"
RULES = FOLDER / "rules.yml"
DASHBOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
SAMPLE = re.compile(r"memrelay_[a-z_]+")
SELECTOR = re.compile(r"(memrelay_[a-z_]+)\{([^}]*)\}")
OF_ALL = {"job", "instance", "le"}


@pytest.fixture(scope="module")
def checker() -> Path:
    try:
        return promtool.find()
    except ServerError as error:
        cannot_be_had(str(error))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """The title and each query of every panel."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


EXPRESSIONS = [
    *((rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()),
    *panels(),
]


def metric_of(sample: str) -> str:
    for suffix in ("_bucket", "_sum", "_count"):
        name = sample.removesuffix(suffix)
        if name != sample and name in BY_NAME:
            return name
    return sample


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_every_name_in_a_query_is_in_the_table(where: str, expression: str) -> None:
    for sample in SAMPLE.findall(expression):
        assert metric_of(sample) in BY_NAME, where
    for sample, selected in SELECTOR.findall(expression):
        labels = set(re.findall(r"(\w+)\s*[=!]", selected))
        assert labels <= {*BY_NAME[metric_of(sample)].labels, *OF_ALL}, where
    known = {label for metric in BY_NAME.values() for label in metric.labels} | OF_ALL
    for grouped in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        assert {label.strip() for label in grouped.split(",") if label.strip()} <= known, where


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS)
def test_what_every_api_tells_alike_is_not_summed_over_them(where: str, expression: str) -> None:
    of_the_service = [
        sample
        for sample in SAMPLE.findall(expression)
        if BY_NAME[metric_of(sample)].scope == "service"
    ]
    for sample in of_the_service:
        before = expression[: expression.index(sample)]
        assert "max" in before, where
        assert not re.search(r"sum( by \([^)]*\) ?)?\(((rate|increase)\()?$", before), where


def test_the_rules_do_what_their_tests_say(checker: Path) -> None:
    done = subprocess.run(
        [checker, "test", "rules", FOLDER / "rules_test.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [
        case
        for test in yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == alerts
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == alerts


def test_every_alert_says_how_bad_it_is_and_what_is_wrong() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"]


def test_the_queries_of_the_dashboards_are_promql(checker: Path, tmp_path: Path) -> None:
    written = [
        {"record": f"panel:{i}", "expr": query.replace("$__rate_interval", "5m")}
        for i, (_, query) in enumerate(panels())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": written}]}))
    done = subprocess.run(
        [checker, "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_configuration(checker: Path) -> None:
    command = [checker, "check", "config", "--syntax-only", FOLDER / "prometheus.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_of_the_table_is_shown_or_watched() -> None:
    used = {metric_of(s) for _, expression in EXPRESSIONS for s in SAMPLE.findall(expression)}
    assert BY_NAME.keys() - used <= {
        "memrelay_embedding_calls_total",
        "memrelay_embedding_tokens_total",
        "memrelay_embedding_cache_misses_total",
        "memrelay_query_embeddings_total",
    }


def test_dashboards_have_names_of_their_own_and_panels_that_do_not_overlap() -> None:
    boards = [json.loads(path.read_text()) for path in DASHBOARDS]
    assert len({board["uid"] for board in boards}) == len(boards) == 2
    for board in boards:
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert all(x < 24 for x, _ in cells), panel["title"]
            taken |= cells
