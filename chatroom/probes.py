"""Whether a server answers, and the topic it must have. The only adapter of `chatroom` for redis, aiokafka and HTTP.

Everything here asks once; the caller retries until its own deadline.
"""

import asyncio
from http import HTTPStatus

import aiohttp
from aiokafka import AIOKafkaClient
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from common import redis_client
from common.errors import reason_of

ASK_TIMEOUT_S = 3.0
_OK, _TOPIC_EXISTS, _BAD_REPLICATION = 0, 36, 38
_AS_THE_CLUSTER_SAYS = -1
_A_STRANGER = "another program answers on its port"


class NoAnswer(Exception):
    """The server can't be reached or refused; the text says why."""


async def ask_redis(url: str, pid: int | None = None) -> None:
    """Ask Redis whether it serves, and whether it is the process that we mean. Raises NoAnswer, SettingError."""
    client = redis_client.connect(url, timeout_s=ASK_TIMEOUT_S, retries=0)
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S), client:
            await client.ping()  # an error while it still loads its files, which INFO is not
            found = (await client.info("server"))["process_id"] if pid else None
    except (RedisError, OSError) as e:  # TimeoutError is an OSError
        raise NoAnswer(reason_of(e)) from None
    if pid and found != pid:
        raise NoAnswer(_A_STRANGER)


async def ask_kafka(brokers: str) -> None:
    """Bootstrap from the brokers. Raises NoAnswer."""
    client = AIOKafkaClient(bootstrap_servers=brokers, request_timeout_ms=int(ASK_TIMEOUT_S * 1000))
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await client.bootstrap()
    except (KafkaError, OSError, ValueError) as e:
        raise NoAnswer(reason_of(e)) from None
    finally:
        await client.close()


async def ensure_topic(brokers: str, topic: str, partitions: int, cluster: str | None = None) -> None:
    """Create the topic unless it exists (with however many partitions: Job says so if they are the wrong number).

    Raises NoAnswer, also where the brokers are not the cluster's that we mean.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=brokers, request_timeout_ms=int(ASK_TIMEOUT_S * 1000))
    try:
        async with asyncio.timeout(2 * ASK_TIMEOUT_S):
            await admin.start()
            if cluster and (await admin.describe_cluster())["cluster_id"] != cluster:
                raise NoAnswer(_A_STRANGER)
            code, text = await _create(admin, topic, partitions, _AS_THE_CLUSTER_SAYS)
            if code == _BAD_REPLICATION:  # a broker too old to have its own default
                code, text = await _create(admin, topic, partitions, 1)
    except (KafkaError, OSError, ValueError) as e:
        raise NoAnswer(reason_of(e)) from None
    finally:
        await admin.close()
    if code not in (_OK, _TOPIC_EXISTS):
        raise NoAnswer(f"can't create topic {topic}: {text or code}")


async def ask_ready(url: str) -> None:
    """GET a service's /readyz. Raises NoAnswer with the service's own reasons."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S), aiohttp.ClientSession() as http, http.get(url) as response:
            if response.status == HTTPStatus.OK:
                return
            reasons = (await response.json()).get("reasons", {})
    except aiohttp.ClientConnectorError:
        raise NoAnswer("starting") from None
    except (aiohttp.ClientError, OSError, ValueError, AttributeError) as e:
        raise NoAnswer(reason_of(e)) from None
    raise NoAnswer("; ".join(f"{name}: {why}" for name, why in reasons.items()) or f"answers {response.status}")


async def _create(admin: AIOKafkaAdminClient, topic: str, partitions: int, replication: int) -> tuple[int, str]:
    """Return Kafka's error code and text; aiokafka takes a replication of -1 only with an empty assignment."""
    wanted = NewTopic(topic, partitions, replication, {} if replication == _AS_THE_CLUSTER_SAYS else None)
    response = await admin.create_topics([wanted], timeout_ms=int(ASK_TIMEOUT_S * 1000))
    ((_, code, text),) = response.topic_errors
    return code, text or ""
