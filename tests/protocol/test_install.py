"""make install and uninstall: with another prefix than that of the build, the programs find each other and their files."""

import os
import shutil
import subprocess
import tempfile

import pytest

from support import holdline
from support.holdline import Holdline

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(top):
    return sorted(os.path.relpath(os.path.join(d, f), top) for d, _, names in os.walk(top) for f in names)


@pytest.fixture
def top():
    directory = tempfile.mkdtemp(prefix="holdline-install-")
    os.chmod(directory, 0o755)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.skipif("HOLDLINE_SANITIZED" in os.environ, reason="the ordinary build is installed")
def test_install_with_a_prefix_of_its_own(top, monkeypatch):
    build = os.path.join(top, "build")
    shutil.copytree(os.path.join(ROOT, "build"), build, symlinks=True, ignore=shutil.ignore_patterns("unit", "fuzz*", "asan", "run*"))
    where = {"B": build, "prefix": top + "/usr", "sysconfdir": top + "/etc", "unitdir": top + "/units",
             "sysusersdir": top + "/sysusers", "tmpfilesdir": top + "/tmpfiles"}

    def make(target):
        r = subprocess.run(["make", "-C", ROOT, target] + ["%s=%s" % w for w in where.items()], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "MAKEFLAGS": ""}, timeout=300)
        assert r.returncode == 0, r.stdout.decode(errors="replace")

    make("install")
    shutil.rmtree(build)  # what is installed stands alone
    program = top + "/usr/sbin/holdline"
    r = subprocess.run([program, "-t"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode == 0 and (top + "/etc/holdline/holdline.yaml").encode() in r.stdout, r.stdout
    with open(top + "/units/holdline.service") as f:
        assert "ExecStart=%s -n" % program in f.read()
    monkeypatch.setattr(holdline, "binary", lambda: program)
    with Holdline({"example.test": {}}) as h:
        ctl = subprocess.run([top + "/usr/bin/holdlinectl", "-c", h.conf_path, "health"], stdout=subprocess.PIPE, timeout=20)
        assert (ctl.returncode, ctl.stdout) == (0, b"ok\n")

    with open(top + "/etc/holdline/holdline.yaml", "a") as f:
        f.write("# mine\n")
    shutil.copytree(os.path.join(ROOT, "build"), build, symlinks=True, ignore=shutil.ignore_patterns("unit", "fuzz*", "asan", "run*"))
    make("install")
    with open(top + "/etc/holdline/holdline.yaml") as f:
        assert f.read().endswith("# mine\n")
    make("uninstall")
    shutil.rmtree(build)
    assert files(top) == ["etc/holdline/holdline.yaml"]
