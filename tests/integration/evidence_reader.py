"""Evidence, read by code that shares nothing with isod: daemon/log/segment.h and evidence.h, of which this is another reading.
Segments that are compressed are not looked into: scenarios end before that."""
import collections
import glob
import struct

NUMBERED, LOSS, META, PEER = 2, 4, 8, 16
Evidence = collections.namedtuple("Evidence", "source flags sequence frame lost")
FILE_HEAD, RECORD_HEAD, SEAL = 64, 24, 1 << 31


def parse(body):
    flags, size = body[1], struct.unpack_from("<H", body, 2)[0]
    source, rest = body[4:4 + size].decode(errors="replace"), body[4 + size:]
    if flags & LOSS:
        return Evidence(source, flags, 0, b"", struct.unpack_from("<IQ", rest)[1])
    sequence = 0
    if flags & NUMBERED:
        sequence, rest = struct.unpack_from("<Q", rest)[0], rest[8:]
    if flags & PEER:  # told so many records ago, or here
        back, = struct.unpack_from("<H", rest)
        rest = rest[2 if back else 4 + struct.unpack_from("<H", rest, 2)[0]:]
    if flags & META:
        rest = rest[2 + struct.unpack_from("<H", rest)[0]:]
    return Evidence(source, flags, sequence, rest, 0)


def read_evidence(isod, prefix=""):
    """All records of sources that begin with `prefix`; a torn end is left out."""
    for name in glob.glob(isod.path("state", "evidence", "*", "*.log")):
        with open(name, "rb") as f:
            data = f.read()
        at = FILE_HEAD
        while at + RECORD_HEAD <= len(data):
            length, = struct.unpack_from("<I", data, at)
            body = data[at + RECORD_HEAD:at + RECORD_HEAD + (length & ~SEAL)]
            at += RECORD_HEAD + (length & ~SEAL)
            if length & SEAL or len(body) < 4 or at > len(data):
                continue
            e = parse(body)
            if e.source.startswith(prefix):
                yield e
