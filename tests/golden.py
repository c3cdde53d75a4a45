"""Outputs of the original authors' code, the oracle of these tests (docs/ASSETS.md says what they are)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent / "golden"
CASE_A = ROOT / "case_a"


def load(name: str) -> dict[str, NDArray[Any]]:
    with np.load(ROOT / name, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}
