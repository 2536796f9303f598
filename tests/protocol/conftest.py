"""Fixtures of the protocol tests: one Holdline per module for tests that do not disturb each other."""

import pytest

from support.certs import Certs
from support.line import Line
from upstream.upstream import Script


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """On failure, adds the end of Holdline's log to the report."""
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        for line in {v for v in getattr(item, "funcargs", {}).values() if isinstance(v, Line)}:
            tail = "\n".join(line.h.log().splitlines()[-40:])
            report.sections.append(("holdline log %s" % line.h.log_path, tail))


@pytest.fixture(scope="module")
def shared_line():
    """One Holdline with its upstream for the module."""
    line = Line()
    yield line
    line.close()


@pytest.fixture
def line(shared_line):
    """The module's Holdline; each test leaves the upstream friendly and its own sessions closed."""
    shared_line.up.script = Script()
    yield shared_line
    shared_line.end_sessions()
    shared_line.up.script = Script()


@pytest.fixture(scope="session")
def certs():
    with Certs() as c:
        yield c
