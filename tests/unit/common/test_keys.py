"""Names in Redis: all of a room's in its shard, and no two things under one name."""

from common import keys


def test_all_keys_of_a_room_share_its_shards_hash_tag() -> None:
    """So one script may touch them; a room's name may hold braces and colons."""
    for room in ("room_1", "r:{9}:room:x"):
        names = keys.room_keys(7, room)
        assert (names.stream, names.channel) == (f"chat:{{7}}:room:{room}:stream", f"chat:{{7}}:room:{room}")
        for name in (names.meta, names.nodes, names.outbox, keys.ref(7, room, "u", "r"), keys.lease(7)):
            assert name.startswith("chat:{7}:")
        assert keys.room_of_channel(names.channel) == room


def test_refs_that_look_alike_have_keys_of_their_own() -> None:
    """Room, user and ref are the client's words: joined, they may read the same."""
    alike = [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), ("abc", "d", "")]
    assert len({keys.ref(1, *one) for one in alike}) == len(alike)


def test_a_shard_is_read_from_its_outboxs_key() -> None:
    """As the forwarder finds entries by stream."""
    assert [keys.shard_of_outbox(keys.outbox(shard).encode()) for shard in (0, 63)] == [0, 63]
