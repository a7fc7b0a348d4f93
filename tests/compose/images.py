"""Stand-ins for the images that docker-compose.yml and the Dockerfile name, for a machine that reaches no
image registry: Debian's packages, imported under the names of the real ones.

A real image of that name is left alone and used. A stand-in is made again when its recipe changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.native import postgres, rabbitmq, weaviate
from deploy.native.debian import find_release
from deploy.native.server import ServerError
from tests.compose.docker import docker

LABEL = "memrelay.standin"
_ENTRYPOINTS = Path(__file__).parent / "entrypoints"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# How this machine reaches the package registries: for what is built inside.
_PASSED_ON = ("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "SSL_CERT_FILE", "UV_")
_PYTHON_LIBRARIES = (
    "ca-certificates",
    "libbz2-1.0",
    "libffi8",
    "liblzma5",
    "libncursesw6",
    "libreadline8t64",
    "libsqlite3-0",
    "libssl3t64",
    "libuuid1",
    "zlib1g",
)
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "test", "idlelib", "*.a")


@dataclass(frozen=True, slots=True)
class Image:
    """Debian's ``packages``, the files that ``add`` lays into an empty directory, and ``lines`` of a
    Dockerfile."""

    name: str
    packages: Sequence[str]
    lines: Sequence[str]
    add: Callable[[Path], None]
    version: str = "1"
    """Of what ``add`` brings, where that is no file of this package."""

    @property
    def recipe(self) -> str:
        """A digest of everything that decides what is in it."""
        scripts = [path.read_text() for path in sorted(_ENTRYPOINTS.iterdir())]
        return _digest(repr((sorted(self.packages), self.lines, self.version, scripts)))

    def ensure(self) -> str:
        """``kept``, ``real`` or ``made``; ServerError when it cannot be made."""
        shown = docker(
            "image", "inspect", "--format", f'{{{{index .Config.Labels "{LABEL}"}}}}', self.name
        )
        if shown.returncode == 0 and not shown.stdout.strip():
            return "real"
        if shown.returncode == 0 and shown.stdout.strip() == self.recipe:
            return "kept"
        self._make()
        return "made"

    def _make(self) -> None:
        base = f"memrelay-standin:{_digest(repr(sorted(self.packages)))}"
        if docker("image", "inspect", base).returncode != 0:
            _import(find_release(self.packages), base)
        with tempfile.TemporaryDirectory() as scratch:
            context = Path(scratch)
            (context / "files").mkdir()
            self.add(context / "files")
            lines = [f"FROM {base}", "COPY files /", *self.lines, f"LABEL {LABEL}={self.recipe}"]
            (context / "Dockerfile").write_text("\n".join(lines) + "\n")
            without_plugin = {"DOCKER_BUILDKIT": "0"}  # the client's own builder is enough here
            done = docker("build", "--quiet", "--tag", self.name, scratch, env=without_plugin)
        if done.returncode != 0:
            raise ServerError(f"no stand-in for {self.name}: {done.stderr.strip()}")


def _import(root: Path, name: str) -> None:
    left_out = [f"--exclude=./{folder}/*" for folder in ("dev", "proc", "sys")]
    packed = subprocess.Popen(
        ["tar", "-c", *left_out, "-C", str(root), "."], stdout=subprocess.PIPE
    )
    done = docker("import", "-", name, stdin=packed.stdout)
    assert packed.stdout is not None
    packed.stdout.close()  # or tar would wait for a client that is gone
    if packed.wait() != 0 or done.returncode != 0:
        raise ServerError(f"Debian could not be imported: {done.stderr.strip()}")


def _digest(said: str) -> str:
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _entrypoint(name: str, *, folders: Sequence[str] = ()) -> Callable[[Path], None]:
    def add(root: Path) -> None:
        for folder in folders:
            (root / folder).mkdir(parents=True)
        shutil.copy(_ENTRYPOINTS / name, root / "entrypoint")

    return add


def _add_weaviate(root: Path) -> None:
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(weaviate.PROGRAM.find(), root / "usr/bin/weaviate")


def _add_nothing(_: Path) -> None:
    pass


def _add_python(root: Path) -> None:
    """The interpreter that runs this, which brings its own pip."""
    home = Path(sys.base_prefix)
    if home in (Path("/usr"), Path("/usr/local")):
        raise ServerError("no stand-in for python: this one is not in a directory of its own")
    local = root / "usr/local"
    local.mkdir(parents=True)
    for folder in ("bin", "lib"):
        shutil.copytree(home / folder, local / folder, symlinks=True, ignore=_LEFT_OUT)
    for path in local.glob("bin/pip*"):
        path.write_text('#!/bin/sh\nexec python -m pip "$@"\n')  # they name where it was
    certificates = root / "etc/ssl/certs"
    certificates.mkdir(parents=True)
    shutil.copy(_CERTIFICATES, certificates)


def _python_lines() -> list[str]:
    passed_on = {k: v for k, v in sorted(os.environ.items()) if k.startswith(_PASSED_ON)}
    settings = [f"ENV {key}={value}" for key, value in passed_on.items()]
    path = "ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return [path, *settings, "RUN ldconfig", 'CMD ["python"]']


def images() -> list[Image]:
    """All but Grafana's, which no registry of packages has."""
    ran = 'ENTRYPOINT ["/entrypoint"]'
    path = "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return [
        Image(
            "python:3.12-slim",
            _PYTHON_LIBRARIES,
            _python_lines(),
            _add_python,
            version=sys.version.partition(" ")[0],
        ),
        Image(
            "redis:8",
            ("redis-server", "redis-tools"),
            [ran, path, "VOLUME /data", "WORKDIR /data", 'CMD ["redis-server"]'],
            _entrypoint("redis", folders=["data"]),
        ),
        Image(
            "rabbitmq:4",
            rabbitmq.PACKAGES,
            [ran, path, "VOLUME /var/lib/rabbitmq", "ENV LANG=C.UTF-8"],
            _entrypoint("rabbitmq"),
        ),
        Image(
            "pgvector/pgvector:pg17",
            postgres.PACKAGES,
            [
                ran,
                "ENV PATH=/usr/lib/postgresql/17/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "VOLUME /var/lib/postgresql/data",
                "STOPSIGNAL SIGINT",
            ],
            _entrypoint("postgres", folders=["var/lib/postgresql/data"]),
        ),
        Image(
            f"cr.weaviate.io/semitechnologies/weaviate:{weaviate.VERSION}",
            ("ca-certificates", "wget"),
            ['ENTRYPOINT ["/usr/bin/weaviate"]', path],
            _add_weaviate,
            version=weaviate.VERSION,
        ),
        Image(
            "prom/prometheus:v3.5.0",
            ("prometheus", "wget"),
            [
                'ENTRYPOINT ["/usr/bin/prometheus"]',
                path,
                "RUN mkdir /prometheus && chown nobody /prometheus",
                "USER nobody",
                "WORKDIR /prometheus",
                "VOLUME /prometheus",
            ],
            _add_nothing,
        ),
    ]
