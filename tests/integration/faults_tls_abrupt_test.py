"""A TLS connection that ends abruptly: what had arrived is processed, to the last whole line.

A reset right behind the data (no close_notify, SO_LINGER 0) is met while isod stands still, so that all of it waits in
our receive queue. And the trap of TLS 1.3: a client that only writes never reads the session tickets of a usual server,
so when it closes, its kernel answers with a reset and data on the way is thrown away. isod sends no tickets."""
import array
import fcntl
import signal
import socket
import ssl
import struct
import termios

from harness import Isod, check, main

LINES = 10000
WRITERS = 20
LINE = b"<30>Nov 23 18:00:00 web1 app: %s line %06d and some text to make it as long as usual ones are\n"


def connect(isod):
    context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
    raw = socket.create_connection(("127.0.0.1", isod.port("tls")))
    return context.wrap_socket(raw, server_hostname="localhost")


def delivered(s):
    """The peer's kernel has acknowledged every byte."""
    left = array.array("i", [0])
    fcntl.ioctl(s.fileno(), termios.TIOCOUTQ, left)
    return left[0] == 0


def reset(isod, lines):
    s = connect(isod)
    s.sendall(LINE % (b"first", 0))
    isod.wait(lambda: isod.events("tls/") == 1, "the connection is served")
    before = isod.events("tls/")
    isod.process.send_signal(signal.SIGSTOP)
    s.sendall(b"".join(LINE % (b"reset", n) for n in range(lines)) + b"<30>cut off")
    isod.wait(lambda: delivered(s), "all has reached isod's kernel")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    isod.process.send_signal(signal.SIGCONT)
    isod.wait(lambda: isod.events("tls/") == before + lines + 1, "every line that had arrived, and the begun one")


def only_write(isod):
    """Many short-lived clients that never read, and close in the usual way, without close_notify."""
    before = isod.events("tls/")
    for writer in range(WRITERS):
        s = connect(isod)
        check(s.version() == "TLSv1.3", f"{s.version()} is spoken")
        s.sendall(b"".join(LINE % (b"writer", n) for n in range(LINES)))
        s.close()
    isod.wait(lambda: isod.events("tls/") >= before + WRITERS * LINES, "every line of every writer")
    check(isod.events("tls/") == before + WRITERS * LINES, "and no other")


def no_tickets(isod):
    """The server has said nothing once the handshake is over."""
    s = connect(isod)
    s.sendall(LINE % (b"ticket", 0))
    s.settimeout(0.5)  # too short a wait could only pass a server that is wrong, not fail one that is right
    try:
        data = s.recv(1)
        check(False, f"the server sent {data}")
    except TimeoutError:
        pass
    check(s.session is None or not s.session.has_ticket, "there is no ticket")
    s.close()


def scenario():
    with Isod() as isod:
        reset(isod, 1000)
        check("broke off" in isod.log(), "the log tells of the reset")
        only_write(isod)
        no_tickets(isod)


main(scenario)
