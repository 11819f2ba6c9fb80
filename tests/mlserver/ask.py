"""Asks the digits model in every way `tritonclient` has, and prints what came back as JSON: the
arguments are the addresses of its REST and of its gRPC API."""

import hashlib
import json
import sys

import numpy
import tritonclient.grpc as over_grpc
import tritonclient.http as over_http
from sklearn.datasets import load_digits
from tritonclient.utils import InferenceServerException

X, _ = load_digits(return_X_y=True)
got = {}


def noted(name, ask):
    try:
        answer = ask()
    except InferenceServerException as error:
        answer = ["error", error.status(), error.message()]
    if isinstance(answer, numpy.ndarray):
        answer = [str(answer.dtype), answer.shape, hashlib.sha256(answer.tobytes()).hexdigest()]
    got[name] = answer


def tensor(api, rows, kind="FP64", **more):
    data = X[rows].astype({"FP64": "float64", "FP32": "float32", "INT64": "int64"}[kind])
    tensor = api.InferInput("predict", list(data.shape), kind)
    tensor.set_data_from_numpy(data, **more)
    return tensor


def rest(url):
    client = over_http.InferenceServerClient(url, network_timeout=120, connection_timeout=120)
    noted("rest live", client.is_server_live)
    noted("rest ready", client.is_server_ready)
    noted("rest model ready", lambda: client.is_model_ready("digits"))
    noted("rest no model", lambda: client.get_model_metadata("nobody"))
    noted("rest metadata", lambda: client.get_model_metadata("digits"))
    for binary in (False, True):
        for zipped in (None, "gzip", "deflate"):
            for back in (None, "gzip", "deflate"):
                for rows in (slice(0, 1), slice(0, 1797)):
                    noted(
                        f"rest binary {binary} zipped {zipped} back {back} {rows}",
                        lambda: client.infer(
                            "digits",
                            [tensor(over_http, rows, binary_data=binary)],
                            outputs=[over_http.InferRequestedOutput("predict", binary_data=binary)],
                            request_id="r1",
                            request_compression_algorithm=zipped,
                            response_compression_algorithm=back,
                        ).as_numpy("predict"),
                    )
    noted("rest bad shape", lambda: client.infer("digits", [tensor(over_http, slice(0, 0), binary_data=False)]).get_response())


def grpc(url):
    client = over_grpc.InferenceServerClient(url)
    noted("grpc live", client.is_server_live)
    noted("grpc ready", client.is_server_ready)
    noted("grpc model ready", lambda: client.is_model_ready("digits"))
    noted("grpc no model", lambda: client.get_model_metadata("nobody", as_json=True))
    noted("grpc metadata", lambda: client.get_model_metadata("digits", as_json=True))
    for zipped in (None, "gzip", "deflate"):
        for kind in ("FP64", "FP32", "INT64"):
            for rows in (slice(0, 1), slice(0, 1797)):
                noted(
                    f"grpc {kind} zipped {zipped} {rows}",
                    lambda: client.infer(
                        "digits", [tensor(over_grpc, rows, kind)], request_id="r1", compression_algorithm=zipped
                    ).as_numpy("predict"),
                )
    noted("grpc deadline", lambda: client.infer("digits", [tensor(over_grpc, slice(0, 1))], client_timeout=60).as_numpy("predict"))
    noted("grpc bad shape", lambda: client.infer("digits", [tensor(over_grpc, slice(0, 0))]).as_numpy("predict"))
    noted("grpc unknown", lambda: client.infer("nobody", [tensor(over_grpc, slice(0, 1))]).as_numpy("predict"))


def binary(url):
    client = over_http.InferenceServerClient(url, network_timeout=120, connection_timeout=120)
    for kind in ("FP64", "FP32", "INT64"):
        for zipped in (None, "gzip", "deflate"):
            for back in (None, "gzip", "deflate"):
                for rows in (slice(0, 1), slice(0, 1797)):
                    sent = tensor(over_http, rows, kind, binary_data=True)
                    noted(
                        f"binary {kind} zipped {zipped} back {back} {rows}",
                        lambda: client.infer(
                            "echo", [sent], request_id="r1",
                            request_compression_algorithm=zipped, response_compression_algorithm=back,
                        ).as_numpy("out"),
                    )


rest(sys.argv[1])
grpc(sys.argv[2])
binary(sys.argv[3])
json.dump(got, sys.stdout)
