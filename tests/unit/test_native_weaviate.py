"""The native Weaviate: two at once, killed and restarted without loss; and the fixture's."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.native import weaviate as native
from deploy.native.server import ServerError
from deploy.native.weaviate import WeaviateServer
from tests.servers import Weaviate

type WeaviateFactory = Callable[[], WeaviateServer]

_CLASS = (
    b'{"class": "Kept", "vectorizer": "none", "properties": [{"name": "t", "dataType": ["text"]}]}'
)
_OBJECT = b'{"class": "Kept", "properties": {"t": "kept"}, "vector": [1.0, 0.0]}'


def _post(server: WeaviateServer, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{server.url}/v1/{path}", body, headers), timeout=60
    ) as answer:
        answer.read()


def _get(url: str, path: str) -> str:
    with urllib.request.urlopen(f"{url}/v1/{path}", timeout=60) as answer:
        return str(answer.read(), "utf-8")


@pytest.mark.slow
def test_what_weaviate_acknowledged_survives_a_kill(
    weaviate_server_factory: WeaviateFactory,
) -> None:
    server, other = weaviate_server_factory(), weaviate_server_factory()
    _post(server, "schema", _CLASS)
    _post(server, "objects", _OBJECT)

    server.kill()
    server.start()

    assert '"t":"kept"' in _get(server.url, "objects?class=Kept")
    assert '"classes":[]' in _get(other.url, "schema")


@pytest.mark.slow
def test_the_shared_weaviate_has_the_version_that_is_pinned(weaviate: Weaviate) -> None:
    assert f'"version":"{native.VERSION}"' in _get(weaviate.url, "meta")
    assert weaviate.grpc_port > 0


def test_without_go_and_binary_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="Go is not installed"):
        native.PROGRAM.find()
    assert not native.PROGRAM.cached.exists()


def test_a_failed_build_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'no route to the module proxy' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(ServerError, match=r"could not be built(?s:.*)no route"):
        native.PROGRAM.find()
    assert not native.PROGRAM.cached.exists()
