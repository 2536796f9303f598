"""What the benchmarks measure and measure with: the stub upstream, a private Holdline, a private Prosody, their
processes' memory, and the load generator's runs."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from support.holdline import Holdline
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


def pss_kb(pids):
    """Proportional set size of the processes together, kB."""
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


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
    """Holdline as users run it (log level info), in front of the stub."""

    name = "Holdline"

    def __init__(self, stub):
        with core(SERVER_CORE):
            self.holdline = Holdline({DOMAIN: {"servers": [stub.where], "tls": "none"}}, log={"level": "info"})
        self.address = self.holdline.http
        self.path = "/http-bind"

    def pids(self):
        return family(self.holdline.pid)

    def close(self):
        self.holdline.stop()


class ProsodyServer:
    """Prosody's own BOSH: no upstream, memory storage, any password, only the modules that the work needs."""

    name = "Prosody"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="bench-prosody-")
        self.address = (next_address(), 5280)
        self.path = "/http-bind"
        self.log = os.path.join(self.dir, "prosody.log")
        os.mkdir(os.path.join(self.dir, "data"))
        conf = os.path.join(self.dir, "prosody.cfg.lua")
        with open(conf, "w") as f:
            f.write(PROSODY_CONF.format(dir=self.dir, address=self.address[0], plugins=os.path.join(HERE, "prosody"),
                                        domain=DOMAIN))
        with open(os.path.join(self.dir, "output.log"), "wb") as out:
            self.child = Child(["prosody", "-F", "--config", conf], SERVER_CORE, stdin=subprocess.DEVNULL, stdout=out,
                               stderr=out)
        wait_until(self._ready, 20, "Prosody accepts on %s:%d (logs in %s)" % (*self.address, self.dir), 0.05)

    def _ready(self):
        import socket
        assert self.child.process.poll() is None, "prosody ended; logs in %s" % self.dir
        try:
            socket.create_connection(self.address, timeout=1).close()
        except OSError:
            return False
        return True

    def pids(self):
        return family(self.child.process.pid)

    def close(self):
        self.child.close()
        shutil.rmtree(self.dir, ignore_errors=True)

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
https_ports = {{ }}
modules_enabled = {{ "saslauth", "bosh", "bench_push" }}
modules_disabled = {{ "s2s", "tls", "offline" }}
authentication = "insecure"
insecure_open_authentication = "Yes please, I know what I'm doing!"
storage = "memory"
allow_unencrypted_plain_auth = true
c2s_require_encryption = false
consider_bosh_secure = true
VirtualHost "{domain}"
"""

COUNTS = ("lost", "doubled", "reordered", "foreign", "damaged", "overrun", "errors")


def faults_of(result):
    """What makes a run not count: {count: number}, empty when all is well."""
    return {name: result[name] for name in COUNTS if result[name] != 0}


def run_load(build, where, path, args, pids=(), on_event=None):
    """One run of the generator. on_event(event) is called at each stage and at the start of the measured window; after a
    stage the generator goes on when it returns. Returns the generator's account, with its exit status in `status`."""
    command = [os.path.join(build, "bench", "bosh_load"), "--sources", "200", "--domain", DOMAIN, *map(str, args)]
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
    assert result is not None, "bosh_load ended with %s and without an account" % status
    assert (status == 0) == (not faults_of(result)), "bosh_load: status %s, account %s" % (status, result)
    result["status"] = status
    return result
