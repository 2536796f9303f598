"""The clients of these tests against the servers' own BOSH: what fails here is not Holdline's fault."""

import pytest

import strophe
from client import Client, exchange, tally
from servers import BOSH_PORT


@pytest.fixture
def own(server):
    return (server.address, BOSH_PORT)


def test_selftest_raw_client(server, own):
    a = Client(own, server.account(), server.bosh_path).login("SCRAM-SHA-1")
    b = Client(own, server.account(), server.bosh_path).login("SCRAM-SHA-256")
    with a, b:
        exchange(a, b, 50)


def test_selftest_strophe(server, own):
    strophe.install()
    with strophe.Strophe(server.bosh_url, server.account()) as a:
        a.login("SCRAM-SHA-256")
        a.do("presence")
        a.do("messages", to=a.jid, count=50, **{"from": 0})
        a.wait_messages(50)
        assert tally([text for _, text in a.by_rid()], 50) == {"lost": 0, "doubled": 0, "reordered": 0}


def test_selftest_tally():
    assert tally(["0", "1", "2"], 3) == {"lost": 0, "doubled": 0, "reordered": 0}
    assert tally(["0", "2", "1", "1"], 4) == {"lost": 1, "doubled": 1, "reordered": 1}
