"""A model that gives back its input, over REST with the binary tensors of Triton's extension and
their compression: MLServer reads none. Prints its port; ends with its input."""

import gzip
import json
import socket
import sys
import threading
import zlib

import uvicorn

CODINGS = {"gzip": (gzip.decompress, lambda data: gzip.compress(data, mtime=0)), "deflate": (zlib.decompress, zlib.compress)}


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    data, more = b"", True
    while more:
        message = await receive()
        data, more = data + message.get("body", b""), message.get("more_body", False)
    given = {name.decode(): value.decode() for name, value in scope["headers"]}
    if "content-encoding" in given:
        data = CODINGS[given["content-encoding"]][0](data)
    size = int(given["inference-header-content-length"])
    ask, tensor = json.loads(data[:size]), data[size:]
    put = ask["inputs"][0]
    assert put["parameters"]["binary_data_size"] == len(tensor), given
    head = json.dumps({"model_name": "echo", "model_version": "1", "id": ask.get("id", ""), "outputs": [
        {"name": "out", "shape": put["shape"], "datatype": put["datatype"], "parameters": {"binary_data_size": len(tensor)}},
    ]}).encode()
    body = head + tensor
    fields = [(b"inference-header-content-length", str(len(head)).encode()), (b"content-type", b"application/octet-stream")]
    wanted = given.get("accept-encoding", "")
    if wanted in CODINGS:
        body = CODINGS[wanted][1](body)
        fields.append((b"content-encoding", wanted.encode()))
    fields.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


it = socket.socket()
it.bind(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", http="h11"))
threading.Thread(target=lambda: (sys.stdin.read(), setattr(server, "should_exit", True)), daemon=True).start()
print(it.getsockname()[1], flush=True)
server.run(sockets=[it])
