"""All themes in one class, and the rule that a gap has a reason."""

from __future__ import annotations

from typing import Any

from memrelay.testing.conformance.apply import ApplyConformance
from memrelay.testing.conformance.collect import CollectConformance
from memrelay.testing.conformance.expiry import ExpiryConformance
from memrelay.testing.conformance.filters import FilterConformance
from memrelay.testing.conformance.find import FindConformance
from memrelay.testing.conformance.isolation import IsolationConformance
from memrelay.testing.conformance.keyword import KeywordConformance
from memrelay.testing.conformance.reads import ReadConformance
from memrelay.testing.conformance.records import RecordConformance
from memrelay.testing.conformance.roundtrip import RoundtripConformance
from memrelay.testing.conformance.scan import ScanConformance
from memrelay.testing.conformance.search import SearchConformance
from memrelay.testing.conformance.versions import VersionConformance


class DriverConformance(
    ApplyConformance,
    VersionConformance,
    ReadConformance,
    SearchConformance,
    KeywordConformance,
    FilterConformance,
    ScanConformance,
    RecordConformance,
    FindConformance,
    ExpiryConformance,
    CollectConformance,
    IsolationConformance,
    RoundtripConformance,
):
    """Subclass it, give the fixture ``driver`` (opened), and name what is missing in ``gaps``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        tests = {name for name in dir(DriverConformance) if name.startswith("test_")}
        for name, reason in cls.gaps.items():
            if name not in tests:
                raise TypeError(f"{cls.__name__}.gaps names {name}, which is no test of the suite")
            if not reason.strip():
                raise TypeError(f"{cls.__name__}.gaps gives no reason for {name}")
        for name in sorted(tests - cls.gaps.keys()):
            if getattr(cls, name) is not getattr(DriverConformance, name):
                raise TypeError(f"{cls.__name__} overrides {name} without a reason in gaps")
