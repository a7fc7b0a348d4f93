"""``python -m tests.compose [PROFILE...]``: start the stack of docker-compose.yml and use it as people do.

Builds the image, brings the stack up, takes memories in and finds them, crashes the worker under load,
stops everything within its grace, and starts it again on the same data. What it saw is printed; exit status
1 says that something was not as it should be. Where no Docker daemon answers it starts one of its own (root;
on Debian ``apt-get install docker.io iptables debootstrap``), and makes stand-ins for images that are not
there.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deploy.native.server import ServerError
from tests.compose.docker import daemon
from tests.compose.images import images
from tests.compose.journey import PROFILES, Journey
from tests.compose.stack import Stack

_DATA = Path.home() / ".cache/memrelay/docker-daemon"
_NOT_TO_BE_HAD = ("grafana",)  # in no package registry


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _timed(what: str, work: Callable[[], str | None]) -> None:
    began = time.monotonic()
    result = work()
    took = time.monotonic() - began
    _say(f"{took:6.1f} s  {what}{'' if result is None else f': {result}'}")


def _ensure_images() -> str:
    return ", ".join(f"{image.name} ({image.ensure()})" for image in images())


def _run(stack: Stack) -> None:
    journey = Journey(stack)
    _timed("images", _ensure_images)
    _timed("build", lambda: stack.compose("build") and None)
    stack.down()
    try:
        _timed(f"up, all healthy ({', '.join(stack.services)})", stack.up)
        for what, step in journey.steps():
            _timed(what, step)
    finally:
        stack.down()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.compose", description=(__doc__ or "").partition("\n\n")[2]
    )
    parser.add_argument(
        "profiles", nargs="*", metavar="PROFILE", help=f"of: {' '.join(PROFILES)}; none: the core"
    )
    parser.add_argument(
        "--data", type=Path, default=_DATA, help="of a daemon that has to be started (%(default)s)"
    )
    parser.add_argument(
        "--grafana", action="store_true", help="start Grafana too, whose image must be there"
    )
    options = parser.parse_args()
    unknown = [name for name in options.profiles if name not in PROFILES]
    if unknown:
        parser.error(f"no such profile: {', '.join(unknown)}; there are: {' '.join(PROFILES)}")
    without = () if options.grafana else _NOT_TO_BE_HAD
    profiles = [name for name in options.profiles if name != "core"]
    began = time.monotonic()
    try:
        with daemon(options.data.resolve()):
            _run(Stack(profiles, without))
    except ServerError as error:
        _say(f"FAILED after {time.monotonic() - began:.0f} s: {error}")
        return 1
    _say(f"all as it should be, in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
