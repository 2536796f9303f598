"""A private certificate authority and server certificates, good and bad, made with the openssl command."""

import os
import shutil
import subprocess
import tempfile


class Certs:
    """certs = Certs(); certs.ca is the CA's PEM file; each method returns (certificate file, key file).

    The files are world-readable: Holdline's workers read them after they dropped privileges, and nothing here is secret.
    """

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="holdline-certs-")
        os.chmod(self.dir, 0o755)
        self._made = {}
        self.ca, self.ca_key = self._self_signed("ca", "Holdline test CA", None, ca=True)

    def valid(self, name="example.test", *more):
        """Signed by the CA for the given DNS names."""
        return self._issue("valid", (name,) + more, "20200101000000Z", "20991231235959Z")

    def expired(self, name="example.test"):
        return self._issue("expired", (name,), "20200101000000Z", "20200201000000Z")

    def not_yet_valid(self, name="example.test"):
        return self._issue("future", (name,), "20980101000000Z", "20991231235959Z")

    def wrong_name(self, name="wrong.invalid"):
        """Signed by the CA, but for another host."""
        return self._issue("wrong", (name,), "20200101000000Z", "20991231235959Z")

    def self_signed(self, name="example.test"):
        """Right name, unknown issuer."""
        return self._self_signed("self-" + name, name, name)

    def xmpp_addr(self, name="example.test"):
        """Signed by the CA; the name stands only in an XmppAddr entry (RFC 6120 13.7.1.4), not as a DNS name."""
        return self._issue("xmppaddr", (name,), "20200101000000Z", "20991231235959Z",
                           "subjectAltName=otherName:1.3.6.1.5.5.7.8.5;UTF8:" + name)

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _path(self, name):
        return os.path.join(self.dir, name)

    def _run(self, *args):
        r = subprocess.run(("openssl",) + args, cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert r.returncode == 0, "openssl %s: %s" % (" ".join(args), r.stdout.decode(errors="replace"))

    def _self_signed(self, tag, common_name, dns, ca=False):
        if tag in self._made:
            return self._made[tag]
        cert, key = self._path(tag + ".pem"), self._path(tag + ".key")
        args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3650",
                "-subj", "/CN=" + common_name, "-keyout", key, "-out", cert]
        if dns:
            args += ["-addext", "subjectAltName=DNS:" + dns]
        if ca:
            args += ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        self._run(*args)
        os.chmod(key, 0o644)
        self._made[tag] = (cert, key)
        return cert, key

    def _issue(self, kind, names, start, end, extension=None):
        tag = kind + "-" + "+".join(names).replace("*", "any")
        if tag in self._made:
            return self._made[tag]
        cert, key, request = (self._path(tag + s) for s in (".pem", ".key", ".csr"))
        self._run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                  "-subj", "/CN=" + names[0], "-keyout", key, "-out", request)
        os.chmod(key, 0o644)
        database = self._path(tag + ".db")
        for path in (database, database + ".attr"):
            open(path, "w").close()
        alt = extension or "subjectAltName=" + ",".join("DNS:" + n for n in names)
        conf = self._path(tag + ".cnf")
        with open(conf, "w") as f:
            f.write("[ca]\ndefault_ca=c\n[c]\ndatabase=%s\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\n"
                    "policy=p\nx509_extensions=e\nunique_subject=no\n[p]\ncommonName=supplied\n[e]\n%s\n"
                    % (database, self.dir, alt))
        self._run("ca", "-batch", "-notext", "-config", conf, "-cert", self.ca, "-keyfile", self.ca_key,
                  "-in", request, "-out", cert, "-startdate", start, "-enddate", end)
        self._made[tag] = (cert, key)
        return cert, key
