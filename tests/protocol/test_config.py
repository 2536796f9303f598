"""Configuration: `-t`, and errors that name file, line, column, key and what was meant."""

import os
import re
import subprocess

import pytest

from support.holdline import Holdline, binary, check_conf

GOOD = """\
domains:
  example.test:
    servers: [ "127.0.0.1:5222" ]
    tls: none
"""


def test_good_file_passes():
    code, out, _ = check_conf(GOOD)
    assert code == 0, out


def test_t_says_what_it_would_do():
    code, out, _ = check_conf(GOOD)
    assert code == 0 and "example.test" in out and "max_wait" in out and "5280" in out


@pytest.mark.parametrize("option", ["-t", "--test"])
def test_long_and_short_option(option):
    assert check_conf(GOOD, (option,))[0] == 0


def test_errors_have_file_line_column_and_suggestion():
    code, out, path = check_conf(GOOD + "bosh:\n  wiat: 3\n")
    assert code != 0
    assert re.search(r"%s:6:3: .*wiat.*unknown key" % re.escape(path), out), out


def test_unknown_key_suggests_the_right_one():
    out = check_conf(GOOD + "bosh:\n  max_wiat: 3\n")[1]
    assert 'did you mean "max_wait"' in out, out


# (text, line, column, what must be named)
BAD = [
    (GOOD + "nonsense: 1\n", 5, 1, "nonsense"),
    (GOOD + "bosh:\n  max_wait: abc\n", 6, 13, "max_wait"),
    (GOOD + "bosh:\n  max_wait: -5\n", 6, 13, "max_wait"),
    (GOOD + "bosh:\n  max_wait: 99999999999\n", 6, 13, "max_wait"),
    (GOOD + "bosh:\n  max_wait: 1.5\n", 6, 13, "max_wait"),
    (GOOD + "bosh:\n  max_wait: [1]\n", 6, 13, "max_wait"),
    (GOOD + "bosh:\n  max_wait: 0100\n", 6, 13, "max_wait"),
    (GOOD + "bosh: 5\n", 5, 7, "bosh"),
    (GOOD + "bosh:\n  allow_route: maybe\n", 6, 16, "allow_route"),
    (GOOD + "bosh:\n  overactivity: sometimes\n", 6, 17, "overactivity"),
    (GOOD + "log: { level: loud }\n", 5, 15, "level"),
    (GOOD + "http:\n  listen:\n    - { address: \"::\", prot: 5280 }\n", 7, 24, "prot"),
    (GOOD + "http:\n  listen:\n    - { address: \"::\", port: 70000 }\n", 7, 30, "port"),
    (GOOD.replace("none", "sideways"), 4, 10, "tls"),
    (GOOD.replace("servers", "serverz"), 3, 5, "serverz"),
    (GOOD + "bosh:\n  max_wait: 5\n  max_wait: 6\n", 7, 3, "max_wait"),
    (GOOD + "bosh:\n  path: http-bind\n", 6, 9, "path"),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_setting_is_named_at_its_place(number):
    text, line, column, name = BAD[number]
    code, out, path = check_conf(text)
    assert code != 0, out
    assert "%s:%d:%d: " % (path, line, column) in out, out
    assert name in out


@pytest.mark.parametrize("text", ["domains: { a: \n", "domains:\n\tx: 1\n", "a: 'b\n", "{{{{", b"\xff\xfe\x00"])
def test_bad_yaml_is_placed(text):
    code, out, path = check_conf(text)
    assert code != 0
    assert re.search(re.escape(path) + r":\d+:\d+: ", out), out


def test_no_domains_is_an_error():
    for text in ("", "# nothing\n", "domains: {}\n", "bosh: { max_wait: 5 }\n"):
        code, out, path = check_conf(text)
        assert code != 0 and "domains" in out and path in out, out


def test_several_errors_are_all_told():
    out = check_conf(GOOD + "bosh:\n  max_wait: x\n  polling: y\nlog: { to: nowhere }\n")[1]
    assert "max_wait" in out and "polling" in out and "to" in out and len(out.strip().splitlines()) >= 3


def test_missing_file_is_named():
    code, out, path = check_conf(None)
    assert code != 0 and path in out and "No such file" in out


def test_bad_configuration_stops_the_start():
    h = Holdline({"example.test": {"servers": ["127.0.0.1:1"]}}, start=False)
    h.write_conf(GOOD + "oops: 1\n")
    r = subprocess.run([binary(), "-c", h.conf_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode != 0 and b"holdline.yaml:5:1: " in r.stdout
    h.cleanup()


def test_missing_certificate_is_told_with_its_name():
    h = Holdline({"example.test": {}}, tls_cert=("/nonexistent/cert.pem", "/nonexistent/key.pem"), start=False)
    r = subprocess.run([binary(), "-t", "-c", h.conf_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode != 0 and b"/nonexistent/cert.pem" in r.stdout
    h.cleanup()


def test_port_in_use_is_told():
    with Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}) as h:
        twin = Holdline({"example.test": {}}, start=False)
        twin.conf["http"]["listen"] = h.conf["http"]["listen"]
        twin.write_conf()
        r = subprocess.run([binary(), "-c", twin.conf_path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
        assert r.returncode != 0
        assert b"5280" in r.stdout and b"in use" in r.stdout, r.stdout
        twin.cleanup()


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(option):
    r = subprocess.run([binary(), option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode == 0
    for word in (b"--config", b"--daemon", b"--nodaemon", b"--test", b"--version", b"--help"):
        assert word in r.stdout


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_version(option):
    r = subprocess.run([binary(), option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode == 0 and re.search(rb"\d+\.\d+", r.stdout)


def test_unknown_option_is_refused():
    r = subprocess.run([binary(), "--nonsense"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    assert r.returncode not in (0, None) and b"nonsense" in r.stdout


def test_log_json_is_json():
    import json
    with Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}, log={"format": "json"}) as h:
        lines = [line for line in h.log().splitlines() if line.strip()]
        assert lines
        for line in lines:
            assert isinstance(json.loads(line), dict), line


@pytest.mark.parametrize("level", ["LOG_DEBUG", "debug", "LOG_INFO", "warning", "LOG_EMERG"])
def test_log_level_spellings(level):
    assert check_conf(GOOD + "log: { level: %s }\n" % level)[0] == 0


def test_log_level_is_obeyed():
    with Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}, log={"level": "error"}) as h:
        assert not h.log_lines(" (debug|info|notice|warning) ")


def test_status_and_health():
    with Holdline({"example.test": {"servers": ["127.0.0.1:1"], "tls": "none"}}) as h:
        assert h.healthz()[0] == 200
        status = h.status()
        assert isinstance(status, dict) and status
        assert len(h.worker_pids("bosh")) == 1 and len(h.worker_pids("connector")) == 1 and len(h.worker_pids("status")) == 1


def test_shipped_configurations_are_good():
    """Every file in conf/ passes -t, except for certificates that do not exist here."""
    from support.holdline import REPO
    found = 0
    for name in sorted(os.listdir(os.path.join(REPO, "conf"))):
        if name.endswith((".yaml", ".yml")):
            r = subprocess.run([binary(), "-t", "-c", os.path.join(REPO, "conf", name)], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, timeout=20)
            lines = [line for line in r.stdout.decode().splitlines() if re.search(r":\d+:\d+: ", line) and "cannot be read: No such file" not in line]
            assert r.returncode == 0 or not lines, "%s: %s" % (name, r.stdout.decode())
            found += 1
    assert found > 0
