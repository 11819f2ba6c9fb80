"""A WebSocket server that gives back every message as it came, and says its port.

On `/close/CODE` it closes with that code after the first message.
"""

import asyncio

from websockets.asyncio.server import serve


async def talk(socket):
    path = socket.request.path
    async for message in socket:
        if path.startswith("/close/"):
            await socket.close(int(path.rsplit("/", 1)[1]), "as asked")
            return
        await socket.send(message)


def choose(_socket, offered):
    return "chat.v2" if "chat.v2" in offered else None


async def main():
    async with serve(
        talk, "127.0.0.1", 0, max_size=None, select_subprotocol=choose
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
