"""SIGHUP: new certificates for https and wss, and nobody is disconnected."""

import os
import shutil
import signal
import socket
import ssl
import warnings

import pytest

from support.bosh import MESSAGE
from support.http import HttpConn
from support.line import Line
from support.net import SLOW, wait_until
from support.ws import WsConn, WsSession

BRIDGES = 2
WORKERS = BRIDGES + 1


class Files:
    """The certificates in use: two pairs, each file replaced as a certificate tool does it. Only the supervisor's user may
    read them."""

    def __init__(self, certs):
        # two generations for the same names; the kinds differ in nothing but their file names
        self.old = [certs.valid("one.test"), certs.valid("two.test")]
        self.new = [certs.wrong_name("one.test"), certs.wrong_name("two.test")]
        self.ca = certs.ca

    def settle(self, directory):
        self.dir = os.path.join(directory, "tls")
        os.mkdir(self.dir, 0o700)
        self.pairs = [tuple(os.path.join(self.dir, n + s) for s in (".pem", ".key")) for n in ("one", "two")]
        self.put(self.old)

    def put(self, pairs):
        for target, source in zip(self.pairs, pairs):
            for to, file in zip(target, source):
                if os.path.isdir(to):
                    os.rmdir(to)
                elif os.path.lexists(to):
                    os.unlink(to)
                shutil.copyfile(file, to + ".tmp")
                os.chmod(to + ".tmp", 0o600)
                os.rename(to + ".tmp", to)


@pytest.fixture(scope="module")
def files(certs):
    return Files(certs)


@pytest.fixture(scope="module")
def shared_line(files):
    line = Line(ws=True, tls_cert=files.old[0], processes={"bridge": BRIDGES})
    files.settle(line.h.dir)
    listed = [{"certificate": c, "key": k} for c, k in files.pairs]
    line.h.stop_for_change(lambda conf: conf["tls"].update(certificates=listed))
    yield line
    line.close()


@pytest.fixture(autouse=True)
def old_ones(shared_line, files):
    """Each test begins with the old certificates in force, and ends with the configuration as it was."""
    shared_line.h.write_conf()
    files.put(files.old)
    reload(shared_line)
    yield
    shared_line.h.write_conf()


def reload(line, event="certificates-reloaded count=2", count=WORKERS):
    since = line.h.log_size()
    line.h.reload()
    return line.h.wait_log(event, count=count, since=since)


def context(files, version=None):
    ctx = ssl.create_default_context(cafile=files.ca)
    if version:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ctx.minimum_version = ctx.maximum_version = version
    return ctx


def der(pair):
    with open(pair[0]) as f:
        return ssl.PEM_cert_to_DER_cert(f.read())


def served(address, files, name="one.test"):
    """The certificate that a new connection gets."""
    with HttpConn(address, tls=context(files), server_hostname=name) as c:
        return c.sock.getpeercert(True)


def all_serve(line, files, pairs):
    for name, pair in zip(("one.test", "two.test"), pairs):
        assert served(line.h.https, files, name) == der(pair)
        for _ in range(4 * BRIDGES):  # whichever of them accepts
            assert served(line.h.wss, files, name) == der(pair)


def wss(line, files, name="one.test"):
    s = WsSession(line.h.wss, tls=context(files), server_hostname=name)
    line.sessions.append(s.ws)
    return s.login()


class NamedBosh:
    """Connections to https under a name."""

    def __init__(self, files, name):
        self.ctx, self.name = context(files), name

    def wrap_socket(self, sock, server_hostname=None):
        return self.ctx.wrap_socket(sock, server_hostname=self.name)


def https(line, files):
    return line.ready(line.session(address=line.h.https, tls=NamedBosh(files, "one.test")), wait="60")


def descriptors(line, workers=WORKERS):
    pids = [line.h.pid] + line.h.worker_pids("bosh") + line.h.worker_pids("bridge")
    assert len(pids) == 1 + workers
    return {p: len(os.listdir("/proc/%d/fd" % p)) for p in pids}


def all_closed(line, before):
    """No process has more open than before (what an earlier test had open may have gone)."""
    workers = len(before) - 1
    wait_until(lambda: all(n <= before[p] for p, n in descriptors(line, workers).items()),
               what="descriptors: %s, before %s" % (descriptors(line, workers), before))


