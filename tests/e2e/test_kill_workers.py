"""Each worker killed with SIGKILL under load, and the orderly end of the whole: who notices what, and how fast."""

import contextlib
import os
import signal
import time

import pytest

from client import Client, Ended, tally
from support.bosh import Body, BoshSession
from support.holdline import Holdline
from support.http import Closed, HttpConn
from support.net import SLOW, wait_until
from upstream.upstream import Upstream

SESSIONS = 12
ALL = {"lost": 0, "doubled": 0, "reordered": 0}


class Echo:
    """A session that sends itself numbered messages, a few at a time, until `stop` is set or the session is lost."""

    def __init__(self, holdline, account):
        self.client = Client(holdline.http, account).login()
        self.sent, self.got = 0, []
        self.stop = False
        self.end = None         # the Ended, Closed or OSError that ended it

    def step(self):
        if self.end:
            return
        try:
            self.client.readable()
            self.got += [text for _, text in self.client.bodies()]
            while not self.stop and self.sent - len(self.got) < 8:
                self.client.send(self.client.chat(self.client.jid, str(self.sent)))
                self.sent += 1
            self.client.flush()
        except (Ended, Closed, OSError) as e:
            self.end = e

    @property
    def done(self):
        return self.end is not None or self.stop and len(self.got) >= self.sent

    def tally(self):
        return tally(self.got, self.sent)

    @property
    def condition(self):
        """The condition that ended it; None while it goes on; the exception's name when a connection just broke."""
        return self.end and getattr(self.end, "condition", type(self.end).__name__)


class Load:
    """Many Echo sessions, stepped from one thread."""

    def __init__(self, holdline, server, count=SESSIONS):
        self.holdline, self.server = holdline, server
        self.echoes = [Echo(holdline, server.account()) for _ in range(count)]

    def run(self, until, seconds, what):
        end = time.monotonic() + seconds * SLOW
        while not until():
            assert time.monotonic() < end, "not within %.0f s: %s; %s" % (seconds * SLOW, what, [
                (e.sent, len(e.got), e.condition) for e in self.echoes])
            for e in self.echoes:
                e.step()

    def warm(self):
        """Until every session has had 50 messages echoed."""
        self.run(lambda: all(len(e.got) >= 50 for e in self.echoes), 30, "50 echoes each")
        assert not self.lost()

    def more(self, count=50):
        """Until every session that lives has had so many more."""
        marks = {e: len(e.got) + count for e in self.echoes}
        self.run(lambda: all(e.end or len(e.got) >= marks[e] for e in self.echoes), 30, "%d more echoes" % count)

    def finish(self):
        """Stops sending and waits for the last echoes; the sessions that lived must have lost nothing."""
        for e in self.echoes:
            e.stop = True
        self.run(lambda: all(e.done for e in self.echoes), 30, "the last echoes")
        for e in self.alive():
            assert e.tally() == ALL, (e.client.jid, e.tally())

    def alive(self):
        return [e for e in self.echoes if not e.end]

    def lost(self):
        return [e for e in self.echoes if e.end]

    def kill(self, kind, index=0):
        """kill -9 of one worker; it must be replaced, and serving, within a second. The load goes on meanwhile."""
        before = self.holdline.worker_pids(kind)
        victim = before[index]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()

        def replaced():
            now = self.holdline.worker_pids(kind)
            return victim not in now and len(now) == len(before) and self.holdline.healthz()[0] == 200
        self.run(replaced, 10, "%s replaced" % kind)
        took = time.monotonic() - killed
        assert took < 1.0 * SLOW, "holdline-%s was replaced only after %.2f s" % (kind, took)
        assert set(before) - {victim} <= set(self.holdline.worker_pids(kind)), "another worker was replaced too"

    def login_again(self):
        """New sessions work."""
        fresh = Load(self.holdline, self.server, 2)
        fresh.more()
        fresh.finish()
        assert not fresh.lost()
        fresh.close()

    def close(self):
        for e in self.echoes:
            e.client.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def others(holdline, kind):
    """The workers of the other kinds: they must stay the same processes."""
    return {k: holdline.worker_pids(k) for k in ("bosh", "connector", "status", "bridge") if k != kind}


def test_status_killed_nobody_notices(prosody):
    with Holdline(prosody.route()) as h, Load(h, prosody) as load:
        load.warm()
        rest = others(h, "status")
        load.kill("status")
        load.more()
        load.finish()
        assert not load.lost()
        assert others(h, "status") == rest


