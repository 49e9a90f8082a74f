"""Append while Redis goes and comes back: in the order of the calls, each message once, in the right epoch."""

import asyncio

from redis.asyncio import Redis

from common import redis_client
from common.errors import Unavailable
from common.store import Appended, Store
from testbed.redis_server import RedisServer
from tests.integration.common.appends import ALICE, ROOM, contents, settled
from tests.support.eventually import eventually
from tests.support.open_store import open_store


async def test_scripts_that_redis_forgot_are_loaded_again(store: Store, redis: Redis) -> None:
    """SCRIPT FLUSH costs nobody a message, nor its place."""
    await store.append(ROOM, ALICE, ["0"])
    await redis.script_flush()
    await asyncio.gather(*(store.append(ROOM, ALICE, [str(i)]) for i in range(1, 600)))
    assert await contents(store) == [str(i) for i in range(600)]


async def test_order_is_kept_while_nodes_load_the_scripts_again(redis_url: str, redis: Redis) -> None:
    """A restarted Redis knows no script: what one node loads must not let another's later messages overtake earlier."""
    async with open_store(redis_url) as one, open_store(redis_url) as two:
        for lap in range(5):
            await redis.script_flush()
            many = [two.append(f"room {lap}", ALICE, [f"{i} " + "x" * 5000]) for i in range(256)]
            few = [one.append("other", ALICE, ["x"])]
            await asyncio.gather(*many, *few)
            found = await contents(one, f"room {lap}")
            assert [int(content.split()[0]) for content in found] == list(range(256))


async def test_appends_go_on_when_redis_was_killed_and_came_back(own_redis: RedisServer) -> None:
    """Every append is answered; each message is in the log once, in the order of the calls."""
    async with open_store(own_redis.url, append_timeout_s=20) as store:
        futures: list[asyncio.Future[Appended]] = []

        async def send() -> None:
            for i in range(400):
                futures.append(store.append(ROOM, ALICE, [str(i)]))
                await asyncio.sleep(0.002)

        sending = asyncio.create_task(send())
        await eventually(lambda: len(futures) > 100)
        await asyncio.to_thread(own_redis.kill)
        await eventually(lambda: len(futures) > 250)
        await asyncio.to_thread(own_redis.start)
        await sending
        answers = await settled(futures)
        assert [answer for answer in answers if isinstance(answer, BaseException)] == []
        assert await contents(store) == [str(i) for i in range(400)]
        seqs = [answer.first_seq for answer in answers if isinstance(answer, Appended)]
        assert seqs == list(range(1, 401))


async def test_a_redis_that_restarted_opens_a_new_epoch(own_redis: RedisServer) -> None:
    """It may have lost its tail. Seqs run on; the log says where each epoch began, and lost nothing."""
    async with open_store(own_redis.url) as store:
        first = await store.append(ROOM, ALICE, ["one", "two"])
        for _ in range(2):
            await asyncio.to_thread(own_redis.kill)
            await asyncio.to_thread(own_redis.start)
            last = await store.append(ROOM, ALICE, ["more"])
        read = await store.read(ROOM, 1, 10)
        assert [entry.seq for entry in read.entries] == [1, 2, 3, 4]
        assert [epoch for epoch, _ in read.log.epochs] == sorted({entry.epoch for entry in read.entries})
        assert [begin for _, begin in read.log.epochs] == [1, 3, 4]
        assert (read.log.epochs[0][0], read.log.epoch) == (first.epoch, last.epoch)
        assert [burst.first_seq for burst in read.bursts()] == [1, 3, 4]


async def test_only_the_last_sixteen_epochs_are_kept(store: Store, redis: Redis) -> None:
    """A room's meta is bounded; whoever stands in an older one starts anew."""
    for i in range(20):
        await redis.hset(store.keys_of(ROOM).meta, "run", "another")
        await store.append(ROOM, ALICE, [str(i)])
    read = await store.read(ROOM, 1, 100)
    assert [begin for _, begin in read.log.epochs] == list(range(5, 21))
    assert len({entry.epoch for entry in read.entries}) == 20


async def test_a_new_epoch_is_larger_even_when_the_clock_ran_back(store: Store, redis: Redis) -> None:
    """It is milliseconds by Redis's clock, but always above the one before."""
    await store.append(ROOM, ALICE, ["one"])
    far = 9_000_000_000_000
    await redis.hset(store.keys_of(ROOM).meta, mapping={"run": "another", "epoch": far})
    assert (await store.append(ROOM, ALICE, ["two"])).epoch == far + 1


async def test_without_redis_an_append_is_refused_by_its_deadline(own_redis: RedisServer) -> None:
    """Unavailable, for those that wait behind too; afterwards all works, and a refused ref may be sent again."""
    async with open_store(own_redis.url, append_timeout_s=1.5) as store:
        await store.append(ROOM, ALICE, ["0"])
        await asyncio.to_thread(own_redis.stop)
        futures = [store.append(ROOM, ALICE, [str(i)], ref=str(i)) for i in range(1, 300)]
        async with asyncio.timeout(5):
            answers = await settled(futures)
        assert {type(answer) for answer in answers} == {Unavailable}
        await asyncio.to_thread(own_redis.start)
        await asyncio.gather(*(store.append(ROOM, ALICE, [str(i)], ref=str(i)) for i in range(1, 300)))
        assert await contents(store) == [str(i) for i in range(300)]


async def test_a_redis_that_hangs_is_given_up_and_nothing_doubles(own_redis: RedisServer) -> None:
    """Its answers come too late: they are asked for again on a new connection, under the same refs."""
    async with open_store(own_redis.url, append_timeout_s=20) as store:
        await store.append(ROOM, ALICE, ["0"])
        async with redis_client.connect(own_redis.url) as other:
            await other.client_pause(3000, all=True)
        await asyncio.gather(*(store.append(ROOM, ALICE, [str(i)]) for i in range(1, 20)))
        assert await contents(store) == [str(i) for i in range(20)]
