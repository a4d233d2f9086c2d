"""What all tests share: shapes are checked while they run, and real data comes from KELM_DATA or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import shapes

os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the network: a misspelled name fails at once
shapes.install()  # before the first import of kelm


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data that KELM_DATA names; without it the test is skipped."""
    named = os.environ.get("KELM_DATA")
    if not named:
        pytest.skip("KELM_DATA is not set: the folder of real data (CoDEx, FewRel, articles) that this test reads")
    path = Path(named)
    if not path.is_dir():
        pytest.fail(f"KELM_DATA names {named}, which is no folder")
    return path
