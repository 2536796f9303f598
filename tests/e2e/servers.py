"""Private copies of Debian's Prosody and ejabberd: own loopback address, own directory, own certificate, no system service.

    with Certs() as certs, Prosody(certs) as server:
        alice = server.account()           -> Account(name, password, jid)
        server.address, CLIENT_PORT        -> STARTTLS, certificate for server.domain signed by certs.ca
        server.address, DIRECT_PORT        -> direct TLS
        server.bosh_url, server.ws_url     -> the server's own BOSH and WebSocket, against which the clients here are proven
        server.restart()                   -> same address, same ports, same accounts

Both run as the user that starts them, root or not. Environment: HOLDLINE_KEEP=1 keeps the directories.
"""

import collections
import glob
import http.client
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile

from support.net import SLOW, next_address, wait_until

CLIENT_PORT = 5222
DIRECT_PORT = 5223
BOSH_PORT = 5280
API_PORT = 5285

Account = collections.namedtuple("Account", "name password jid domain")


class Server:
    """What both servers share: a directory, one process, accounts, start, stop, restart."""

    kind = None
    domain = None
    ports = (CLIENT_PORT, DIRECT_PORT, BOSH_PORT)

    def __init__(self, certs, start=True):
        self.certs = certs
        self.address = next_address()
        self.dir = tempfile.mkdtemp(prefix="holdline-%s-" % self.kind)
        self.log_path = os.path.join(self.dir, "server.log")
        self.output_path = os.path.join(self.dir, "output.log")
        self.bosh_url = "http://%s:%d%s" % (self.address, BOSH_PORT, self.bosh_path)
        self.ws_url = "ws://%s:%d%s" % (self.address, BOSH_PORT, self.ws_path)
        self.process = None
        self.accounts = {}
        self._names = itertools.count(1)
        self.certificate, self.key = certs.valid(self.domain)
        self.write_conf()
        if start:
            self.start()

    def route(self, **more):
        """The entry of Holdline's `domains` mapping for this server."""
        route = {"servers": ["%s:%d" % (self.address, CLIENT_PORT)], "tls": "starttls", "verify": True,
                 "ca_file": self.certs.ca}
        route.update(more)
        return {self.domain: {key: value for key, value in route.items() if value is not None}}

    def account(self):
        """A fresh account."""
        name = "user%d" % next(self._names)
        password = secrets.token_urlsafe(12)
        self.add_account(name, password)
        return Account(name, password, "%s@%s" % (name, self.domain), self.domain)

    def start(self, seconds=60):
        """Starts the server and waits until all its ports accept."""
        # The kernel ends the server when this process dies without having stopped it.
        command = ["setpriv", "--pdeathsig", "KILL", *self.command()]
        with open(self.output_path, "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir,
                                            env={**os.environ, **self.environment()}, start_new_session=True)
        try:
            wait_until(self._ready, seconds, "%s accepts on %s, ports %s" % (self.kind, self.address, self.ports), 0.05)
        except BaseException:
            self.explain()
            self.kill()
            raise

    def stop(self, seconds=30):
        """SIGTERM: the server ends its streams in good order."""
        self._end(signal.SIGTERM, seconds)

    def kill(self):
        """SIGKILL: the connections break."""
        self._end(signal.SIGKILL, 10)

    def restart(self):
        self.stop()
        self.start()

    def explain(self):
        for path in (self.output_path, self.log_path):
            print("---- the end of %s" % path)
            try:
                with open(path, errors="replace") as f:
                    print("\n".join(f.read().splitlines()[-40:]))
            except OSError:
                print("(no such file)")

    def close(self):
        self.kill()
        if not os.environ.get("HOLDLINE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _ready(self):
        assert self.process.poll() is None, "%s ended with %s" % (self.kind, self.process.returncode)
        for port in self.ports:
            try:
                socket.create_connection((self.address, port), timeout=2).close()
            except OSError:
                return False
        return True

    def _end(self, number, seconds):
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("%s did not end within %s s" % (self.kind, seconds * SLOW)) from None
        finally:
            self.process = None


class Prosody(Server):
    kind = "prosody"
    domain = "prosody.test"
    bosh_path = "/http-bind"
    ws_path = "/xmpp-websocket"

    def command(self):
        return ["prosody", "-F", "--config", os.path.join(self.dir, "prosody.cfg.lua")]

    def environment(self):
        return {}

    def write_conf(self):
        os.mkdir(os.path.join(self.dir, "data"))
        with open(os.path.join(self.dir, "prosody.cfg.lua"), "w") as f:
            f.write(PROSODY_CONF.format(
                address=self.address, dir=self.dir, log=self.log_path, domain=self.domain, certificate=self.certificate,
                key=self.key, client=CLIENT_PORT, direct=DIRECT_PORT, bosh=BOSH_PORT))

    def add_account(self, name, password):
        self.accounts[name] = password
        host = "".join(c if c.isalnum() else "%%%02x" % ord(c) for c in self.domain)
        accounts = os.path.join(self.dir, "data", host, "accounts")
        os.makedirs(accounts, exist_ok=True)
        with open(os.path.join(accounts, name + ".dat"), "w") as f:
            f.write('return { ["password"] = "%s" };\n' % password)


PROSODY_CONF = """\
run_as_root = true
daemonize = false
pidfile = "{dir}/prosody.pid"
data_path = "{dir}/data"
certificates = "{dir}"
log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{log}" }} }}
interfaces = {{ "{address}" }}
local_interfaces = {{ "{address}" }}
c2s_ports = {{ {client} }}
c2s_direct_tls_ports = {{ {direct} }}
http_ports = {{ {bosh} }}
https_ports = {{ }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "bosh", "websocket", "smacks" }}
modules_disabled = {{ "s2s" }}
authentication = "internal_plain"
c2s_require_encryption = true
consider_bosh_secure = true
consider_websocket_secure = true
ssl = {{ certificate = "{certificate}", key = "{key}" }}
VirtualHost "{domain}"
"""


class Ejabberd(Server):
    """Run by the Erlang runtime itself, without distribution: no node name, no epmd, no cookie. Accounts are made over
    its HTTP API, which listens on the same private address."""

    kind = "ejabberd"
    domain = "ejabberd.test"
    bosh_path = "/bosh"
    ws_path = "/ws"
    ports = (CLIENT_PORT, DIRECT_PORT, BOSH_PORT, API_PORT)

    def command(self):
        return ["erl", "-noinput", "-mnesia", "dir", '"%s"' % os.path.join(self.dir, "spool"), "-s", "ejabberd",
                "+S", "2:2", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]

    def environment(self):
        found = glob.glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")
        assert found, "ejabberd is not installed (init/deps.sh test)"
        return {
            "ERL_LIBS": os.path.dirname(os.path.dirname(os.path.dirname(found[0]))),
            "EJABBERD_CONFIG_PATH": os.path.join(self.dir, "ejabberd.yml"),
            "EJABBERD_LOG_PATH": self.log_path,
            "ERL_CRASH_DUMP": os.path.join(self.dir, "erl_crash.dump"),
            "HOME": self.dir,
        }

    def write_conf(self):
        os.mkdir(os.path.join(self.dir, "spool"))
        combined = os.path.join(self.dir, "server.pem")
        with open(combined, "w") as out:
            for path in (self.certificate, self.key):
                with open(path) as f:
                    out.write(f.read())
        with open(os.path.join(self.dir, "ejabberd.yml"), "w") as f:
            f.write(EJABBERD_CONF.format(
                address=self.address, domain=self.domain, certificate=combined, client=CLIENT_PORT,
                direct=DIRECT_PORT, bosh=BOSH_PORT, api=API_PORT))

    def start(self, seconds=60):
        super().start(seconds)
        wait_until(lambda: self.api("status", {})[0] == 200, seconds, "ejabberd's API says that it has started", 0.05)
        for name, password in self.accounts.items():  # a killed Mnesia forgets what it had not written yet
            self._register(name, password, (200, 409))

    def add_account(self, name, password):
        self._register(name, password, (200,))

    def _register(self, name, password, good):
        status, text = self.api("register", {"user": name, "host": self.domain, "password": password})
        assert status in good, "register %s: %s %s" % (name, status, text)
        self.accounts[name] = password

    def api(self, command, arguments):
        """Calls a command of ejabberd's HTTP API: (HTTP status, text)."""
        c = http.client.HTTPConnection(self.address, API_PORT, timeout=30 * SLOW)
        try:
            c.request("POST", "/api/" + command, json.dumps(arguments), {"Content-Type": "application/json"})
            r = c.getresponse()
            return r.status, r.read().decode()
        except (OSError, http.client.HTTPException) as e:
            return 0, str(e)
        finally:
            c.close()


EJABBERD_CONF = """\
hosts: [ "{domain}" ]
loglevel: info
certfiles: [ "{certificate}" ]
auth_method: internal
auth_password_format: plain
listen:
  - {{ port: {client}, ip: "{address}", module: ejabberd_c2s, starttls_required: true, max_stanza_size: 1000000 }}
  - {{ port: {direct}, ip: "{address}", module: ejabberd_c2s, tls: true, max_stanza_size: 1000000 }}
  - {{ port: {bosh}, ip: "{address}", module: ejabberd_http, request_handlers: {{ /bosh: mod_bosh, /ws: ejabberd_http_ws }} }}
  - {{ port: {api}, ip: "{address}", module: ejabberd_http, request_handlers: {{ /api: mod_http_api }} }}
api_permissions:
  all: {{ from: mod_http_api, who: all, what: "*" }}
modules:
  mod_bosh: {{}}
  mod_disco: {{}}
  mod_roster: {{}}
  mod_ping: {{}}
  mod_stream_mgmt: {{}}
"""

SERVERS = {"prosody": Prosody, "ejabberd": Ejabberd}
