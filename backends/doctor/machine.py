"""This machine: its environment, the API's port, its disk."""

from __future__ import annotations

import difflib
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from backends.doctor.finding import Finding
from memrelay.client import AsyncMemrelay
from memrelay.embedded.ports import is_free
from memrelay.errors import ApiError, Unavailable
from memrelay.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_ANY = "0.0.0.0"  # nosec B104 # asked for, not bound
EVERYWHERE = {_ANY: "127.0.0.1", "::": "::1"}
LEAST_BYTES = 512 * 2**20
PREFIX = "MEMRELAY_"
NO_SETTINGS = {
    *("MEMRELAY_API_KEY", "MEMRELAY_CONFIG", "MEMRELAY_DEBUG", "MEMRELAY_INSECURE_OPEN"),
    *("MEMRELAY_SOURCE", "MEMRELAY_URL"),
}
"""Variables of ours that are read elsewhere."""
ALIKE = 0.85


def misspelt(environment: Mapping[str, str]) -> Finding | None:
    """A variable that is nearly a setting's: it would be ignored without a word."""
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    for variable in environment:
        name = variable.upper().partition("__")[0]
        if not name.startswith(PREFIX) or name in known | NO_SETTINGS:
            continue
        if near := difflib.get_close_matches(name, known, n=1, cutoff=ALIKE):
            detail = f"the variable {variable} is no setting, so it is ignored"
            return Finding("environment", "wrong", detail, f"did you mean {near[0]}?")
    return None


def exposure(settings: Settings, *, locked: bool, allowed: bool) -> str | Finding:
    """Served to others than this machine without API keys; ``locked``: there are some."""
    if locked:
        return "API keys are asked for"
    if settings.host in LOOPBACK:
        return "no API key, and only this machine is served"
    detail = f"host {settings.host} serves everybody who reaches it, and there is no API key"
    mend = "make one: memrelay keys create --scope admin; or keep host 127.0.0.1"
    if allowed:
        return Finding("exposure", "warning", f"{detail}, as MEMRELAY_INSECURE_OPEN says", mend)
    return Finding("exposure", "wrong", f"{detail}: the API does not start so", mend)


async def port(settings: Settings) -> str | Finding:
    """Ours, or free for us."""
    host = EVERYWHERE.get(settings.host, settings.host)
    where = f"{host}:{settings.port}"
    mend = "stop what listens there, or set MEMRELAY_PORT to another"
    try:
        async with AsyncMemrelay(
            f"http://[{host}]:{settings.port}" if ":" in host else f"http://{where}",
            timeout=3,
            patience=0,
        ) as client:
            ready = await client.ready()
    except ApiError:
        return Finding("port", "wrong", f"something else than memrelay listens on {where}", mend)
    except Unavailable:
        if is_free(settings.port, settings.host):
            return f"{where} is free for memrelay api, which does not run here"
        return Finding(
            "port", "wrong", f"{where} is taken, and what is there does not answer", mend
        )
    if ready.accept and ready.search:
        return f"memrelay serves on {where}"
    lacking = "writes" if not ready.accept else "searches"
    return Finding("port", "unavailable", f"memrelay on {where} takes no {lacking}", "see its log")


def disk(directories: Iterable[Path], least: int = LEAST_BYTES) -> Finding:
    """Room where we keep files of our own."""
    said = []
    for directory in directories:
        free = shutil.disk_usage(directory).free
        if free < least:
            detail = f"{free >> 20} MiB are free in {directory}: writes will fail soon"
            return Finding("disk", "wrong", detail, "make room there, or move it")
        said.append(f"{free >> 30} GiB free in {directory}")
    return Finding("disk", "ok", ", ".join(said))


def own_directories(settings: Settings, data: Path | None) -> list[Path]:
    """Of the embedded installation, and of stores that are files; those that exist."""
    files = [Path(str(o["path"])) for o in settings.drivers.values() if "path" in o]
    found = [*([data] if data else []), *(file.parent for file in files)]
    return [path for path in dict.fromkeys(found) if path.is_dir()]


def insecure_open() -> bool:
    return os.environ.get("MEMRELAY_INSECURE_OPEN") == "1"
