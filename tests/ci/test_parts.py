"""The pipeline requires every part, so it must get every part."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import requires

RUN = Path(__file__).resolve().parents[2] / ".ci/run"


@pytest.mark.parametrize("part", sorted(requires._CHECKS))
def test_the_pipeline_gets_every_part_that_a_test_may_require(part: str) -> None:
    assert part in RUN.read_text()
