"""A page with several Strophe.js users in headless Chromium.

    with Browser(names={"chat.example.test": "127.1.2.3"}, certificate=path) as page:
        page.login("alice", "wss://chat.example.test:5283/xmpp-websocket", account)
        page.chat("messages", "alice", other.jid, 10, 0); page.wait_messages("bob", 10)
"""

import collections
import json
import os
import shutil
import subprocess
import tempfile

from strophe import Strophe
from support.net import SLOW, next_address


class Browser(Strophe):
    """statuses and messages: as those of Strophe, by user."""

    program = "ws_browser_client.mjs"

    def __init__(self, names, certificate):
        self.directory = tempfile.mkdtemp(prefix="holdline-chromium-")
        setup = {"directory": self.directory, "address": next_address(), "names": names, "certificate": certificate}
        try:
            # The home directory too is the profile's: nothing of the user's own is read or written.
            super().__init__(None, None, {"HOLDLINE_PAGE": json.dumps(setup), "HOME": self.directory})
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise
        self.statuses = collections.defaultdict(list)
        self.messages = collections.defaultdict(list)

    def chat(self, method, *words):
        """Calls a function of the page."""
        return self.do("chat", method=method, words=words)

    def login(self, who, service, account, resource="page"):
        self.chat("login", who, service, "%s/%s" % (account.jid, resource), account.password)
        self.wait_status(who, "CONNECTED")
        return self.chat("session", who)

    def wait_status(self, who, name, seconds=30):
        self._until_well([who], lambda: name in [n for n, _ in self.statuses[who]], seconds, "%s: status %s" % (who, name))

    def wait_messages(self, who, count, seconds=60):
        self._until_well(list(self.statuses), lambda: len(self.messages[who]) >= count, seconds,
                         "%d messages for %s" % (count, who))
        return self.messages[who]

    def _until_well(self, users, done, seconds, what):
        """Fails as soon as one of these users has lost its connection."""
        def step():
            for who in users:
                names = {n for n, _ in self.statuses[who]}
                assert not names & {"CONNFAIL", "AUTHFAIL", "DISCONNECTED"}, (who, self.statuses[who], self.logs[-20:])
            return done()
        self._until(step, seconds, what)

    def kill(self):
        """The driver closes the browser with its own end (the browser notices the end of its pipe)."""
        self.process.stdin.close()
        try:
            self.process.wait(15 * SLOW)
        except subprocess.TimeoutExpired:
            super().kill()

    def close(self):
        self.kill()
        if not os.environ.get("HOLDLINE_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)

    def _note(self, event):
        if event.get("event") == "status":
            self.statuses[event["who"]].append((event["status"], event["condition"]))
        elif event.get("event") == "message":
            self.messages[event["who"]].append((event["from"], event["body"]))
        else:
            super()._note(event)
