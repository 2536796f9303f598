"""Makes `support` and `upstream` importable and gives every test the path of the program."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support.holdline import binary  # noqa: E402


def pytest_collection_modifyitems(items):
    """Without a built program every test that starts one would fail for the same reason: say it once, and fail."""
    if any("selftest" not in item.nodeid for item in items) and not os.access(binary(), os.X_OK):
        pytest.exit("%s is missing: run make first (or set HOLDLINE_BIN)" % binary(), 3)
