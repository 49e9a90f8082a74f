"""The refs of pushes and broadcasts: each names one push; for logic/service.py.

A push is stored nowhere, so nodes drop whatever comes under an id that they know. Other contents under a used ref would
be answered as a success and reach nobody. A digest in Redis, kept as long as the ref of a send, tells them apart.
A push needs only Kafka: while Redis is away or refuses, refs are not compared.
"""

from common import keys, redis_client
from common.append_script import digest_of
from common.errors import RefReused, Unavailable
from logic.redis_watch import RedisWatch, ask


class PushRefs:
    """The refs that pushes were given."""

    def __init__(self, redis: redis_client.RedisClient, watch: RedisWatch, window_s: int) -> None:
        self._redis = redis
        self._watch = watch
        self._window_s = window_s

    async def claim(self, push_id: str, contents: bytes) -> None:
        """Keep what the push of this id holds; raise RefReused if it held something else within the window."""
        digest = digest_of([contents])
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.set(keys.push(push_id), digest, ex=self._window_s, nx=True)
        pipeline.get(keys.push(push_id))
        try:
            self._watch.check()
            _, known = await ask(pipeline.execute())
        except Unavailable:
            return
        if known is not None and known.decode() != digest:
            raise RefReused
