"""Asks a WebSocket server everything that Autobahn's classes of cases ask, by an independent
implementation, and prints what came back. Run once against the server itself and once through
the proxy: the two must be the same to the byte.

The classes: framing and lengths (1), pings and pongs (2), reserved bits (3) and opcodes (4),
fragmentation (5), UTF-8 (6), closing (7), large messages (9), many messages (10),
permessage-deflate (12, 13).
"""

import asyncio
import hashlib
import struct
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

URL = sys.argv[1]
LENGTHS = [0, 1, 125, 126, 127, 128, 255, 256, 65535, 65536, 131072]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def digest(message):
    data = message.encode() if isinstance(message, str) else message
    return f"{type(message).__name__} {len(data)} {hashlib.sha256(data).hexdigest()[:16]}"


def pattern(length):
    return bytes((n * 7 + n // 251) % 256 for n in range(length))


async def messages(compression):
    async with connect(
        URL + "/echo", compression=compression, max_size=None, subprotocols=["chat.v2"]
    ) as socket:
        print("subprotocol", socket.subprotocol, sorted(e.name for e in socket.protocol.extensions))
        for length in LENGTHS:
            await socket.send("x" * length)
            print("text", digest(await socket.recv()))
            await socket.send(pattern(length))
            print("binary", digest(await socket.recv()))
        for text in ["κόσμε", "\u0000", "\U0010ffff", "a\u0300" * 5000, "日本語" * 700]:
            await socket.send(text)
            print("utf-8", digest(await socket.recv()))

        async def pieces():
            for n in range(50):
                yield f"piece {n} "

        await socket.send(pieces())
        print("fragments", digest(await socket.recv()))
        for size in [0, 1, 125]:
            pong = await socket.ping(pattern(size))
            await asyncio.wait_for(pong, 10)
            print("pong", size)
        await socket.send(pattern(2 << 20))
        print("large", digest(await socket.recv()))
        for n in range(1000):
            await socket.send(str(n))
        got = [await socket.recv() for _ in range(1000)]
        print("many", got == [str(n) for n in range(1000)])
        await socket.close(1000, "done")
        print("closed", socket.close_code, socket.close_reason)


async def closed_by_server(code):
    socket = await connect(f"{URL}/close/{code}")
    await socket.send("go")
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        print("server closes", socket.close_code, socket.close_reason)


async def closed_by_client(code, reason):
    socket = await connect(URL + "/echo")
    await socket.close(code, reason)
    print("client closes", socket.close_code, socket.close_reason)


def frame(first, payload, masked=True):
    mask = b"\x01\x02\x03\x04"
    length = len(payload)
    flag = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, flag | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, flag | 126, length)
    else:
        head = struct.pack("!BBQ", first, flag | 127, length)
    if not masked:
        return head + payload
    return head + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(payload))


async def raw(name, data, chop=None):
    """Frames as no library sends them: what the server says to them must pass as it is."""
    host, port = URL.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"GET /echo HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Key: {KEY}\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert b" 101 " in head.split(b"\r\n")[0], head
    back = b""
    for part, answer in data if isinstance(data, list) else [(data, 0)]:
        size = chop or len(part)
        for piece in [part[n : n + size] for n in range(0, len(part), size)]:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        # Before the close, or the server may leave its answer out.
        back += await asyncio.wait_for(reader.readexactly(answer), 20)
    try:
        back += await asyncio.wait_for(reader.read(), 20)
    except ConnectionResetError:
        back += b"reset"
    print("raw", name, back[:80].hex(), len(back))
    writer.close()


CLOSE = frame(0x88, struct.pack("!H", 1000))
RAW = {
    "text, then close": [(frame(0x81, b"hello"), 7), (CLOSE, 0)],
    "fragments with a ping between": [
        (frame(0x01, b"he") + frame(0x89, b"p"), 3),
        (frame(0x80, b"llo"), 7),
        (CLOSE, 0),
    ],
    "a pong that nobody asked for": frame(0x8A, b"x") + CLOSE,
    "a ping of 126": frame(0x89, b"x" * 126),
    "rsv 1": frame(0xC1, b"x"),
    "rsv 2": frame(0xA1, b"x"),
    "rsv 3": frame(0x91, b"x"),
    "opcode 3": frame(0x83, b"x"),
    "opcode 15": frame(0x8F, b"x"),
    "a continuation of nothing": frame(0x80, b"x"),
    "a text within a message": frame(0x01, b"x") + frame(0x81, b"y"),
    "a fragmented ping": frame(0x09, b"x"),
    "no mask": frame(0x81, b"x", masked=False),
    "bad utf-8": frame(0x81, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited"),
    "bad utf-8 in two": frame(0x01, b"\xed\xa0") + frame(0x80, b"\x80"),
    "a close of one byte": frame(0x88, b"\x03"),
    "a close with bad utf-8": frame(0x88, b"\x03\xe8\xff"),
    "an empty close": frame(0x88, b""),
    "two closes": CLOSE + CLOSE,
    "data after a close": CLOSE + frame(0x81, b"late"),
}
RAW |= {
    f"a close of {code}": frame(0x88, struct.pack("!H", code))
    for code in [0, 999, 1000, 1001, 1003, 1004, 1005, 1006, 1007, 1011, 1015, 1100, 2999, 3000, 4999, 65535]
}


async def main():
    for compression in [None, "deflate"]:
        await messages(compression)
    for code in [1000, 1001, 1008, 1011, 3000, 4999]:
        await closed_by_server(code)
        await closed_by_client(code, "reason " * 10)
    for name, data in RAW.items():
        await raw(name, data)
        await raw(name + ", byte by byte", data, 1)


asyncio.run(main())
