"""The `openai` client, told by lines of JSON what to ask; says what it got, a line each.

A line: `base`, `api` (`chat`, `responses`, or `raw` with a `path`), `stream`, `retries`, `leave` (after
so many events) and the `body`. With `raw` the bytes are what counts, and `httpx` asks."""

import functools
import hashlib
import json
import sys

import httpx
import openai

plain = httpx.Client(timeout=60)


@functools.cache
def client_of(base, retries):
    return openai.OpenAI(base_url=base + "/v1", api_key="k", max_retries=retries, timeout=60)


def words(event):
    if event.get("object") == "chat.completion.chunk":
        return "".join(c["delta"].get("content") or "" for c in event["choices"])
    return event.get("delta", "") if isinstance(event.get("delta", ""), str) else ""


def streamed(ask, stream, got):
    for event in stream:
        event = event.model_dump()
        got["events"] += 1
        got["text"] += words(event)
        if event.get("choices"):
            got["finish"] = event["choices"][0]["finish_reason"]
        if got["events"] == ask.get("leave"):
            stream.close()
            got["left"] = True
            break


def answer(ask):
    got = {"events": 0, "text": "", "finish": None, "error": None}
    client = client_of(ask["base"], ask.get("retries", 0))
    make = client.responses.create if ask["api"] == "responses" else client.chat.completions.create
    try:
        result = make(**ask["body"], stream=ask.get("stream", False))
        if ask.get("stream"):
            streamed(ask, result, got)
        else:
            whole = result.model_dump_json().encode()
            got["text"] = hashlib.sha256(whole).hexdigest()
    except Exception as error:
        got["error"] = type(error).__name__
        got["status"] = getattr(error, "status_code", None)
        got["body"] = getattr(error, "body", None)
    return got


def raw(ask):
    got, data = {"error": None}, b""
    try:
        with plain.stream("POST", ask["base"] + ask["path"], json=ask["body"]) as response:
            got["status"] = response.status_code
            for piece in response.iter_raw():
                data += piece
    except httpx.HTTPError as error:
        got["error"] = type(error).__name__
    return got | {"data": data.decode("latin-1")}


for line in sys.stdin:
    ask = json.loads(line)
    print(json.dumps(raw(ask) if ask["api"] == "raw" else answer(ask)), flush=True)
