"""A mock of an LLM provider that fails as it is told to over its own API (`/_llmock`). Ids and
dates are always the same, so that its answers are. Prints its port; ends with its input."""

import sys
import time
import types
import uuid

import llmock.main  # noqa: F401
from llmock.testing import LLMockServer

# Only what an answer is made of: its own clocks go on.
for name, module in list(sys.modules.items()):
    if name.startswith(("llmock.routers", "llmock.streaming")):
        if getattr(module, "uuid", None) is uuid:
            module.uuid = types.SimpleNamespace(uuid4=lambda: uuid.UUID(int=7))
        if getattr(module, "time", None) is time:
            module.time = types.SimpleNamespace(time=lambda: 1.8e9)

with LLMockServer() as server:
    print(server.port, flush=True)
    sys.stdin.read()
