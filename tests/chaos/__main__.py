"""``python -m tests.chaos --seed 1 --seconds 600 --broker redis``: exit status 1 unless all zeros are zero.

``python -m tests.chaos --render results.ndjson docs/reliability.md`` writes the table of what was run.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.chaos.campaign import Campaign
from tests.chaos.ground import Setup, ground
from tests.chaos.load import Pace
from tests.chaos.table import render, table
from tests.chaos.verdict import judged

STORES = "redis,weaviate,sqlite"
GAP_SECONDS = (1.2, 2.8)
"""Between the beginnings of two faults."""
CALM_SECONDS = (20.0, 25.0)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--stores", default=STORES, help="in order; the first is the primary")
    parser.add_argument("--rate", type=float, default=400.0, help="memories a second")
    parser.add_argument("--drain", type=float, default=180.0, help="seconds, at most")
    parser.add_argument("--links", action="store_true", help="harm what passes between them, too")
    parser.add_argument("--detach", action="store_true", help="stores that are away for long, too")
    parser.add_argument("--calm", action="store_true", help="one fault at a time, to see it drain")
    parser.add_argument("--long", action="store_true", help="few faults, of two and ten minutes")
    parser.add_argument("--out", type=Path, help="a line of JSON is appended to it")
    parser.add_argument("--dir", type=Path, help="of ledger, logs and data; a new one if left out")
    parser.add_argument("--keep", action="store_true", help="the directory, although all went well")
    parser.add_argument("--render", nargs=2, type=Path, metavar=("RESULTS", "PAGE"))
    return parser.parse_args()


def main() -> int:
    given = arguments()
    if given.render:
        results, page = given.render
        page.write_text(render(page.read_text(), results.read_text().splitlines()))
        return 0
    directory = (given.dir or Path(tempfile.mkdtemp(prefix="memrelay-chaos-"))).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    _log_to(directory / "campaign.log")
    result = {
        "seed": given.seed,
        "seconds": given.seconds,
        "broker": given.broker,
        "stores": given.stores.split(","),
        "with": [name for name in ("links", "detach", "calm", "long") if getattr(given, name)],
        "at": time.strftime("%Y-%m-%d"),
        **run(given, directory),
    }
    line = json.dumps(result)
    (directory / "result.json").write_text(line + "\n")
    if given.out is not None:
        with given.out.open("a") as out:
            out.write(line + "\n")
    sys.stdout.write("\n".join(table([result])) + "\n")
    for name, shown in result["shown"].items():
        sys.stdout.write(f"{name}: " + "\n    ".join(shown) + "\n")
    if result["passed"] and not given.keep:
        shutil.rmtree(directory)
    else:
        sys.stdout.write(f"kept: {directory}\n")
    return 0 if result["passed"] else 1


def run(given: argparse.Namespace, directory: Path) -> dict[str, Any]:
    """A campaign on servers of its own, and what came of it."""
    setup = Setup(
        broker=given.broker,
        stores=tuple(given.stores.split(",")),
        links=given.links,
        detach=given.detach,
    )
    with ExitStack() as stack:
        campaign = Campaign(
            stack.enter_context(ground(directory, setup)),
            seed=given.seed,
            seconds=given.seconds,
            pace=Pace(rate=given.rate),
            gap=None if given.long else CALM_SECONDS if given.calm else GAP_SECONDS,
        )
        stack.callback(campaign.close)
        campaign.run(given.drain)
        return judged(campaign)


def _log_to(path: Path) -> None:
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
