"""The chart: what Helm makes of every values file is valid, safe, and fits what the programs do."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from backends.broker import KEY_PREFIX
from deploy.native.helm import PROGRAM
from deploy.native.server import ServerError
from memrelay import __version__
from memrelay.jobs import MAINTENANCE, queue_names
from memrelay.seeds import SEED_NAMES
from memrelay.settings import Settings, load_settings
from tests.servers import cannot_be_had

_CHART = Path(__file__).parents[2] / "deploy/helm/memrelay"
_FILES = sorted(path.name for path in _CHART.glob("values*.yaml"))
_KUBERNETES = "1.33"
_NOT_KUBERNETES = {"ScaledObject", "TriggerAuthentication", "ServiceMonitor"}
# Read by the programs, and no setting of a file.
_NO_SETTINGS = {"MEMRELAY_INSECURE_OPEN", "MEMRELAY_CONFIG"}
_SECRET = {
    "MEMRELAY_JOURNAL_URL": "redis://journal:6379/0",
    "MEMRELAY_BROKER_URL": "redis://journal:6379/1",
    "MEMRELAY_DRIVERS__REDIS__URL": "redis://redis:6379/0",
    "MEMRELAY_DRIVERS__WEAVIATE__URL": "http://weaviate:8080",
    "MEMRELAY_DRIVERS__PGVECTOR__URL": "postgresql://memrelay@postgres:5432/memrelay",
}

type Object = dict[str, Any]


def _helm(*words: str) -> subprocess.CompletedProcess[str]:
    try:
        helm = PROGRAM.find()
    except ServerError as error:
        cannot_be_had(str(error))
    return subprocess.run([helm, *words], capture_output=True, text=True, check=False)


@cache
def _rendered(file: str, *options: str) -> Sequence[Object]:
    done = _helm("template", "try", str(_CHART), "--values", str(_CHART / file), *options)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found is not None]


def _of(kind: str, file: str, *options: str) -> dict[str, Object]:
    """By their names, without the release's."""
    found = [item for item in _rendered(file, *options) if item["kind"] == kind]
    return {item["metadata"]["name"].removeprefix("try-memrelay-"): item for item in found}


def _pods(file: str) -> dict[str, Object]:
    return {name: d["spec"]["template"] for name, d in _of("Deployment", file).items()}