def test_new_connections_get_the_new_ones_and_sessions_go_on(line, files):
    all_serve(line, files, files.old)
    w, b = wss(line, files), https(line, files)
    upstream = line.conn(b)
    w.echo("before")
    held = b.post()
    held.quiet(0.2)
    files.put(files.new)
    since = line.h.log_size()
    reload(line)
    assert line.h.wait_log("notice holdline.* reload certificates=2 workers=%d" % WORKERS, since=since)
    assert not line.h.log_lines("reload-partial|reload-failed|worker-", since)
    all_serve(line, files, files.new)
    w.echo("behind")
    held.quiet(0.2)
    upstream.send("<message xmlns='jabber:client' id='pushed'/>")
    assert [m.get("id") for m in held.result().children if m.tag == MESSAGE] == ["pushed"]
    b.request(b.message("on the same connection"))
    upstream.wait_element(MESSAGE)
    assert w.ws.sock.getpeercert(True) == der(files.old[0])
    w.close()
    b.terminate()
    assert line.h.healthz()[0] == 200


def test_a_key_that_does_not_belong_changes_nothing(line, files):
    w = wss(line, files)
    files.put([files.new[0], (files.new[1][0], files.old[1][1])])
    lines = reload(line, "error .*certificates-not-reloaded")
    assert all("%s does not belong to certificate %s" % files.pairs[1][::-1] in one for one in lines), lines
    all_serve(line, files, files.old)  # the first pair too, which was good
    w.echo("behind")
    files.put(files.new)
    reload(line)
    all_serve(line, files, files.new)
    w.echo("again")


@pytest.mark.parametrize("text", ["", "no PEM at all\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_certificate_that_is_none_changes_nothing(line, files, text):
    files.put(files.new)
    with open(files.pairs[0][0], "w") as f:
        f.write(text)
    lines = reload(line, "error .*certificates-not-reloaded")
    assert all(files.pairs[0][0] in one for one in lines), lines
    all_serve(line, files, files.old)


def missing(path):
    os.unlink(path)


def directory(path):
    os.unlink(path)
    os.mkdir(path)


def pipe(path):
    os.unlink(path)
    os.mkfifo(path)


def large(path):
    with open(path, "ab") as f:
        f.truncate((1 << 20) + 1)


@pytest.mark.parametrize("spoil,reason", [(missing, "No such file"), (directory, "Is a directory"), (pipe, "Invalid"),
                                          (large, "too large")])
def test_a_file_that_cannot_be_read_changes_nothing(line, files, spoil, reason):
    before = descriptors(line)
    files.put(files.new)
    spoil(files.pairs[1][1])
    since = line.h.log_size()
    said, = reload(line, "reload-failed", 1)
    assert " error holdline" in said and "file=%s " % files.pairs[1][1] in said and reason in said, said
    all_serve(line, files, files.old)
    assert not line.h.log_lines("certificates-", since) and not line.h.log_lines("reload certificates", since)
    all_closed(line, before)


def test_twice_in_a_row_and_many_times(line, files):
    w = wss(line, files)
    files.put(files.new)
    since = line.h.log_size()
    line.h.reload()
    line.h.reload()
    line.h.wait_log("certificates-reloaded", count=WORKERS, since=since)
    all_serve(line, files, files.new)
    before = descriptors(line)
    for i in range(20):
        files.put((files.old, files.new)[i % 2])
        reload(line)
        w.echo("time %d" % i)
    all_serve(line, files, files.new)
    all_closed(line, before)


def test_a_changed_configuration_waits_for_a_restart(line, files):
    text = open(line.h.conf_path).read()
    files.put(files.new)
    line.h.write_conf(text.replace("{", "{ ", 1))
    since = line.h.log_size()
    reload(line)
    said, = line.h.log_lines("reload-partial", since)
    assert " warning holdline" in said and "state=changed" in said and "only certificates are read again" in said, said
    all_serve(line, files, files.new)
    os.unlink(line.h.conf_path)
    since = line.h.log_size()
    reload(line)
    said, = line.h.log_lines("reload-partial", since)
    assert "No such file" in said, said
    line.h.write_conf(text)
    since = line.h.log_size()
    reload(line)
    assert not line.h.log_lines("reload-partial", since)


class Handshake:
    """A TLS handshake that goes on when it is told to."""

    def __init__(self, address, ctx):
        self.sock = socket.create_connection(address, 10 * SLOW)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_hostname="one.test")
        self.waiting = self.turn()

    def turn(self):
        """Our next bytes; None when the handshake is done."""
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            self.done = False
        return self.outgoing.read()

    def hear(self):
        """Reads until there is an answer to give."""
        while not self.waiting and not self.done:
            self.incoming.write(self.sock.recv(65536))
            self.waiting = self.turn()

    def say(self, count=None):
        self.sock.sendall(self.waiting[:count])
        self.waiting = self.waiting[count:] if count else b""

    def finish(self):
        while self.waiting or not self.done:
            if self.waiting:
                self.say()
            self.hear()
        return self.tls.getpeercert(True)

    def ask(self, request):
        self.tls.write(request)
        self.waiting = self.outgoing.read()
        self.say()
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.sock.recv(65536))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("where", ["https", "wss"])
def test_handshakes_that_have_begun_are_finished(line, files, version, where):
    address = getattr(line.h, where)
    ctx = context(files, version)
    silent, cut, half = (Handshake(address, ctx) for _ in range(3))
    cut.say(100)
    half.say()
    half.hear()  # has the certificate; its answer waits
    files.put(files.new)
    reload(line)
    reload(line)
    old, new = der(files.old[0]), der(files.new[0])
    assert half.finish() == old
    assert cut.finish() in (old, new) and silent.finish() in (old, new)
    for one in (silent, cut, half):
        assert one.ask(b"GET /none HTTP/1.1\r\nHost: one.test\r\n\r\n").startswith(b"HTTP/1.1 404 ")
        one.sock.close()
    assert served(address, files) == new


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_stay_valid(line, files, version):
    ctx = context(files, version)
    s = WsSession(line.h.wss, tls=ctx, server_hostname="one.test").login()
    files.put(files.new)
    reload(line)

    def resumed():  # tickets are a bridge's own: the one that issued it has to be met
        with ctx.wrap_socket(socket.create_connection(line.h.wss), server_hostname="one.test", session=s.ws.sock.session) as c:
            return c.session_reused
    wait_until(resumed, what="a session resumed")
    s.close()


