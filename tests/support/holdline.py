"""Starts and stops one private Holdline: own loopback address, own directory, own log.

    with Holdline({"example.test": {"servers": ["127.1.2.3:5222"], "tls": "none"}}, bosh={"max_wait": 2}) as h:
        h.http      -> ("127.a.b.c", 5280)
        h.status()  -> the JSON of /status

Environment: HOLDLINE_BIN (default build/holdline of this tree), HOLDLINE_SLOW (factor on deadlines), HOLDLINE_WRAP
(a command put in front, e.g. "valgrind --trace-children=yes"), HOLDLINE_KEEP=1 (keep directories).
"""

import copy
import getpass
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile

from .net import SLOW, next_address, wait_until

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

HTTP_PORT = 5280
HTTPS_PORT = 5281
WS_PORT = 5282
WSS_PORT = 5283
STATUS_PORT = 5290

# Lines that must never stand in the log of an orderly run.
BAD_LOG = re.compile(r"assert|AddressSanitizer|UndefinedBehavior|runtime error|LeakSanitizer|Segmentation|core dumped")


def binary():
    """The holdline program under test."""
    return os.environ.get("HOLDLINE_BIN") or os.path.join(REPO, "build", "holdline")


def merge(base, over):
    """A copy of base with over put on top, mapping by mapping; a value of None removes the key."""
    out = copy.deepcopy(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


class Holdline:
    """One running Holdline. Sections of the configuration are given as keyword arguments and merged over the defaults."""

    def __init__(self, domains=None, tls_cert=None, start=True, env=None, ws=False, **sections):
        """domains: the `domains` mapping. tls_cert: (certificate, key) adds an https listener on HTTPS_PORT. ws: adds
        WebSocket listeners, plain on WS_PORT and, with tls_cert, TLS on WSS_PORT; a mapping is added to each of them."""
        self.address = next_address()
        self.dir = tempfile.mkdtemp(prefix="holdline-test-")
        os.chmod(self.dir, 0o755)
        self.run_dir = os.path.join(self.dir, "run")
        os.mkdir(self.run_dir, 0o755)
        self.conf_path = os.path.join(self.dir, "holdline.yaml")
        self.log_path = os.path.join(self.dir, "holdline.log")
        self.http = (self.address, HTTP_PORT)
        self.https = (self.address, HTTPS_PORT)
        self.ws = (self.address, WS_PORT)
        self.wss = (self.address, WSS_PORT)
        self.status_address = (self.address, STATUS_PORT)
        self.env = env or {}
        self.process = None
        self._log_file = None
        base = self._defaults(domains or {})
        if tls_cert:
            base["tls"] = {"certificates": [{"certificate": tls_cert[0], "key": tls_cert[1]}]}
            base["http"]["listen"].append({"address": self.address, "port": HTTPS_PORT, "tls": True})
        if ws is not False:
            more = {} if ws is True else ws
            base["websocket"]["listen"].append({"address": self.address, "port": WS_PORT, **more})
            if tls_cert:
                base["websocket"]["listen"].append({"address": self.address, "port": WSS_PORT, "tls": True, **more})
        self.conf = merge(base, sections)
        self.write_conf()
        if start:
            try:
                self.start()
            except BaseException:
                self._kill()
                self.explain()
                raise

    def _defaults(self, domains):
        return {
            "user": "nobody" if os.geteuid() == 0 else getpass.getuser(),
            "run_dir": self.run_dir,
            "http": {"listen": [{"address": self.address, "port": HTTP_PORT}]},
            "websocket": {"listen": []},
            "domains": domains,
            "limits": {"sessions_per_address": 100000, "new_sessions_per_second": 100000},
            "status": {"address": self.address, "port": STATUS_PORT},
            "log": {"level": "debug", "to": "stderr", "format": "text"},
        }

    def write_conf(self, text=None):
        """Writes the configuration: self.conf as JSON (which is YAML), or the given text."""
        with open(self.conf_path, "w") as f:
            f.write(text if text is not None else json.dumps(self.conf, indent=2) + "\n")

    def start(self, seconds=15):
        """Starts the supervisor and waits until /healthz says 200."""
        self._log_file = open(self.log_path, "ab")
        command = shlex.split(os.environ.get("HOLDLINE_WRAP", "")) + [binary(), "-c", self.conf_path]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log_file,
                                        stderr=self._log_file, env={**os.environ, **self.env}, cwd=self.dir)
        self.wait_healthy(seconds)

    def wait_healthy(self, seconds=15):
        """Waits until /healthz says 200, or fails early when the supervisor has ended."""
        def ready():
            assert self.process.poll() is None, "holdline ended with %s" % self.process.returncode
            return self.healthz()[0] == 200
        wait_until(ready, seconds, "/healthz says 200", 0.02)

    @property
    def pid(self):
        return self.process.pid

    def get(self, path):
        """GET on the status endpoint: (status, body text); (0, reason) when nobody answers."""
        c = http.client.HTTPConnection(*self.status_address, timeout=5 * SLOW)
        try:
            c.request("GET", path)
            r = c.getresponse()
            return r.status, r.read().decode()
        except (OSError, http.client.HTTPException) as e:
            return 0, str(e)
        finally:
            c.close()

    def healthz(self):
        return self.get("/healthz")

    def status(self):
        """The JSON of /status as a dict."""
        status, text = self.get("/status")
        assert status == 200, "/status: %s %s" % (status, text)
        return json.loads(text)

    def log(self):
        """All that the processes have written so far."""
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def log_size(self):
        """A place in the log, for `since`."""
        return len(self.log())

    def log_lines(self, pattern, since=0):
        """Log lines behind `since` that match the regular expression."""
        return [line for line in self.log()[since:].splitlines() if re.search(pattern, line)]

    def wait_log(self, pattern, seconds=5, count=1, since=0):
        """Waits until at least count log lines behind `since` match, and returns them."""
        def enough():
            lines = self.log_lines(pattern, since)
            return lines if len(lines) >= count else None
        return wait_until(enough, seconds, "log line /%s/ in %s" % (pattern, self.log_path), 0.02)

    def worker_pids(self, name):
        """Process ids of the running workers of that name ("bosh" or "holdline-bosh"), children of the supervisor."""
        full = name if name.startswith("holdline") else "holdline-" + name
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and _parent(int(entry)) == self.process.pid and _name(int(entry)) == full:
                found.append(int(entry))
        return sorted(found)

    def stop_for_change(self, change):
        """Stops in order, lets change(conf) edit the configuration, writes it and starts again."""
        self._orderly_stop(15)
        self._kill()
        change(self.conf)
        self.write_conf()
        self.start()

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self, seconds=15):
        """SIGTERM, exit status 0 within the deadline, no process left over, nothing bad in the log."""
        if self.process is None:
            return
        try:
            self._orderly_stop(seconds)
        except BaseException:
            self._kill()
            self.explain()
            raise
        finally:
            self._kill()
        self.cleanup()

    def _orderly_stop(self, seconds):
        assert self.process.poll() is None, "holdline had ended before, with %s" % self.process.returncode
        workers = self._children()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError("holdline did not end within %s s of SIGTERM" % (seconds * SLOW))
        assert code == 0, "holdline ended with status %d" % code
        left = [p for p in workers if _parent(p) is not None and _name(p).startswith("holdline-")]
        assert not left, "workers outlived the supervisor: %s" % left
        bad = self.log_lines(BAD_LOG)
        assert not bad, "bad lines in the log: %s" % bad[:5]

    def _children(self):
        return [int(e) for e in os.listdir("/proc") if e.isdigit() and _parent(int(e)) == self.process.pid]

    def _kill(self):
        """Makes sure that nothing of ours keeps running; ends only processes started here."""
        if self.process and self.process.poll() is None:
            workers = self._children()
            self.process.kill()
            self.process.wait()
            for p in workers:
                if _name(p).startswith("holdline-"):
                    try:
                        os.kill(p, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
        if self._log_file:
            self._log_file.close()
            self._log_file = None
        self.process = None

    def explain(self):
        """Prints where to look after a failure, and the end of the log."""
        print("holdline: configuration %s, log %s" % (self.conf_path, self.log_path))
        try:
            print("---- last lines of the log\n" + "\n".join(self.log().splitlines()[-60:]))
        except OSError:
            print("(no log)")

    def cleanup(self):
        if not os.environ.get("HOLDLINE_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.explain()
            self._kill()
            return False
        self.stop()
        return False


def check_conf(text, args=("-t",), seconds=10):
    """Runs `holdline -t -c FILE` on the text: (exit status, output, path of the file)."""
    directory = tempfile.mkdtemp(prefix="holdline-conf-")
    path = os.path.join(directory, "holdline.yaml")
    try:
        if text is not None:
            with open(path, "wb") as f:
                f.write(text if isinstance(text, bytes) else text.encode())
        r = subprocess.run([binary(), *args, "-c", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=seconds * SLOW)
        return r.returncode, r.stdout.decode(errors="replace"), path
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _parent(pid):
    """Parent's process id; None when the process is gone or a zombie."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[1])


def _name(pid):
    """Name of the program that runs as pid; "" when it is gone."""
    try:
        return os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(" (deleted)", "")
    except OSError:
        pass
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return os.path.basename(f.read().split(b"\0")[0].decode(errors="replace").split(":")[0])
    except OSError:
        return ""
