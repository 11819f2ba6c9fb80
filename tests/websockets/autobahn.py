"""The cases of the Autobahn test suite, run by `kosoku`, against a server, or against a client
that comes in through the proxy. Prints a line for each case: its number and both verdicts.

With `server URL` the server at that address is what is tested. With `client -` a line of the
input says the address at which the client finds the suite, whose port is the first line out.
More arguments are the only cases to run."""

import asyncio
import os
import sys

import kosoku
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

# The rest is the same again in more and larger messages: too long for every run.
CASES = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"]
CASES += [f"{n}.{at}" for n in (12, 13) for at in ("1.1", "2.2", "5.11")]
CASES = sys.argv[3:] or CASES


def report(results):
    for case in results:
        print(case.case_id, case.behavior.value, case.behavior_close.value)


async def server(url):
    try:
        report(await kosoku.run_fuzzingclient(url, CASES, None, concurrency=2))
    except kosoku.FailureError as failure:
        report(failure.results)


async def run_case(url, number):
    try:
        at = f"{url}/runCase?case={number}&agent=peer"
        async with connect(at, max_size=None, compression="deflate", ping_interval=None) as socket:
            async for message in socket:
                await socket.send(message)
    except (WebSocketException, OSError):
        pass


async def client():
    async with kosoku.run_fuzzingserver(CASES, None, host="127.0.0.1", port=0) as suite:
        print(suite.port, flush=True)
        url = (await asyncio.to_thread(sys.stdin.readline)).strip()
        async with connect(f"{url}/getCaseCount") as socket:
            count = int(await socket.recv())
        for number in range(1, count + 1):
            await run_case(url, number)
        async with connect(f"{url}/updateReports?agent=peer"):
            pass
        try:
            report(await suite.get_result())
        except kosoku.FailureError as failure:
            report(failure.results)


asyncio.run(server(sys.argv[2]) if sys.argv[1] == "server" else client())

# All is said. The suite's own threads may still run, and abort the interpreter when it is taken
# down under them.
sys.stdout.flush()
os._exit(0)
