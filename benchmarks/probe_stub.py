"""A stub chat endpoint for benchmarks of clients: answers at once, streamed, with as little work as possible.

`python benchmarks/probe_stub.py` prints its port on the first line and serves until its standard input closes.
"""

import asyncio
import json
import sys

PIECES = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}]
PIECES += [{"choices": [{"index": 0, "delta": {"content": letter}, "finish_reason": None}]} for letter in "forty-two"]
PIECES += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
PIECES += [{"choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}}]
CHUNK = {"id": "x", "object": "chat.completion.chunk", "model": "stub"}
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
STREAM = "".join([HEAD, *(f"data: {json.dumps(CHUNK | piece)}\n\n" for piece in PIECES), "data: [DONE]\n\n"]).encode()
WHOLE_BODY = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "stub",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "forty-two"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
    }
).encode()
WHOLE_HEAD = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(WHOLE_BODY)}\r\n\r\n"
WHOLE = WHOLE_HEAD.encode() + WHOLE_BODY


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Requests of one connection, one after the other; a streamed one ends it."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            length = next((int(line.split(b":")[1]) for line in head if line.startswith(b"content-length:")), 0)
            streamed = b'"stream": true' in (body := await reader.readexactly(length)) or b'"stream":true' in body
            writer.write(STREAM if streamed else WHOLE)
            await writer.drain()
            if streamed:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until standard input closes."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
