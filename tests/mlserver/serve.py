"""MLServer as its own command starts it, but that it says which port the kernel chose for gRPC:
its log names the one that was asked for."""

import sys

import grpc.aio._server
from mlserver.cli import main

plain = grpc.aio._server.Server.add_insecure_port


def add_insecure_port(self, address):
    port = plain(self, address)
    print("gRPC on port", port, "", file=sys.stderr, flush=True)
    return port


grpc.aio._server.Server.add_insecure_port = add_insecure_port
main()
