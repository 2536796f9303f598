"""What the benchmarks measure and measure with: the stub upstream, a private Holdline, Prosody and ejabberd,
their processes' memory, and the load generators' runs."""

import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from support.certs import Certs
from support.holdline import WS_PORT, WSS_PORT, Holdline
from support.net import next_address, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
DOMAIN = "bench.example"
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = {CORES[0]}, {CORES[-1]}


@contextlib.contextmanager
def core(cores):
    """Whatever is started inside runs on these cores only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def stat_parent(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def family(pid):
    """The process and all its descendants, oldest first: {pid: name}."""
    parents = {int(e): stat_parent(int(e)) for e in os.listdir("/proc") if e.isdigit()}
    found = [pid]
    for p in found:
        found += sorted(child for child, parent in parents.items() if parent == p)
    names = {}
    for p in found:
        with open("/proc/%d/comm" % p) as f:
            names[p] = f.read().strip().replace("holdline-connec", "holdline-connector")
    return names


def pss_by_name(pids):
    """Proportional set size, kB, of the processes {pid: name}: {name: kB}."""
    sizes = {}
    for pid, name in pids.items():
        with open("/proc/%d/smaps_rollup" % pid) as f:
            kb = sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        sizes[name] = sizes.get(name, 0) + kb
    return sizes


def pss_kb(pids):
    """The same of all together."""
    return sum(pss_by_name(pids).values())


def busy_seconds():
    """CPU seconds that all cores have been busy since the start of the machine, stolen time included."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def ours_seconds():
    """CPU seconds of this process and all its descendants that are alive or were waited for."""
    total = 0
    for pid in family(os.getpid()):
        try:
            with open("/proc/%d/stat" % pid) as f:
                total += sum(map(int, f.read().rpartition(")")[2].split()[11:15]))
        except OSError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


class Others:
    """How much of a core the rest of the machine uses: since the start, a share of one core."""

    def __init__(self):
        self.began = self.sample()

    @staticmethod
    def sample():
        return time.monotonic(), busy_seconds() - ours_seconds()

    def share(self):
        now, busy = self.sample()
        return max(0.0, (busy - self.began[1]) / max(now - self.began[0], 1e-3))

    @classmethod
    def wait_quiet(cls, patience, limit=0.1):
        """Waits until the rest of the machine uses less than the limit, at most `patience` seconds. Returns how long it
        took beyond the first look."""
        began = time.monotonic()
        looked = 0
        while time.monotonic() < began + patience:
            others = cls()
            time.sleep(0.5)
            looked += 1
            if others.share() < limit:
                break
        return time.monotonic() - began if looked > 1 else 0


