"""A gRPC server with the methods of gRPC's interop tests, and its health service. Messages
are JSON, padded with blanks to a size: the proxy sees bytes. Prints its port, and ends when
its input is closed."""

import json
import sys
import threading
from concurrent import futures

import grpc


def wanted(data):
    return json.loads(data) if data else {}


def echo(context):
    given = dict(context.invocation_metadata())
    if "x-grpc-test-echo-initial" in given:
        context.send_initial_metadata(
            [("x-grpc-test-echo-initial", given["x-grpc-test-echo-initial"])]
        )
    if "x-grpc-test-echo-trailing-bin" in given:
        context.set_trailing_metadata(
            [("x-grpc-test-echo-trailing-bin", given["x-grpc-test-echo-trailing-bin"])]
        )


def fail(ask, context):
    if "code" in ask:
        code = next(code for code in grpc.StatusCode if code.value[0] == ask["code"])
        context.abort(code, ask.get("message", ""))


def empty(_data, _context):
    return b""


def unary(data, context):
    ask = wanted(data)
    echo(context)
    fail(ask, context)
    return b"x" * ask.get("size", 0)


def inputs(stream, _context):
    return str(sum(len(data) for data in stream)).encode()


def outputs(data, context):
    for size in wanted(data)["sizes"]:
        yield b"y" * size
    fail(wanted(data), context)


def duplex(stream, context):
    echo(context)
    for data in stream:
        ask = wanted(data)
        fail(ask, context)
        if ask.get("sleep"):
            threading.Event().wait(ask["sleep"])
        for size in ask.get("sizes", []):
            yield b"z" * size


def check(data, _context):
    assert data == b"", data
    return bytes([8, state["serving"]])


state = {"serving": 1}
server = grpc.server(
    futures.ThreadPoolExecutor(16),
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
server.add_generic_rpc_handlers(
    [
        grpc.method_handlers_generic_handler(
            "grpc.testing.TestService",
            {
                "EmptyCall": grpc.unary_unary_rpc_method_handler(empty),
                "UnaryCall": grpc.unary_unary_rpc_method_handler(unary),
                "StreamingInputCall": grpc.stream_unary_rpc_method_handler(inputs),
                "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(outputs),
                "FullDuplexCall": grpc.stream_stream_rpc_method_handler(duplex),
            },
        ),
        grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
        ),
    ]
)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
for line in sys.stdin:
    state["serving"] = int(line)
server.stop(0)
