"""The supervisor from outside: ways to start and to end it, its workers' rights, and holdlinectl."""

import os
import pwd
import re
import signal
import socket
import subprocess
import time

import pytest

from support.bosh import BoshSession
from support.holdline import Holdline, binary
from support.net import SLOW, wait_until
from upstream.upstream import Script, Upstream

WORKERS = ("bosh", "bridge", "connector", "status")


@pytest.fixture
def h():
    with Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}) as it:
        yield it


def holdlinectl(*args):
    r = subprocess.run([os.path.join(os.path.dirname(binary()), "holdlinectl"), *args], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
    return r.returncode, r.stdout.decode()


def start_by_hand(h, *options, **kw):
    return subprocess.Popen([binary(), *options, "-c", h.conf_path], cwd=h.dir, **kw)


def end_by_hand(h):
    """For one without a log of its own."""
    h.process.send_signal(signal.SIGTERM)
    assert h.process.wait(15 * SLOW) == 0
    h.cleanup()


def proc_status(pid, key):
    with open("/proc/%d/status" % pid) as f:
        return re.search(r"^%s:\s+(.*)$" % key, f.read(), re.M).group(1).split()


def unstarted():
    return Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}, start=False)


def test_workers_have_given_up_their_rights(h):
    user = pwd.getpwnam(h.conf["user"])
    for name in WORKERS:
        for pid in h.worker_pids(name):
            assert set(proc_status(pid, "Uid")) == {str(user.pw_uid)} and set(proc_status(pid, "Gid")) == {str(user.pw_gid)}
            assert proc_status(pid, "NoNewPrivs") == ["1"]
            if "HOLDLINE_BIN" not in os.environ:  # sanitizers need more calls than the filter allows
                assert proc_status(pid, "Seccomp") == ["2"]
            for fd in os.listdir("/proc/%d/fd" % pid):
                assert "holdline.pid" not in os.readlink("/proc/%d/fd/%s" % (pid, fd))


def test_a_second_one_on_the_same_run_dir_is_refused(h):
    other = start_by_hand(h, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = other.communicate(timeout=20 * SLOW)[0].decode()
    assert other.returncode == 71 and "another holdline" in text and str(h.pid) in text, text
    assert h.healthz()[0] == 200


def test_daemon_returns_when_ready_and_ends_by_the_pid_in_its_file():
    h = unstarted()
    with open(h.log_path, "ab") as log:
        r = subprocess.run([binary(), "-d", "-c", h.conf_path], cwd=h.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                           timeout=20 * SLOW)
    assert r.returncode == 0, h.log()
    with open(os.path.join(h.run_dir, "holdline.pid")) as f:
        pid = int(f.read())
    try:
        assert h.healthz()[0] == 200  # at once: it has said that it is ready
        assert os.getsid(pid) == pid
        assert os.readlink("/proc/%d/fd/0" % pid) == "/dev/null"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: h.healthz()[0] == 0 and os.path.getsize(os.path.join(h.run_dir, "holdline.pid")) == 0, 10, "its end")
    h.cleanup()