class Child:
    """One process that is ended when the benchmark ends, in whatever way."""

    def __init__(self, command, cores, **more):
        with core(cores):
            self.process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], **more)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Stub:
    """The tiny upstream server."""

    def __init__(self, build):
        self.address = next_address()
        self.child = Child([os.path.join(build, "bench", "stub_upstream"), self.address + ":0"], LOAD_CORE,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ready = self.child.process.stdout.readline().split()
        assert ready and ready[0] == "ready", "stub_upstream did not start"
        self.where = ready[1]

    def close(self):
        self.child.close()


class HoldlineServer:
    """Holdline as users run it (log level info), in front of the stub. With certs also ws and wss."""

    name = "Holdline"
    bosh_path = "/http-bind"
    ws_path = "/xmpp-websocket"
    ws_faults = []

    def __init__(self, upstream, certs=None):
        """upstream: "ADDRESS:PORT" of the XMPP server."""
        sections = {}
        if certs is not None:
            certificate, key = certs.valid(DOMAIN)
            sections = {"tls": {"certificates": [{"certificate": certificate, "key": key}]}, "websocket": {"listen": []}}
        with core(SERVER_CORE):
            self.holdline = Holdline({DOMAIN: {"servers": [upstream], "tls": "none"}}, log={"level": "info"}, start=False,
                                     **sections)
            address = self.holdline.address
            if certs is not None:
                self.holdline.conf["websocket"]["listen"] = [{"address": address, "port": WS_PORT},
                                                             {"address": address, "port": WSS_PORT, "tls": True}]
                self.holdline.write_conf()
            self.holdline.start()
        self.bosh = self.holdline.http
        self.ws, self.wss = (address, WS_PORT), (address, WSS_PORT)

    def pids(self):
        return family(self.holdline.pid)

    def close(self):
        self.holdline.stop()


class Together:
    """Another server with Holdline in front of it: what both cost together."""

    def __init__(self, holdline, peer):
        self.name = "Holdline + " + peer.name
        self.holdline, self.peer = holdline, peer

    def __getattr__(self, name):
        return getattr(self.holdline, name)

    def pids(self):
        return {**self.holdline.pids(), **self.peer.pids()}


class Peer:
    """Another server's own BOSH and WebSocket: no upstream, memory storage, any password, only the modules that the work
    needs. Its certificate is of the same kind as Holdline's."""

    name = None
    ws_faults = []  # what the WebSocket generator must forgive it, as options

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="bench-%s-" % self.name.lower())
        self.address = next_address()
        self.bosh = self.ws = (self.address, 5280)
        self.wss = (self.address, 5281)
        self.c2s = (self.address, 5222)
        self.certs = Certs()
        self.certificate, self.key = self.certs.valid(DOMAIN)
        command, environment = self.prepare()
        with open(os.path.join(self.dir, "output.log"), "wb") as out:
            self.child = Child(command, SERVER_CORE, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.dir,
                               env={**os.environ, **environment})
        wait_until(self._ready, 60, "%s accepts on %s (logs in %s)" % (self.name, self.address, self.dir), 0.05)

    def prepare(self):
        """Writes what the server reads. Returns (command, environment)."""
        raise NotImplementedError

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def _ready(self):
        assert self.child.process.poll() is None, "%s ended; logs in %s" % (self.name, self.dir)
        try:
            for where in (self.ws, self.wss, self.c2s):
                socket.create_connection(where, timeout=1).close()
        except OSError:
            return False
        return True

    def pids(self):
        return family(self.child.process.pid)

    def close(self):
        self.child.close()
        self.certs.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class ProsodyServer(Peer):
    name = "Prosody"
    bosh_path = "/http-bind"
    ws_path = "/xmpp-websocket"

    def prepare(self):
        os.mkdir(os.path.join(self.dir, "data"))
        self.write("prosody.cfg.lua", PROSODY_CONF.format(
            dir=self.dir, address=self.address, plugins=os.path.join(HERE, "prosody"), domain=DOMAIN,
            certificate=self.certificate, key=self.key))
        return ["prosody", "-F", "--config", os.path.join(self.dir, "prosody.cfg.lua")], {}

    @staticmethod
    def available():
        return shutil.which("prosody") is not None


PROSODY_CONF = """\
run_as_root = true
daemonize = false
pidfile = "{dir}/prosody.pid"
data_path = "{dir}/data"
certificates = "{dir}"
log = {{ {{ levels = {{ min = "info" }}, to = "file", filename = "{dir}/prosody.log" }} }}
plugin_paths = {{ "{plugins}" }}
interfaces = {{ "{address}" }}
local_interfaces = {{ "{address}" }}
c2s_ports = {{ 5222 }}
http_ports = {{ 5280 }}
https_ports = {{ 5281 }}
ssl = {{ certificate = "{certificate}", key = "{key}" }}
https_ssl = {{ certificate = "{certificate}", key = "{key}" }}
modules_enabled = {{ "saslauth", "bosh", "websocket", "bench_push" }}
modules_disabled = {{ "s2s", "tls", "offline" }}
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
storage = "memory"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
consider_bosh_secure = true
consider_websocket_secure = true
VirtualHost "{domain}"
"""


