"""A Holdline and a scripted upstream behind it, with the short times that the protocol tests use."""

import time

from upstream.upstream import Upstream

from .bosh import BoshSession
from .holdline import Holdline, merge
from .net import SLOW
from .ws import WsConn, WsSession

# Short enough for a quick run, long enough not to fire by accident on a busy machine.
SHORT = {"max_wait": 10, "max_hold": 4, "inactivity": 3, "max_pause": 6, "polling": 1, "max_body": 65536, "max_streams": 4,
         "overactivity": "enforce"}


class Line:
    """up: the Upstream; h: the Holdline. Sections of the configuration are keyword arguments, merged over SHORT."""

    def __init__(self, domain="example.test", tls="none", cert=None, script=None, route=None, domains=None, bosh=None,
                 upstream=None, tls_cert=None, **sections):
        self.sessions = []
        self.up = Upstream(domain, tls=tls, cert=cert, script=script, **(upstream_args(sections)))
        entry = merge({"servers": [self.up.server], "tls": tls}, route or {})
        more = {"upstream": upstream} if upstream else {}
        try:
            self.h = Holdline(merge({domain: entry}, domains or {}), tls_cert=tls_cert, bosh=merge(SHORT, bosh or {}),
                              **more, **sections)
        except BaseException:
            self.up.close()
            raise

    def session(self, **kw):
        """A BoshSession that has not been created yet."""
        s = BoshSession(kw.pop("address", self.h.http), **kw)
        self.sessions.append(s)
        return s

    def create(self, session=None, **attrs):
        """A created session (features have come)."""
        s = session or self.session()
        s.create(**attrs)
        return s

    def ready(self, session=None, user="romeo", **attrs):
        """A session that is logged in and bound, with nothing held and an empty inbox."""
        s = self.create(session, **attrs)
        s.login_plain(user, "secret")
        s.bind()
        s.inbox.clear()
        return s

    def ws(self, **kw):
        """A WsSession (its handshake is done) on the plain WebSocket port, which needs ws=True."""
        s = WsSession(kw.pop("address", self.h.ws), **kw)
        self.sessions.append(s.ws)
        return s

    def ws_conn(self, **kw):
        """A WsConn before its handshake."""
        c = WsConn(kw.pop("address", self.h.ws), **kw)
        self.sessions.append(c)
        return c

    def upstream_of(self, ws_session, seconds=5):
        """The upstream connection of a WsSession, found by the stream id that it was told."""
        id_ = ws_session.header.get("id")
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            for c in list(self.up.connections):
                if id_ in c.stream_ids:
                    return c
            time.sleep(0.01)
        raise AssertionError("no upstream connection with stream id %s" % id_)

    def conn(self, session, seconds=5):
        """The upstream connection of the session's first stream, found by the stream id the client was told (authid)."""
        authid = session.creation.attr("authid") or session.authid
        assert authid, "no authid in the answers so far"
        end = time.monotonic() + seconds * SLOW
        while time.monotonic() < end:
            for c in list(self.up.connections):
                if authid in c.stream_ids:
                    return c
            time.sleep(0.01)
        raise AssertionError("no upstream connection with stream id %s" % authid)

    def alive(self):
        """Proves that a new client still gets its session and its echo."""
        s = self.ready()
        s.wait_for(lambda e: e.tag.endswith("}message"), s.message("still here"))
        s.terminate()
        s.close()
        self.sessions.remove(s)

    def end_sessions(self):
        for s in self.sessions:
            s.close()
        self.sessions.clear()

    def close(self):
        self.end_sessions()
        try:
            self.h.stop()
        finally:
            self.up.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.close()
        else:
            self.end_sessions()
            self.h.__exit__(kind, None, None)
            self.up.close()
        return False


def upstream_args(sections):
    """Takes the arguments meant for the Upstream out of the sections."""
    return {k: sections.pop(k) for k in ("alpn", "rcvbuf", "listen") if k in sections}
