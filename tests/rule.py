"""A rule of the journal, and where the tests are that see it taken out."""

from __future__ import annotations

from dataclasses import dataclass

SCRIPTS = "backends/journal/scripts/"
JOURNAL = "tests/integration/test_journal.py"
CANCEL = "tests/integration/test_cancel.py"
DELIVER = "tests/integration/test_deliver.py"
DELETES = "tests/integration/test_deletes.py"
DETACH = "tests/integration/test_detach.py"
MEMBERS = "tests/integration/test_members.py"
REEMBED = "tests/integration/test_reembed.py"
PRESSURE = "tests/integration/test_pressure.py"
SWEEP = "tests/integration/test_sweep.py"
LANES = "tests/integration/test_lanes.py"
HIDDEN = "tests/integration/test_http_hidden.py"
STARTS = "tests/integration/test_start_errors.py"


@dataclass(frozen=True, slots=True)
class Rule:
    """``text`` of ``file`` becomes ``instead``; one of ``tests`` must fail then."""

    name: str
    file: str
    text: str
    instead: str
    tests: str
