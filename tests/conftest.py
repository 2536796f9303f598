"""Makes `support` and `upstream` importable and gives every test the path of the program."""

import os
import signal
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from support.holdline import binary  # noqa: E402
from support.net import SLOW  # noqa: E402

# Seconds that one test may take; whole servers and clients (e2e) get more.
LIMIT, LIMIT_E2E = 60, 300


def pytest_collection_modifyitems(items):
    """Without a built program every test that starts one would fail for the same reason: say it once, and fail."""
    if any("selftest" not in item.nodeid for item in items) and not os.access(binary(), os.X_OK):
        pytest.exit("%s is missing: run make first (or set HOLDLINE_BIN)" % binary(), 3)


@pytest.fixture(autouse=True)
def bounded_time(request):
    """No test may hang: after its time it fails where it stands."""
    limit = (LIMIT_E2E if "e2e" in request.node.nodeid.split("/") else LIMIT) * SLOW

    def late(signum, frame):
        raise AssertionError("the test took longer than %d s" % limit)
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
