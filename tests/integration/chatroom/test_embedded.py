"""The embedded servers are what `chatroom up` says they are."""

import asyncio

import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient

from testbed.kafka_server import KafkaServer
from testbed.redis_server import RedisServer


async def test_redis_puts_every_write_on_disk_before_it_answers_and_evicts_nothing(redis_url: str) -> None:
    """The settings that the promises rest on are in force."""
    async with redis.asyncio.Redis.from_url(redis_url, decode_responses=True) as client:
        settings = {
            **await client.config_get("append*"),
            **await client.config_get("maxmemory*"),
            **await client.config_get("save"),
            **await client.config_get("bind"),
        }
    assert settings["appendonly"] == "yes"
    assert settings["appendfsync"] == "always"
    assert settings["maxmemory"] == str(512 << 20)
    assert settings["maxmemory-policy"] == "noeviction"
    assert settings["save"] == ""
    assert settings["bind"] == "127.0.0.1"


async def test_redis_has_what_it_answered_after_a_sigkill(own_redis: RedisServer) -> None:
    """A write that was answered survives SIGKILL and a start on the same port."""
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
        await client.set("key", "kept")
    await asyncio.to_thread(own_redis.kill)
    await asyncio.to_thread(own_redis.start)
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
        assert await client.get("key") == "kept"


async def test_a_fresh_topic_has_four_partitions(kafka_brokers: str, topic: str) -> None:
    """`ensure_topic` makes the partitions asked for, and making it again is no error."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_brokers)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    assert len(described["partitions"]) == 4


async def test_creating_an_existing_topic_again_is_no_error(kafka: KafkaServer, topic: str) -> None:
    """`chatroom up` does that at each start with a Kafka of the user's."""
    assert await asyncio.to_thread(kafka.create_topic, topic) == topic


async def test_kafka_answers_again_after_a_kill(own_kafka: KafkaServer) -> None:
    """The fixture that others break: kill, start, same port."""
    await asyncio.to_thread(own_kafka.kill)
    await asyncio.to_thread(own_kafka.start)
    await asyncio.to_thread(own_kafka.create_topic, "again")
