"""A look at Kafka: does a broker answer, does the topic exist, who leads its partitions. Asked by logic/kafka.py.

The topic is asked for in a way that never creates it: a topic made by accident would have any number of partitions.
"""

import asyncio
import random
from typing import Any

from aiokafka.errors import KafkaError, NoError, for_code
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import TopicPartition

Client = Any  # aiokafka's; it has no types


class Away(Exception):
    """Kafka can't be used; the text says why and what to do."""


async def partitions(client: Client, brokers: str, topic: str, timeout_s: float) -> int:
    """Return how many partitions the topic has, the client knowing their leaders by then. Raises Away."""
    leaders = await _leaders(client, brokers, topic, timeout_s)
    if not leaders:
        raise Away(
            f"the topic {topic} does not exist: create it (kafka-topics.sh --create --topic {topic} --partitions 4), "
            "or change the setting kafka_topic (CHAT_KAFKA_TOPIC)"
        )
    known = {part: client.cluster.leader_for_partition(TopicPartition(topic, part)) for part in leaders}
    if known != leaders or client.cluster.partitions_for_topic(topic) != set(leaders):
        await _refresh(client, timeout_s)
    return len(leaders)


async def _leaders(client: Client, brokers: str, topic: str, timeout_s: float) -> dict[int, int]:
    """Return each partition's leader as any one broker knows it; nothing if there is no such topic."""
    nodes = [broker.nodeId for broker in client.cluster.brokers()]
    random.shuffle(nodes)
    request = MetadataRequest([topic], allow_auto_topic_creation=False)
    for node in nodes:
        try:
            async with asyncio.timeout(timeout_s):
                answer = await client.send(node, request)
        except (KafkaError, OSError):  # TimeoutError is an OSError
            continue
        (found,) = answer.topics
        return {part[1]: part[2] for part in found[-1]} if for_code(found[0]) is NoError else {}
    raise Away(f"no broker answers at {brokers}")


async def _refresh(client: Client, timeout_s: float) -> None:
    """Let the client learn the leaders. With no topic named to it it asks for all, which creates none."""
    try:
        async with asyncio.timeout(timeout_s):
            await client.force_metadata_update()
    except TimeoutError:
        raise Away("the brokers don't tell who leads the topic's partitions") from None
