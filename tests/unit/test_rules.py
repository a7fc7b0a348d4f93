"""The rules of the journal that ``tests.rules`` takes out are where they say."""

from __future__ import annotations

import pytest

from tests.job_rules import JOB_RULES
from tests.rule import Rule
from tests.rules import ROOT, RULES
from tests.store_rules import STORE_RULES


@pytest.mark.parametrize("rule", [*RULES, *JOB_RULES, *STORE_RULES], ids=lambda rule: rule.name)
def test_rule_stands_once_in_its_file(rule: Rule) -> None:
    """Otherwise what is taken out is nothing, or something else besides."""
    assert (ROOT / rule.file).read_text().count(rule.text) == 1
    assert (ROOT / rule.tests).is_file()
