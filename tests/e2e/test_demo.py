"""`make run`, as far as a test can see: the proof, Ctrl-C, one at a time, as root and as an ordinary user."""

import fcntl
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile

import pytest

from support.holdline import REPO, binary
from support.net import SLOW, wait_until

SCRIPT = os.path.join(REPO, "init", "demo.sh")


@pytest.fixture(autouse=True)
def alone():
    """The demo has fixed ports: one of these tests at a time on this machine."""
    with open(os.path.join(tempfile.gettempdir(), "holdline-demo-test.lock"), "a") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def environment(**more):
    """The binaries under test are taken as they are: nothing is built here."""
    return {**os.environ, "B": os.path.dirname(binary()), "MAKE": "true", **more}


def run_once(script=SCRIPT, command=(), **env):
    return subprocess.run([*command, script], env=environment(HOLDLINE_DEMO_ONCE="1", **env), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=90 * SLOW)


def check_output(text):
    assert re.search(r"^run: proved: alice@demo.localhost/\S+ logged in with SCRAM-SHA-256 and got its own message back",
                     text, re.M), text
    for word in ("http://127.0.0.1:5280/http-bind", "http://127.0.0.1:5290/status", "wonderland", "bob@", "Ctrl-C"):
        assert word in text, text


def test_proves_the_line_twice():
    for _ in range(2):
        r = run_once()
        assert r.returncode == 0, r.stdout
        check_output(r.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_of_it(number):
    with tempfile.TemporaryFile("w+") as out:
        p = subprocess.Popen([SCRIPT], env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                             start_new_session=True)
        try:
            wait_shown(p, lambda: os.pread(out.fileno(), 1 << 16, 0).decode())
            started = children(p.pid)
            assert len(started) >= 2, started
            second = run_once()
            assert second.returncode == 1
            assert "it is running already (process %d)" % p.pid in second.stdout, second.stdout
            p.send_signal(number)
            assert p.wait(30 * SLOW) == 0
        finally:
            p.kill()
            p.wait()
    assert not [c for c in started if os.path.exists("/proc/%d" % c)]


def test_ctrl_c_on_a_terminal():
    """The caller (make) is in the foreground too, and must not be hit: the demo has a process group of its own."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execvpe("make", ["make", "-s", "-C", REPO, "run", "B=" + os.path.dirname(binary()), "MAKE=true"],
                   environment())
    shown = b""

    def screen():
        nonlocal shown
        try:
            shown += os.read(fd, 65536)
        except OSError:
            pass
        return shown.decode(errors="replace")

    try:
        wait_until(lambda: "stop       Ctrl-C" in screen(), 60, "the demo's last line")
        os.write(fd, b"\x03")
        wait_until(lambda: "run: ended" in screen(), 30, "the end")
        _, status = os.waitpid(pid, 0)
        pid = None
        assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
    finally:
        os.close(fd)
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_as_an_ordinary_user():
    """In a copy of the tree that belongs to that user."""
    top = tempfile.mkdtemp(prefix="holdline-demo-")
    try:
        os.chmod(top, 0o755)
        for name in ("init", "conf", "tests/e2e"):
            shutil.copytree(os.path.join(REPO, name), os.path.join(top, name), symlinks=True)
        shutil.copytree(os.path.dirname(binary()), os.path.join(top, "bin"),
                        ignore=lambda d, names: [n for n in names if not n.startswith("holdline")])
        subprocess.run(["chown", "-R", "nobody", top], check=True)
        r = run_once(os.path.join(top, "init", "demo.sh"),
                     ["setpriv", "--reuid", "nobody", "--clear-groups", "env", "HOME=" + top], B=top + "/bin")
        assert r.returncode == 0, r.stdout
        check_output(r.stdout)
    finally:
        shutil.rmtree(top, ignore_errors=True)


def wait_shown(process, text):
    def shown():
        assert process.poll() is None, text()
        return "stop       Ctrl-C" in text()
    wait_until(shown, 60, "the demo's last line")


def children(pid):
    """All processes below pid."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        direct = [int(c) for c in f.read().split()]
    return direct + [c for d in direct for c in children(d)]
