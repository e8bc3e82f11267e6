"""Shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# two test processes share two cores; torch reads this when it is imported, below
os.environ.setdefault("OMP_NUM_THREADS", "1")
