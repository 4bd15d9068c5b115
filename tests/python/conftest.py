"""Puts this directory on the search path, so that tests import `oracle` and `support`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
