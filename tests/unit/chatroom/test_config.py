"""chatroom/config.py: what the environment says, which is read there alone."""

from pathlib import Path

import pytest

from chatroom.config import Options, with_environ


def test_the_environment_names_servers_that_no_flag_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag goes before it, and an empty variable is none."""
    monkeypatch.setenv("CHAT_REDIS_URL", "redis://there:1/0")
    monkeypatch.setenv("CHAT_KAFKA_BROKERS", "there:2")
    found = with_environ(Options(Path(), redis="redis://here:1/0"))
    assert (found.redis, found.kafka) == ("redis://here:1/0", "there:2")
    monkeypatch.setenv("CHAT_REDIS_URL", "")
    monkeypatch.delenv("CHAT_KAFKA_BROKERS")
    none = with_environ(Options(Path()))
    assert (none.redis, none.kafka) == (None, None)
