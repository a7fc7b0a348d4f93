"""``python -m benchmarks.neighbours [--quick] [--only NAME]``: one JSON on standard output.

The first run installs the neighbours, each into an environment of its own in the user's cache.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.neighbours.measure import NAMES, TARGETS, measure
from benchmarks.stack import Stack


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neighbours")
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--only", choices=NAMES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memrelay-bench-") as directory:
        stack = Stack(Path(directory))
        with stack.queue:
            results = measure(stack, quick=options.quick, only=options.only)
    sys.stdout.write(json.dumps({"targets": TARGETS, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