def _container(pod: Object) -> Object:
    [container] = pod["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def _queues(pod: Object) -> list[str] | None:
    """Those that a worker is told to work for; None for all."""
    for word in _container(pod)["args"]:
        if word.startswith("--queues="):
            return str(word.removeprefix("--queues=")).split(",")
    return None


def _values(file: str) -> Object:
    found = yaml.safe_load((_CHART / "values.yaml").read_text())
    found |= yaml.safe_load((_CHART / file).read_text())
    assert isinstance(found, dict)
    return found


def _selects(selector: Mapping[str, str], pod: Object) -> bool:
    return selector.items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("file", _FILES)
def test_the_chart_is_without_a_fault(file: str) -> None:
    done = _helm("lint", "--strict", str(_CHART), "--values", str(_CHART / file))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", _FILES)
def test_kubernetes_knows_every_field(file: str) -> None:
    for item in _rendered(file):
        if item["kind"] not in _NOT_KUBERNETES:
            kubernetes_validate.validate(item, _KUBERNETES, strict=True)


@pytest.mark.parametrize("file", _FILES)
def test_pods_run_without_rights(file: str) -> None:
    for pod in _pods(file).values():
        spec, inside = pod["spec"], _container(pod)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001  # the image's
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert inside == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("file", _FILES)
def test_pods_are_probed_bounded_and_have_time_to_end(file: str) -> None:
    for name, pod in _pods(file).items():
        container = _container(pod)
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        assert container["resources"]["limits"]["memory"]
        assert pod["spec"]["terminationGracePeriodSeconds"] >= (45 if name == "api" else 60)
        alive = container["livenessProbe"]
        if name != "api":
            assert "--liveness" in alive["exec"]["command"]


@pytest.mark.parametrize("file", _FILES)
def test_what_pods_are_told_are_settings_that_load(
    file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # no memrelay.toml here
    for pod in _pods(file).values():
        for variable in list(os.environ):
            if variable.startswith(("MEMRELAY_", *SEED_NAMES)):
                monkeypatch.delenv(variable)
        for variable, value in _SECRET.items():
            monkeypatch.setenv(variable, value)
        told = {entry["name"]: entry["value"] for entry in _container(pod)["env"]}
        for variable, value in told.items():
            first = variable.removeprefix("MEMRELAY_").partition("__")[0].lower()
            assert variable in _NO_SETTINGS or first in Settings.model_fields, variable
            monkeypatch.setenv(variable, value)
        settings = load_settings()
        assert settings.sources["default"].drivers == _values(file)["drivers"]


@pytest.mark.parametrize("file", _FILES)
def test_every_queue_has_workers(file: str) -> None:
    workers = [_queues(pod) for name, pod in _pods(file).items() if name != "api"]
    served = [queue for queues in workers if queues is not None for queue in queues]
    if None not in workers:
        assert sorted(served) == sorted(queue_names(_values(file)["drivers"]))


@pytest.mark.parametrize("file", ["values-production.yaml", "values-sentinel.yaml"])
def test_workers_scale_by_the_queues_that_they_work_for(file: str) -> None:
    scaled = _of("ScaledObject", file)
    served = {name: _queues(pod) for name, pod in _pods(file).items() if name != "api"}
    assert set(scaled) == {name for name, queues in served.items() if queues != [MAINTENANCE]}
    for name, item in scaled.items():
        assert item["spec"]["scaleTargetRef"]["name"] == f"try-memrelay-{name}"
        assert "replicas" not in _of("Deployment", file)[name]["spec"]
        for trigger, queue in zip(item["spec"]["triggers"], served[name] or [], strict=True):
            metadata = trigger["metadata"]
            if trigger["type"] == "rabbitmq":
                assert metadata["queueName"] == queue
            else:
                assert metadata["listName"] == f"{KEY_PREFIX}{queue}"
                assert metadata["databaseIndex"] == "1"
            assert trigger["authenticationRef"]["name"] in {
                "try-memrelay-" + name for name in _of("TriggerAuthentication", file)
            }
            assert all(isinstance(value, str) for value in metadata.values())  # KEDA's own demand


def test_a_plain_redis_needs_its_address_to_scale_by() -> None:
    keda = ("--set", "keda.enabled=true")
    refused = _helm("template", "try", str(_CHART), *keda)
    assert "keda.redis.address is needed" in refused.stderr
    scaled = _of("ScaledObject", "values.yaml", *keda, "--set", "keda.redis.address=redis:6379")
    assert [t["type"] for t in scaled["worker-bulk"]["spec"]["triggers"]] == ["redis"]
    assert "authenticationRef" not in scaled["worker-bulk"]["spec"]["triggers"][0]


@pytest.mark.parametrize("file", _FILES)
def test_budgets_services_and_fences_mean_the_pods_that_there_are(file: str) -> None:
    pods = _pods(file)
    for name, budget in _of("PodDisruptionBudget", file).items():
        [meant] = [
            p for p, pod in pods.items() if _selects(budget["spec"]["selector"]["matchLabels"], pod)
        ]
        assert meant == name
    [service] = _of("Service", file).values()
    assert [p for p, pod in pods.items() if _selects(service["spec"]["selector"], pod)] == ["api"]
    fences = _of("NetworkPolicy", file)
    every, api = fences["try-memrelay"]["spec"], fences["api"]["spec"]
    assert all(_selects(every["podSelector"]["matchLabels"], pod) for pod in pods.values())
    assert every["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in every  # nobody, but for those whom the other one lets in
    assert [p for p, pod in pods.items() if _selects(api["podSelector"]["matchLabels"], pod)] == [
        "api"
    ]


def test_an_api_is_open_only_where_it_was_said() -> None:
    for file in _FILES:
        api = _of("Deployment", file)["api"]["spec"]["template"]
        assert "MEMRELAY_INSECURE_OPEN" not in {entry["name"] for entry in _container(api)["env"]}
    opened = _of("Deployment", "values.yaml", "--set", "insecureOpen=true")["api"]["spec"][
        "template"
    ]
    assert {"name": "MEMRELAY_INSECURE_OPEN", "value": "1"} in _container(opened)["env"]


def test_prometheus_asks_with_a_key_and_under_the_name_that_the_alerts_go_by() -> None:
    [monitor] = _of("ServiceMonitor", "values-production.yaml").values()
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["authorization"]["credentials"] == {
        "name": "memrelay",
        "key": "MEMRELAY_METRICS_KEY",
    }
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "memrelay"}]
    [service] = _of("Service", "values-production.yaml").values()
    assert (
        monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "keda.broker=kafka",
        "api.replicas=-1",
        "api.replica=2",
        "workers.bulk.queues={deliver.slow}",
        "workerTerminationGracePeriodSeconds=5",
        "settings.MEMRELAI_PORT=1",
        "drivers={Redis}",
    ],
)
def test_a_wrong_value_is_refused(wrong: str) -> None:
    done = _helm("template", "try", str(_CHART), "--set", wrong)
    assert done.returncode != 0
    assert wrong.partition("=")[0].rpartition(".")[2] in done.stderr


def test_the_chart_has_the_version_of_the_package() -> None:
    chart = yaml.safe_load((_CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def test_the_schema_has_every_value() -> None:
    schema = json.loads((_CHART / "values.schema.json").read_text())
    assert set(_values("values.yaml")) == set(schema["properties"]) - {"global"}
