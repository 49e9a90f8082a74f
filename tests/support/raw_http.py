"""HTTP as bytes, for requests that no HTTP client would send."""

import asyncio

ANSWER_S = 5.0


async def exchange(port: int, request: bytes) -> bytes:
    """Send a request, and return all that the server answers until it closes."""
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()