class EjabberdServer(Peer):
    """Run by the Erlang runtime itself, on one scheduler since it has one core, without distribution."""

    name = "ejabberd"
    bosh_path = "/bosh"
    ws_path = "/ws"
    ws_faults = ["--lenient"]

    def prepare(self):
        os.mkdir(os.path.join(self.dir, "spool"))
        r = subprocess.run(["erlc", "-o", self.dir, os.path.join(HERE, "ejabberd", "mod_bench_push.erl")],
                           capture_output=True, text=True)
        assert r.returncode == 0, "erlc: %s%s" % (r.stdout, r.stderr)
        pem = ""
        for path in (self.certificate, self.key):
            with open(path) as f:
                pem += f.read()
        self.write("server.pem", pem)
        self.write("ejabberd.yml", EJABBERD_CONF.format(dir=self.dir, address=self.address, domain=DOMAIN))
        command = ["erl", "-noinput", "-pa", self.dir, "-mnesia", "dir", '"%s"' % os.path.join(self.dir, "spool"),
                   "-s", "ejabberd", "+S", "1:1", "+P", "1000000", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]
        ebin = os.path.dirname(self.found())
        return command, {"ERL_LIBS": os.path.dirname(os.path.dirname(ebin)), "HOME": self.dir,
                         "EJABBERD_CONFIG_PATH": os.path.join(self.dir, "ejabberd.yml"),
                         "EJABBERD_LOG_PATH": os.path.join(self.dir, "ejabberd.log"),
                         "ERL_CRASH_DUMP": os.path.join(self.dir, "erl_crash.dump")}

    @staticmethod
    def found():
        return next(iter(glob.glob("/usr/lib/*/ejabberd-*/ebin/ejabberd.app")), None)

    @classmethod
    def available(cls):
        return cls.found() is not None and shutil.which("erlc") is not None


EJABBERD_CONF = """\
hosts: [ "{domain}" ]
loglevel: info
certfiles: [ "{dir}/server.pem" ]
auth_method: anonymous
anonymous_protocol: login_anon
allow_multiple_connections: true
listen:
  - {{ port: 5222, ip: "{address}", module: ejabberd_c2s, max_stanza_size: 1000000 }}
  - {{ port: 5280, ip: "{address}", module: ejabberd_http, request_handlers: {{ /bosh: mod_bosh, /ws: ejabberd_http_ws }} }}
  - {{ port: 5281, ip: "{address}", module: ejabberd_http, tls: true, request_handlers: {{ /ws: ejabberd_http_ws }} }}
modules:
  mod_bosh: {{}}
  mod_bench_push: {{}}
"""

COUNTS = ("lost", "doubled", "reordered", "foreign", "damaged", "overrun", "errors")


def faults_of(result):
    """What makes a run not count: {count: number}, empty when all is well."""
    return {name: result[name] for name in COUNTS if result[name] != 0}


def run_load(build, tool, where, path, args, pids=(), on_event=None):
    """One run of a generator. on_event(event) is called at each stage and at the start of the measured window; after a
    stage the generator goes on when it returns. Returns the generator's account, with its exit status in `status`."""
    command = [os.path.join(build, "bench", tool), "--sources", "200", "--domain", DOMAIN, *map(str, args)]
    if pids:
        command += ["--pids", ",".join(map(str, pids))]
    child = Child([*command, "%s:%d%s" % (*where, path)], LOAD_CORE, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                  text=True)
    result = None
    try:
        for line in child.process.stdout:
            said = json.loads(line)
            if "event" not in said:
                result = said
                continue
            if on_event:
                on_event(said)
            if said["event"] == "stage":
                child.process.stdin.write("on\n")
                child.process.stdin.flush()
        status = child.process.wait(30)
    finally:
        child.close()
    assert result is not None, "%s ended with %s and without an account" % (tool, status)
    assert (status == 0) == (not faults_of(result)), "%s: status %s, account %s" % (tool, status, result)
    result["status"] = status
    return result