def test_daemon_that_cannot_start_says_so(h):
    twin = unstarted()
    twin.conf["http"]["listen"] = h.conf["http"]["listen"]
    twin.write_conf()
    r = subprocess.run([binary(), "-d", "-c", twin.conf_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20 * SLOW)
    assert r.returncode == 71 and b"in use" in r.stdout, r.stdout
    twin.cleanup()


@pytest.mark.parametrize("option", ["-n", "--nodaemon"])
def test_no_daemon_stays_in_the_foreground(option):
    h = unstarted()
    with open(h.log_path, "ab") as log:
        h.process = start_by_hand(h, option, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    h.wait_healthy()
    h.stop()


def test_started_without_standard_descriptors():
    h = unstarted()
    h.process = subprocess.Popen(["/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', binary(), h.conf_path], cwd=h.dir)
    h.wait_healthy()
    for fd in range(3):
        assert os.readlink("/proc/%d/fd/%d" % (h.pid, fd)) == "/dev/null"
    with open(os.path.join(h.run_dir, "holdline.pid")) as f:
        assert int(f.read()) == h.pid
    end_by_hand(h)


def test_a_full_disk_under_the_log_stops_nothing():
    h = unstarted()
    with open("/dev/full", "wb") as full:
        h.process = start_by_hand(h, stdin=subprocess.DEVNULL, stdout=full, stderr=full)
    h.wait_healthy()
    wait_until(lambda: h.status()["total"]["log_dropped"] > 0, 5, "lines that are counted as lost")
    end_by_hand(h)


def test_readiness_is_told_to_a_service_manager():
    h = unstarted()
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = os.path.join(h.dir, "notify")
    s.bind(path)
    s.settimeout(15 * SLOW)
    h.env = {"NOTIFY_SOCKET": path}
    h.start()
    assert s.recv(100) == b"READY=1" and h.healthz()[0] == 200
    h.process.send_signal(signal.SIGTERM)
    assert s.recv(100) == b"STOPPING=1"
    assert h.process.wait(15 * SLOW) == 0
    s.close()
    h._kill()
    h.cleanup()


def test_without_sessions_the_end_comes_at_once(h):
    begin = time.monotonic()
    h.process.send_signal(signal.SIGTERM)
    assert h.process.wait(10 * SLOW) == 0
    assert time.monotonic() - begin < 1.5 * SLOW  # shutdown_timeout is 10
    h.start()


def test_a_second_sigterm_is_no_reason_to_hurry_a_second_sigint_is():
    with Upstream("example.test", script=Script(answer_close=False)) as up:
        h = Holdline({"example.test": {"servers": [up.server], "tls": "none"}})
        s = BoshSession(h.http)
        s.create()
        s.login_plain("romeo", "x")
        held = s.post()
        held.quiet(0.1)
        connector = h.worker_pids("connector")[0]
        os.kill(connector, signal.SIGSTOP)  # it will not end by itself
        h.process.send_signal(signal.SIGTERM)
        assert held.result().condition == "system-shutdown"
        time.sleep(1.2)
        h.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert h.process.poll() is None and os.path.exists("/proc/%d" % connector)
        h.process.send_signal(signal.SIGINT)
        h.process.wait(5 * SLOW)
        assert not h.worker_pids("connector")
        s.close()
        h._kill()
        h.cleanup()


def test_a_silent_worker_is_replaced(h):
    before = h.worker_pids("bosh")
    os.kill(before[0], signal.SIGSTOP)
    h.wait_log("worker-silent worker=bosh", seconds=20)
    wait_until(lambda: h.worker_pids("bosh") not in ([], before), 5, "a new holdline-bosh")
    h.wait_healthy()


def test_the_supervisors_death_ends_the_workers():
    h = unstarted()
    h.start()
    workers = h._children()
    h.process.kill()
    h.process.wait()
    wait_until(lambda: not [p for p in workers if os.path.exists("/proc/%d" % p)], 15, "the end of the workers")
    h._kill()
    h.start()  # nothing is in the way
    h.stop()


def test_holdlinectl(h):
    endpoint = "%s:%d" % h.status_address
    assert holdlinectl("-c", h.conf_path, "health") == (0, "ok\n")
    assert holdlinectl("-s", endpoint, "health") == (0, "ok\n")
    code, text = holdlinectl("--status", endpoint, "status")
    assert code == 0 and '"schema": 1' in text
    assert holdlinectl("--version")[0] == 0 and "health" in holdlinectl("--help")[1]
    for wrong in (["-c", h.conf_path, "bogus"], ["-c", h.conf_path], ["-s", "127.0.0.1", "health"], ["-x"]):
        assert holdlinectl(*wrong)[0] == 64, wrong
    assert holdlinectl("-c", "/nowhere.yaml", "health")[0] == 78
    os.kill(h.worker_pids("bosh")[0], signal.SIGSTOP)
    assert holdlinectl("-s", endpoint, "status")[0] == 0  # it needs none of the others
    os.kill(h.worker_pids("bosh")[0], signal.SIGCONT)
    os.kill(h.worker_pids("status")[0], signal.SIGSTOP)
    code, text = holdlinectl("-s", endpoint, "health")
    assert code == 69 and text, text
    os.kill(h.worker_pids("status")[0], signal.SIGCONT)


def test_holdlinectl_when_nobody_is_there():
    h = unstarted()
    code, text = holdlinectl("-c", h.conf_path, "health")
    assert code == 69 and "is holdline running?" in text
    h.cleanup()
