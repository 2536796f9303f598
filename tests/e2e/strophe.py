"""Strophe.js (from npm) in a node process of its own, driven by lines of JSON: one connection per process.

    with Strophe(url, account) as s:
        s.login("SCRAM-SHA-256"); s.do("presence")
        s.do("messages", to=other.jid, **{"from": 0}, count=1000)
        s.wait_messages(1000)
"""

import json
import os
import queue
import subprocess
import threading
import time

from support.net import SLOW

HERE = os.path.dirname(os.path.abspath(__file__))


def install():
    """Makes sure that node_modules is there (init/deps.sh does the same before the tests)."""
    subprocess.run([os.path.join(HERE, "install.sh")], check=True, stdin=subprocess.DEVNULL)


class Strophe:
    """statuses: list of (name, condition) as Strophe reported them; messages: list of (sender's full JID, text) as
    they came to the application, rids: of the BOSH requests whose answers brought them.
    env: more environment for node. Other clients are driven the same way, with a program of their own."""

    program = "strophe_client.mjs"

    def __init__(self, url, account, env=None):
        self.url, self.account = url, account
        self.statuses, self.messages, self.logs, self.rids = [], [], [], []
        self.jid = None
        self._results = {}
        self._events = queue.Queue()
        self._next = 0
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "node", os.path.join(HERE, self.program)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=HERE, env={**os.environ, **(env or {})})
        threading.Thread(target=self._read, daemon=True).start()
        self._ready = False
        self._until(lambda: self._ready, 30, "node has started")

    # -- operations

    def do(self, op, seconds=30, **arguments):
        """Runs one operation of strophe_client.mjs and returns its result."""
        self._next += 1
        number = self._next
        self.process.stdin.write(json.dumps({"id": number, "op": op, **arguments}) + "\n")
        self.process.stdin.flush()
        self._until(lambda: number in self._results, seconds, "result of %s" % op)
        answer = self._results.pop(number)
        assert "error" not in answer, "%s: %s" % (op, answer)
        return answer["result"]

    def connect(self, mechanism=None, resource="strophe", **options):
        self.do("connect", service=self.url, jid="%s/%s" % (self.account.jid, resource),
                password=self.account.password, mechanism=mechanism, **options)

    def login(self, mechanism=None, **options):
        self.connect(mechanism, **options)
        self.wait_status("CONNECTED")
        self.jid = self.do("session")["jid"]
        return self

    def wait_status(self, name, seconds=30):
        """Waits for a status and returns its condition; fails at once when the connection ended instead."""
        ends = {"CONNFAIL", "AUTHFAIL", "DISCONNECTED", "CONNTIMEOUT"}
        if name in ends:
            ends = {"DISCONNECTED"}

        def there():
            if name in [n for n, _ in self.statuses]:
                return True
            assert not ends.intersection(n for n, _ in self.statuses), (name, self.statuses, self.logs)
            return False
        self._until(there, seconds, "status " + name)
        return [c for n, c in self.statuses if n == name][-1]

    def wait_messages(self, count, seconds=120):
        self._until(lambda: len(self.messages) >= count, seconds, "%d messages" % count)
        return self.messages

    def by_rid(self):
        """The messages in the order of the rids of the answers that brought them, which is the order that a connection
        manager promises (XEP-0124 14.2: the client MUST process answers so). Strophe takes answers as node reads them:
        with two in its sockets when it comes back from other work, not always in the order in which they were sent."""
        assert len(self.rids) == len(self.messages) and None not in self.rids
        return [m for _, m in sorted(zip(self.rids, self.messages), key=lambda pair: pair[0])]

    def kill(self):
        """The browser crashes: its connections break, nothing is said."""
        self.process.kill()
        self.process.wait()

    def close(self):
        self.kill()
        self.process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- events

    def _read(self):
        with self.process.stdout as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _until(self, done, seconds, what):
        end = time.monotonic() + seconds * SLOW
        while not done():
            try:
                event = self._events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError("client: not within %.0f s: %s; statuses %s; log %s" % (
                    seconds * SLOW, what, self.statuses, self.logs[-5:])) from None
            assert event is not None, "client: node ended while waiting for %s; log %s" % (what, self.logs[-5:])
            self._note(event)

    def _note(self, event):
        kind = event.get("event")
        if kind == "status":
            self.statuses.append((event["status"], event["condition"]))
        elif kind == "message":
            self.messages.append((event["from"], event["body"]))
            self.rids.append(event.get("rid"))
        elif kind == "log":
            self.logs.append("%(level)s: %(text)s" % event)
        elif kind == "ready":
            self._ready = True
        else:
            self._results[event["id"]] = event
