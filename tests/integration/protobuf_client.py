"""What clients of the protobuf socket share: scenarios and `make torture`. (python_client_test.py stands alone, as an
example for others.)"""
import socket


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


class Connection:
    """One to isod's protobuf socket: length-delimited requests and answers. `api` is what protoc makes of api.proto. Or over
    `stream`, which is connected."""

    def __init__(self, isod, api, stream=None):
        self.api, self.buffer, self.id = api, b"", 0
        self.socket = stream or socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        if not stream:
            self.socket.connect(isod.path("isod.sock"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, **what):
        self.id += 1
        body = self.api.Request(id=self.id, **what).SerializeToString()
        self.socket.sendall(varint(len(body)) + body)
        return self.id

    def next(self):
        while True:
            size = shift = at = 0
            while at < len(self.buffer):
                byte = self.buffer[at]
                size |= (byte & 127) << shift
                shift, at = shift + 7, at + 1
                if byte < 128:
                    if len(self.buffer) - at >= size:
                        answer = self.api.Response.FromString(self.buffer[at:at + size])
                        self.buffer = self.buffer[at + size:]
                        return answer
                    break
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("closed")
            self.buffer += data

    def ask(self, **what):
        self.send(**what)
        return self.next()