@pytest.mark.parametrize("worker", ["bosh", "bridge"])
def test_a_worker_that_is_restarted_has_the_new_ones(line, files, worker):
    files.put(files.new)
    reload(line)
    since = line.h.log_size()
    before = line.h.worker_pids(worker)
    os.kill(before[0], signal.SIGKILL)
    line.h.wait_log("worker-restart", since=since)
    wait_until(lambda: line.h.worker_pids(worker) != before and len(line.h.worker_pids(worker)) == len(before)
               and line.h.healthz()[0] == 200, 15, "the worker is back")
    all_serve(line, files, files.new)
    files.put(files.old)
    reload(line)
    all_serve(line, files, files.old)


def test_workers_without_tls_have_nothing_to_do(certs):
    with Line(ws=True) as line:
        s = line.ws()
        since = line.h.log_size()
        line.h.reload()
        line.h.wait_log("reload certificates=0 workers=0", since=since)
        s.login()
        line.alive()
        assert not line.h.log_lines("error|warning", since)


@pytest.mark.parametrize("count,event", [(100, "certificates-reloaded count=100"), (101, "reload-failed certificates=101 most=100")])
def test_as_many_as_fit_in_a_message(files, count, event):
    with Line(ws=True, tls_cert=files.old[0]) as line:
        listed = [{"certificate": c, "key": k} for c, k in [files.old[0]] * (count - 1) + [files.old[1]]]
        line.h.stop_for_change(lambda conf: conf["tls"].update(certificates=listed))
        before = descriptors(line, 2)
        reload(line, event, 2 if count == 100 else 1)
        assert served(line.h.wss, files, "two.test") == der(files.old[1])
        all_closed(line, before)


def test_a_stop_behind_a_reload(certs):
    with Line(tls_cert=certs.valid("one.test")) as line:
        line.alive()
        line.h.reload()
