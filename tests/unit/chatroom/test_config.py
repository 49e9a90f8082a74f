"""chatroom/config.py: what the environment says, which is read there alone."""

from pathlib import Path

import pytest

from chatroom.config import Options, redis_url, service_environ, settled, with_environ
from common.errors import SettingError


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


def test_a_redis_of_a_flag_takes_the_place_of_one_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The services would refuse to choose between two names of one source."""
    monkeypatch.setenv("CHAT_REDIS_URL_FILE", "/there")
    environ = service_environ(Options(Path(), redis="redis://:pw@here:1/0"))
    assert environ["CHAT_REDIS_URL"] == "redis://:pw@here:1/0"
    assert "CHAT_REDIS_URL_FILE" not in environ
    assert service_environ(Options(Path()))["CHAT_REDIS_URL_FILE"] == "/there"


def test_the_services_redis_is_known_with_its_password(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From the config file, a file of its own, the environment or a flag; the services do not print it."""
    secret, conf = tmp_path / "secret", tmp_path / "conf"
    secret.write_text("redis://:pw@file:1/0\n")
    conf.write_text("http_bind_port=1\nlogic_http_bind_port=2\nchat_redis_url=redis://:pw@conf:1/0\n")
    options = Options(tmp_path, config=conf)
    assert redis_url(options) == "redis://:pw@conf:1/0"
    monkeypatch.setenv("CHAT_REDIS_URL_FILE", str(secret))
    monkeypatch.setenv("COMET_GRPC_PORT", "1")
    assert redis_url(options) == "redis://:pw@file:1/0"
    assert redis_url(with_environ(Options(tmp_path, redis="redis://:pw@flag:1/0"))) == "redis://:pw@flag:1/0"


def test_commands_read_a_secrets_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the services do; a fault names the variable."""

    def token() -> str | None:
        return settled(None, "--token", "CHATROOM_TOKEN", secret=True)

    assert token() is None
    (tmp_path / "token").write_text("a.b.c\n")
    monkeypatch.setenv("CHATROOM_TOKEN_FILE", f"{tmp_path / 'token'}\n")
    assert token() == "a.b.c"
    monkeypatch.setenv("CHATROOM_TOKEN_FILE", "/nowhere")
    with pytest.raises(SettingError, match="CHATROOM_TOKEN_FILE: can't read the file /nowhere"):
        token()
