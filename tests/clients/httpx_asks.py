"""`httpx` asks a server everything that `origin.py` answers, and prints what came of it as JSON:
the arguments are the address, `h1` or `h2`, and the authority of its certificate, if any.
In the clear `h2` is by prior knowledge."""

import asyncio
import hashlib
import json
import ssl
import sys

import httpx

base, protocol = sys.argv[1:3]
verify = ssl.create_default_context(cafile=sys.argv[3]) if len(sys.argv) > 3 else False
DATA = bytes(n % 251 for n in range(1_500_000))
# Those of the way, not of the answer.
OURS = ("date", "server", "x-model-version", "x-request-id", "x-switchback-reason", "transfer-encoding",
        "connection", "keep-alive", "alt-svc", "server-timing")


async def pieces():
    for at in range(0, len(DATA), 90_000):
        yield DATA[at : at + 90_000]


CASES = {
    "get": ("GET", "/echo?a=1&b=%20%2F&c", {"headers": {"accept": "a/b", "x-twice": "1"}}),
    "path": ("GET", "/a%20b/c%2Fd/~e;f=1,2", {}),
    "head": ("HEAD", "/large", {}),
    "options": ("OPTIONS", "/echo", {"headers": {"origin": "https://a.test"}}),
    "delete": ("DELETE", "/echo", {}),
    "json": ("POST", "/echo", {"json": {"a": [1, 2.5, "ü"]}}),
    "form": ("POST", "/echo", {"data": {"a": "1 2", "b": "ü"}}),
    "file": ("POST", "/echo", {"files": {"f": ("n.bin", b"\0\1" * 5_000)}, "headers": {"content-type": "multipart/form-data; boundary=bbb"}}),
    "empty post": ("POST", "/echo", {"content": b""}),
    "large post": ("POST", "/echo", {"content": DATA}),
    "put": ("PUT", "/echo", {"content": DATA[:70_000]}),
    "no length": ("POST", "/echo", {"content": pieces}),
    "expect": ("POST", "/echo", {"content": DATA[:5_000], "headers": {"expect": "100-continue"}}),
    "auth": ("GET", "/echo", {"auth": ("user", "pass")}),
    "cookie": ("GET", "/echo", {"headers": [("cookie", "a=1; b=2")]}),
    "cookies set": ("GET", "/cookies", {}),
    "empty": ("GET", "/empty", {}),
    "not modified": ("GET", "/etag", {"headers": {"if-none-match": '"e1"'}}),
    "modified": ("GET", "/etag", {"headers": {"if-none-match": '"e0"'}}),
    "compressed": ("GET", "/gzip", {}),
    "range": ("GET", "/range", {"headers": {"range": "bytes=100-4099"}}),
    "moved": ("POST", "/moved", {"content": b"again", "follow_redirects": True}),
    "pieces": ("GET", "/pieces", {}),
    "large": ("GET", "/large", {}),
}
CASES |= {f"status {n}": ("GET", f"/status/{n}", {}) for n in (201, 202, 400, 401, 404, 409, 418, 422, 429, 451, 500, 501)}


async def ask(client, method, path, options):
    options = dict(options)
    if callable(options.get("content")):
        options["content"] = options["content"]()
    options.setdefault("follow_redirects", False)
    request = client.build_request(method, base + path, **{k: v for k, v in options.items() if k not in ("follow_redirects", "auth")})
    response = await client.send(request, stream=True, auth=options.get("auth"), follow_redirects=options["follow_redirects"])
    data = b"".join([piece async for piece in response.aiter_raw()])
    fields = sorted((k, v) for k, v in response.headers.multi_items() if k not in OURS)
    return {
        "status": response.status_code, "protocol": response.http_version, "fields": fields,
        "length": len(data), "digest": hashlib.sha256(data).hexdigest(),
        "text": data.decode() if path.startswith("/echo") else None,
    }


async def main():
    got = {}
    two = protocol == "h2"
    async with httpx.AsyncClient(http1=not two, http2=two, verify=verify, timeout=120) as client:
        for name, case in CASES.items():
            got[name] = await ask(client, *case)
        many = await asyncio.gather(*(ask(client, "POST", f"/echo?n={n}", {"content": b"x" * n * 100}) for n in range(50)))
        got |= {f"of many {n}": it for n, it in enumerate(many)}
    json.dump(got, sys.stdout)


asyncio.run(main())
