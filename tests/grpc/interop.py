"""The cases of gRPC's interop tests that a proxy has a part in, asked of the address given.
Prints what each came to as one JSON object."""

import json
import sys
import threading

import grpc

channel = grpc.insecure_channel(
    sys.argv[1],
    options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
)
SERVICE = "/grpc.testing.TestService/"
BIG_ASK, BIG_ANSWER = 271828, 314159
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab\x00\xff")
PATIENCE = 30


def message(pad=0, **wants):
    return json.dumps(wants).encode().ljust(pad)


def status(error):
    return [error.code().name, error.details()]


def failure(call):
    try:
        result = call()
        return ["OK", repr(result)[:60]]
    except grpc.RpcError as error:
        return status(error)


def unary(name, data, **more):
    return channel.unary_unary(SERVICE + name)(data, timeout=PATIENCE, **more)


def empty_unary():
    return unary("EmptyCall", b"").decode()


def large_unary():
    return len(unary("UnaryCall", message(BIG_ASK, size=BIG_ANSWER)))


def huge_unary():
    return len(unary("UnaryCall", message(8 << 20, size=12 << 20)))


def client_streaming():
    sizes = [27182, 8, 1828, 45904]
    call = channel.stream_unary(SERVICE + "StreamingInputCall")
    return call((message(size) for size in sizes), timeout=PATIENCE).decode()


def server_streaming():
    call = channel.unary_stream(SERVICE + "StreamingOutputCall")
    return [len(m) for m in call(message(sizes=[31415, 9, 2653, 58979]), timeout=PATIENCE)]


def ping_pong():
    told, said = threading.Semaphore(0), []
    pairs = [(27182, 31415), (8, 9), (1828, 2653), (45904, 58979)]

    def asks():
        for size, answer in pairs:
            yield message(size, sizes=[answer])
            told.acquire(timeout=PATIENCE)

    for answer in channel.stream_stream(SERVICE + "FullDuplexCall")(asks(), timeout=PATIENCE):
        said.append(len(answer))
        told.release()
    return said


def empty_stream():
    call = channel.stream_stream(SERVICE + "FullDuplexCall")
    return list(call(iter([]), timeout=PATIENCE))


def custom_metadata():
    def seen(call):
        first = {k: v for k, v in call.initial_metadata() if k == INITIAL[0]}
        last = {k: v.hex() for k, v in call.trailing_metadata() if k == TRAILING[0]}
        return [first, last]

    one = channel.unary_unary(SERVICE + "UnaryCall").with_call(
        message(size=9), metadata=[INITIAL, TRAILING], timeout=PATIENCE
    )[1]
    both = channel.stream_stream(SERVICE + "FullDuplexCall")(
        iter([message(sizes=[9])]), metadata=[INITIAL, TRAILING], timeout=PATIENCE
    )
    list(both)
    return [seen(one), seen(both)]


def status_code_and_message():
    ask = message(code=2, message="test status message")
    duplex = channel.stream_stream(SERVICE + "FullDuplexCall")
    return [
        failure(lambda: unary("UnaryCall", ask)),
        failure(lambda: list(duplex(iter([ask]), timeout=PATIENCE))),
    ]


def special_status_message():
    words = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n 100%"
    return failure(lambda: unary("UnaryCall", message(code=2, message=words)))


def unimplemented_method():
    return failure(lambda: unary("UnimplementedCall", b""))[0]


def unimplemented_service():
    call = channel.unary_unary("/grpc.testing.UnimplementedService/UnimplementedCall")
    return failure(lambda: call(b"", timeout=PATIENCE))[0]


def status_after_messages():
    call = channel.unary_stream(SERVICE + "StreamingOutputCall")
    stream, got = call(message(sizes=[5, 6], code=15, message="lost"), timeout=PATIENCE), []
    try:
        for answer in stream:
            got.append(len(answer))
    except grpc.RpcError as error:
        return [got, status(error)]
    return [got, "OK"]


def cancel_after_begin():
    held = threading.Event()

    def asks():
        yield message()
        held.wait(PATIENCE)

    call = channel.stream_unary(SERVICE + "StreamingInputCall").future(asks())
    call.cancel()
    held.set()
    return call.code().name


def cancel_after_first_response():
    held = threading.Event()

    def asks():
        yield message(sizes=[31415])
        held.wait(PATIENCE)

    call = channel.stream_stream(SERVICE + "FullDuplexCall")(asks())
    first = len(next(call))
    call.cancel()
    held.set()
    try:
        next(call)
    except grpc.RpcError as error:
        return [first, error.code().name]
    return [first, "OK"]


def timeout_on_sleeping_server():
    held = threading.Event()

    def asks():
        yield message(27182, sleep=1)
        held.wait(PATIENCE)

    call = channel.stream_stream(SERVICE + "FullDuplexCall")(asks(), timeout=0.2)
    try:
        list(call)
    except grpc.RpcError as error:
        return error.code().name
    finally:
        held.set()
    return "OK"


def many_at_once():
    call = channel.unary_unary(SERVICE + "UnaryCall")
    asked = [call.future(message(size=size), timeout=PATIENCE) for size in range(150)]
    return sum(len(future.result()) for future in asked)


cases = [value for value in list(globals().values()) if callable(value)]
cases = [case for case in cases if getattr(case, "__module__", "") == "__main__"]
skipped = {"message", "status", "failure", "unary"}
told = {}
for case in cases:
    if case.__name__ not in skipped:
        told[case.__name__] = case()
json.dump(told, sys.stdout)
