"""Loopback addresses of one's own, and waiting with a deadline."""

import os
import socket
import time

# Sanitizer and valgrind builds are slower; every deadline (never a measured wait) is stretched by this factor.
SLOW = float(os.environ.get("HOLDLINE_SLOW", "1"))

_counter = 0


def next_address():
    """A loopback address that no other test process uses: 127.a.b from the process id, the last octet counted up."""
    global _counter
    for _ in range(1000):
        turn, last = divmod(_counter, 250)
        _counter += 1
        p = (os.getpid() + turn * 20011) % (250 * 250)
        address = "127.%d.%d.%d" % (2 + p // 250, 2 + p % 250, 2 + last)
        if _free(address):
            return address
    raise RuntimeError("no free loopback address after 1000 tries")


def _free(address):
    """True when nobody listens on the ports that the tests use there."""
    for port in (5280, 5222):
        s = socket.socket()
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((address, port))
        except OSError:
            return False
        finally:
            s.close()
    return True


def wait_until(predicate, seconds=5.0, what="condition", step=0.01):
    """Polls until predicate() is true and returns its value; AssertionError after the deadline."""
    end = time.monotonic() + seconds * SLOW
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %.1f s: %s" % (seconds * SLOW, what))
        time.sleep(step)
