"""Everything that Redis keeps, searched for a name."""

from typing import Any


async def names_in(redis: Any, name: str) -> list[str]:
    """Return the keys whose own name, fields, values or members have the name in them."""
    return [key.decode() async for key in redis.scan_iter() if name.encode() in key + await _content(redis, key)]


async def _content(redis: Any, key: bytes) -> bytes:
    kind = (await redis.type(key)).decode()
    readers: dict[str, Any] = {
        "none": lambda _: redis.get(""),  # gone meanwhile
        "string": redis.get,
        "hash": redis.hgetall,
        "set": redis.smembers,
        "zset": lambda key: redis.zrange(key, 0, -1),
        "stream": redis.xrange,
    }
    return repr(await readers[kind](key)).encode()
