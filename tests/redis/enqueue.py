"""Enqueues a job as docs/wire-format.md says, and by nothing else: no library, no code of ours.

    enqueue.py PORT NAMESPACE QUEUE NAME PAYLOAD [PRIORITY] [OPTIONS]
"""

import json
import os
import socket
import struct
import sys
import time
import uuid

SCRIPT = """
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1] .. string.sub(ARGV[2], 6, 9))
for _ = 1, 10 do
  local process = redis.call('SPOP', KEYS[3])
  if not process or redis.call('PUBLISH', KEYS[3] .. ':' .. process, 'w') > 0 then break end
end
return 1
"""


class Redis:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.file = self.socket.makefile("rb")

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        sent = b"*%d\r\n" % len(words)
        for word in words:
            sent += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(sent)
        return self.reply()

    def reply(self):
        line = self.file.readline().rstrip(b"\r\n")
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self.file.read(length + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest


def uuid7():
    random = os.urandom(10)
    head = int(time.time() * 1000).to_bytes(6, "big")
    tail = bytes([0x70 | random[0] & 0x0F, random[1], 0x80 | random[2] & 0x3F]) + random[3:]
    return uuid.UUID(bytes=head + tail)


def envelope(now, name, payload, priority, options):
    keep = options.get("keep_result_ms", 0)
    stamp = 1 if keep else 0
    header = struct.pack(">Bcccc", 1, b"P", str(priority).encode(), b"-", b"-")
    header += struct.pack(">III", stamp, 0, 0)
    header += struct.pack(">QQQQ", now, now, 0, keep)
    options = json.dumps(options).encode() if options else b""
    name = name.encode()
    body = bytes([len(name)]) + name + struct.pack(">I", len(options)) + options + payload.encode()
    return header + struct.pack(">I", len(body)) + body


def main(port, namespace, queue, name, payload, priority="2", options="{}"):
    redis = Redis(int(port))
    if redis("GET", "{%s}:format" % namespace) not in (None, b"1"):
        sys.exit("this store is of a newer format")
    redis("SET", "{%s}:format" % namespace, "1", "NX")
    redis("SADD", "{%s}:queues" % namespace, queue)
    seconds, micros = redis("TIME")
    now = int(seconds) * 1000 + int(micros) // 1000
    job = uuid7()
    keys = ["jobs", "wait:%s" % priority, "idle"]
    keys = ["{%s:%s}:%s" % (namespace, queue, key) for key in keys]
    stored = envelope(now, name, payload, priority, json.loads(options))
    # The second is a resend, as after an answer that was lost.
    first = redis("EVAL", SCRIPT, 3, *keys, job.bytes, stored)
    second = redis("EVAL", SCRIPT, 3, *keys, job.bytes, stored)
    assert first == 1, first
    print(job, "resent: known" if second == 0 else "resent: it has run")


main(*sys.argv[1:])