def test_connector_killed_its_sessions_are_told(prosody):
    with Holdline(prosody.route()) as h, Load(h, prosody) as load:
        load.warm()
        rest = others(h, "connector")
        load.kill("connector")
        load.run(lambda: not load.alive(), 10, "all sessions ended")
        assert {e.condition for e in load.echoes} == {"remote-connection-failed"}
        assert others(h, "connector") == rest
        load.login_again()


def test_one_of_two_connectors_killed_the_other_half_goes_on(prosody):
    with Holdline(prosody.route(), processes={"connector": 2}) as h, Load(h, prosody) as load:
        load.warm()
        load.kill("connector", 1)
        load.more()
        load.finish()
        assert {e.condition for e in load.lost()} == {"remote-connection-failed"}
        assert len(load.lost()) == len(load.alive()) == SESSIONS // 2
        load.login_again()


def test_bosh_killed_the_new_one_knows_no_session(prosody):
    with Holdline(prosody.route()) as h, Load(h, prosody) as load:
        load.warm()
        rest = others(h, "bosh")
        load.kill("bosh")
        load.run(lambda: not load.alive(), 10, "all connections broke")
        for e in load.echoes:
            # What a client does then: it repeats the request whose answer never came.
            assert isinstance(e.end, (Closed, OSError, Ended)), e.end
            body = Body(repeat(e.client))
            assert (body.type, body.condition) == ("terminate", "item-not-found"), body
        assert others(h, "bosh") == rest
        load.login_again()


def repeat(client):
    """Sends the oldest unanswered request again on a new connection."""
    with HttpConn(client.address) as conn:
        return conn.post(client.pending[0].raw if client.pending else client.build()[0], timeout=10)


def test_supervisor_killed_takes_the_workers_along(prosody):
    with ended_by_the_test(prosody.route()) as h:
        workers = [p for kind in ("bosh", "connector", "status", "bridge") for p in h.worker_pids(kind)]
        assert workers
        os.kill(h.pid, signal.SIGKILL)
        h.process.wait()
        wait_until(lambda: not any(running(p) for p in workers), 10, "no worker outlives the supervisor: %s" % workers)


def running(pid):
    """True while the process is there and not a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextlib.contextmanager
def ended_by_the_test(domains):
    """A Holdline that the test itself brings to an end."""
    h = Holdline(domains)
    try:
        yield h
    except BaseException:
        h.explain()
        raise
    finally:
        h._kill()
    h.cleanup()


def test_sigterm_ends_sessions_in_good_order(prosody):
    """Held requests are answered terminate/system-shutdown; nothing that was on its way is lost."""
    with ended_by_the_test(prosody.route()) as h, Load(h, prosody) as load:
        load.warm()
        for e in load.echoes:
            e.stop = True
        load.run(lambda: all(e.done for e in load.echoes), 30, "the last echoes")
        h.process.send_signal(signal.SIGTERM)
        load.run(lambda: not load.alive(), 10, "all sessions ended")
        assert {e.condition for e in load.echoes} == {"system-shutdown"}
        assert {e.end.body.type for e in load.echoes} == {"terminate"}
        assert all(e.tally() == ALL for e in load.echoes)
        assert h.process.wait(15 * SLOW) == 0


def test_sigterm_under_load(prosody):
    """With stanzas in flight: every session gets a clear end, nothing comes twice or out of order, exit status 0."""
    with ended_by_the_test(prosody.route()) as h, Load(h, prosody) as load:
        load.warm()
        h.process.send_signal(signal.SIGTERM)
        load.run(lambda: not load.alive(), 10, "all sessions ended")
        assert {e.condition for e in load.echoes} == {"system-shutdown"}
        for e in load.echoes:
            assert (e.tally()["doubled"], e.tally()["reordered"]) == (0, 0)
        assert h.process.wait(15 * SLOW) == 0


@pytest.mark.parametrize("held", [True, False], ids=["held", "idle"])
def test_sigterm_the_server_sees_the_stream_closed(held):
    with Upstream("example.test", tls="none") as up:
        with Holdline({"example.test": {"servers": [up.server], "tls": "none"}}) as h:
            with BoshSession(h.http) as s:
                s.login()
                connection = up.wait_connection()
                pending = s.post() if held else None
                h.stop()
                if held:
                    body = pending.result(5)
                    assert (body.type, body.condition) == ("terminate", "system-shutdown")
                connection.wait_closed()
                assert connection.stream_end, "no </stream:stream> before the end"
