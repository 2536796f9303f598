"""Servers are started once per test process and kind; each test has a Holdline of its own in front of them."""

import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from servers import SERVERS  # noqa: E402
from support.certs import Certs  # noqa: E402
from support.holdline import Holdline  # noqa: E402


@pytest.fixture(scope="session")
def certs():
    with Certs() as c:
        yield c


@pytest.fixture(scope="session")
def running(certs):
    """running(kind) -> the server of that kind, started at its first use, and again when a test left it stopped."""
    servers = {}

    def get(kind):
        if kind not in servers:
            servers[kind] = SERVERS[kind](certs)
        elif servers[kind].process is None:
            servers[kind].start()
        return servers[kind]

    yield get
    for server in servers.values():
        server.close()


@pytest.fixture(params=sorted(SERVERS))
def server(request, running):
    """Prosody, then ejabberd."""
    return running(request.param)


@pytest.fixture
def prosody(running):
    return running("prosody")


@pytest.fixture
def line(server):
    """A Holdline in front of the server: STARTTLS, certificate verified with the private authority."""
    with Holdline(server.route()) as h:
        yield h
