"""A server of many kinds of answers, over HTTP/1.1 and HTTP/2, in the clear and over TLS, by
`hypercorn`. With a certificate and its key as arguments. Prints both ports, the clear one
first; ends with its input."""

import asyncio
import gzip
import hashlib
import json
import socket
import sys
import threading

from hypercorn.asyncio import serve
from hypercorn.config import Config

TEXT = bytes((n * 7 + n // 251) % 256 for n in range(300_000))


async def body_of(receive):
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            return data


# What a request is told apart by: the rest is the connection's business.
SEEN = ("content-type", "content-encoding", "accept", "accept-encoding", "authorization", "cookie",
        "range", "if-none-match", "user-agent", "x-twice", "origin", "referer")


def report(scope, data):
    fields = sorted((name.decode("latin-1"), value.decode("latin-1"))
                    for name, value in scope["headers"] if name.decode() in SEEN)
    return json.dumps({
        "method": scope["method"], "path": scope["raw_path"].decode("latin-1"),
        "query": scope["query_string"].decode("latin-1"), "fields": fields,
        "length": len(data), "digest": hashlib.sha256(data).hexdigest(),
    }).encode()


def answer(scope, data):
    """Status, fields and pieces."""
    path = scope["path"]
    given = dict(scope["headers"])
    if path == "/empty":
        return 204, [], []
    if path == "/etag":
        same = given.get(b"if-none-match") == b'"e1"'
        return (304 if same else 200), [(b"etag", b'"e1"')], ([] if same else [b"tagged"])
    if path == "/gzip":
        return 200, [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")], [gzip.compress(TEXT, mtime=0)]
    if path == "/moved":
        return 307, [(b"location", b"/echo?moved=1")], []
    if path == "/range":
        first, last = given.get(b"range", b"bytes=0-299999")[6:].split(b"-")
        part = TEXT[int(first) : int(last or 299_999) + 1]
        where = b"bytes %s-%s/300000" % (first, last)
        return (206 if b"range" in given else 200), [(b"content-range", where), (b"accept-ranges", b"bytes")], [part]
    if path == "/pieces":
        return 200, [(b"x-pieces", b"yes")], [TEXT[at : at + 7_001] for at in range(0, len(TEXT), 7_001)]
    if path == "/large":
        return 200, [], [TEXT] * 30
    if path == "/cookies":
        return 200, [(b"set-cookie", b"a=1; Path=/"), (b"set-cookie", b"b=2; HttpOnly"), (b"x-empty", b"")], [b"two"]
    if path.startswith("/status/"):
        return int(path[8:]), [(b"content-type", b"application/json"), (b"retry-after", b"7")], [b'{"error":"so"}']
    return 200, [(b"content-type", b"application/json")], [report(scope, data)]


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    data = await body_of(receive)
    status, fields, pieces = answer(scope, data)
    sized = len(pieces) == 1 or not pieces and status not in (204, 304)
    if sized:
        fields = fields + [(b"content-length", str(sum(map(len, pieces))).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    if scope["method"] != "HEAD":
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def listener():
    it = socket.socket()
    it.bind(("127.0.0.1", 0))
    return it


async def main():
    clear, secured = listener(), listener()
    config = Config()
    config.bind, config.insecure_bind = [f"fd://{secured.fileno()}"], [f"fd://{clear.fileno()}"]
    config.certfile, config.keyfile = sys.argv[1:3]
    config.alpn_protocols = ["h2", "http/1.1"]
    config.accesslog = None
    config.loglevel = "ERROR"
    config.keep_alive_timeout = 600
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True).start()
    print(clear.getsockname()[1], flush=True)
    print(secured.getsockname()[1], flush=True)
    await serve(app, config, shutdown_trigger=stop.wait)


asyncio.run(main())
