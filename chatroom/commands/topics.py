"""`chatroom topics`: what is in Kafka, decoded: the PushMsgs that Logic produced, and the dead letters of Job."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeAlias

import click

from chatroom.commands import options
from chatroom.commands.records import DecodedRecord
from chatroom.commands.running import Fault, run, say
from chatroom.commands.topic_reader import FAULTS, LOOK_S, TopicReader, partitions_of
from chatroom.probes import NoAnswer
from common.errors import reason_of

Show: TypeAlias = Callable[[DecodedRecord], str]


@click.command(
    epilog="Example: chatroom topics -n 100    or, to see what comes from now on: chatroom topics -n 0 --follow"
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(0, 100_000),
    default=10,
    show_default=True,
    help="Records to show, the last ones.",
)
@click.option("--follow", is_flag=True, help="Go on with what comes.")
@options.as_json
@options.kafka
@options.topic
def topics(count: int, follow: bool, as_json: bool, kafka: str, topic: str) -> None:  # noqa: FBT001 - click's
    """Show the PushMsgs in Kafka, and the dead letters.

    Reads the topic and beside it NAME.dlq, where Job parks what nobody can read, with the reason. Takes part in no
    consumer group, so nothing is taken from anyone.
    """
    show: Show = DecodedRecord.as_json if as_json else DecodedRecord.line
    run(lambda: _topics(kafka, [topic, f"{topic}.dlq"], count, show, follow=follow))


async def _topics(brokers: str, names: list[str], count: int, show: Show, *, follow: bool) -> int:
    try:
        known = await partitions_of(brokers, names)
        if names[0] not in known:
            raise Fault(
                f"there is no topic {names[0]} at {brokers}: send a message first, or name another with --topic"
            )
        async with contextlib.AsyncExitStack() as opened:
            readers = [
                await opened.enter_async_context(TopicReader.opened(brokers, name, known[name]))
                for name in names
                if name in known
            ]
            await _show_last(readers, count, show)
            if follow:
                late = [_follow_late(brokers, name, show) for name in names if name not in known]
                await asyncio.gather(*(_follow(reader, show) for reader in readers), *late)
    except (NoAnswer, *FAULTS) as e:
        raise Fault(f"can't read from Kafka at {brokers} ({reason_of(e)}): check --kafka") from None
    return 0


async def _show_last(readers: list[TopicReader], count: int, show: Show) -> None:
    """Show the last records of all topics together."""
    found = [record for reader in readers for record in await reader.last(count)]
    found.sort(key=lambda record: record.timestamp)
    for record in found[max(0, len(found) - count) :]:
        say(show(DecodedRecord.read(record)))


async def _follow(reader: TopicReader, show: Show) -> None:
    async for record in reader.follow():
        say(show(DecodedRecord.read(record)))


async def _follow_late(brokers: str, name: str, show: Show) -> None:
    """Follow a topic that does not exist yet from its first record on: the first dead letter may make it."""
    while not (partitions := (await partitions_of(brokers, [name])).get(name)):  # noqa: ASYNC110 - Kafka tells nobody
        await asyncio.sleep(LOOK_S)
    async with TopicReader.opened(brokers, name, partitions) as reader:
        await reader.rewind()
        await _follow(reader, show)
