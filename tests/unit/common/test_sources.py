"""How values are read, wherever they stand: stripped, without quotes, and secrets from files of their own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from comet.config import CometSettings
from common import sources
from common.errors import SettingError

Load = Callable[[str, str], CometSettings]  # a setting's field and its value


def from_environ(field: str, value: str, _conf: Path) -> CometSettings:
    """The value stands in the environment."""
    return CometSettings.read([], {CometSettings.env_name(field): value})


def from_file(field: str, value: str, conf: Path) -> CometSettings:
    """The value stands in the config file."""
    conf.write_text(f"{CometSettings.file_key(field)}={value}\n")
    return CometSettings.read(["--config", str(conf)], {})


def from_flag(field: str, value: str, _conf: Path) -> CometSettings:
    """The value stands on the command line."""
    return CometSettings.read(["--" + field.replace("_", "-"), value], {})


def from_own_file(field: str, value: str, conf: Path) -> CometSettings:
    """The value stands in a file of its own, as a mounted secret does."""
    conf.write_text(value)
    return CometSettings.read([], {CometSettings.env_name(field) + "_FILE": str(conf)})


FROM = (from_environ, from_file, from_flag, from_own_file)


@pytest.fixture(params=FROM)
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Load:
    """Each place where a secret may stand."""
    return lambda field, value: request.param(field, value, tmp_path / "file")


@pytest.mark.parametrize("value", ["key\n", " key \r\n", "\tkey", "\ufeffkey", "\ufeff key\n", "\u00a0key\u2009"])
def test_what_surrounds_a_value_is_no_part_of_it(read: Load, value: str) -> None:
    """White space, line breaks and byte-order marks, which editors, shells and web pages leave."""
    found = read("auth_key", value).auth_key
    assert found is not None
    assert found.get_secret_value() == "key"


def test_white_space_within_a_value_is_kept(read: Load) -> None:
    """Only its edges are stripped."""
    found = read("auth_key", " a  b ").auth_key
    assert found is not None
    assert found.get_secret_value() == "a  b"


@pytest.mark.parametrize(
    "value",
    ['"%s"', "'%s'", "`%s`", "\u201c%s\u201d", "\u201e%s\u201c", "\u2018%s\u2019", ' "%s" ', '"%s"\ufeff'],
)
def test_quotes_around_a_value_are_a_fault(read: Load, value: str) -> None:
    """Docker's --env-file and config files keep them, so that they would be part of a key or a name."""
    with pytest.raises(SettingError) as failed:
        read("auth_key", value % "hush")
    assert sources.QUOTED in str(failed.value)
    assert "auth_key" in str(failed.value).lower().replace("-", "_")
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize("value", ["a'b", "'a", 'a"', "it's, it's"])
def test_a_quote_within_a_value_is_kept(read: Load, value: str) -> None:
    """A secret may begin or end with one. Only those at both of its ends are a mistake."""
    found = read("auth_key", value).auth_key
    assert found is not None
    assert found.get_secret_value() == value


@pytest.mark.parametrize("value", ['"a,b"', 'a,"b"', "a, 'b' ,c", '""', '"room_001', "room_001'", 'a,"b', "a\u201d,b"])
def test_a_quote_at_an_edge_of_a_name_is_a_fault(value: str) -> None:
    """A room would have them in its name."""
    with pytest.raises(SettingError, match=f"COMET_DEFAULT_ROOMS: {sources.QUOTED}"):
        CometSettings.read([], {"COMET_DEFAULT_ROOMS": value})


def test_a_setting_of_each_type_is_stripped(tmp_path: Path) -> None:
    """Numbers, names and lists, from the environment, the file and a flag."""
    (tmp_path / "conf").write_text("\ufeff# Comet\ngrpc_port = 1001\u00a0\nmetrics_port=1002\n")
    environ = {"COMET_HTTP_BIND_IP": " 127.0.0.1\n", "CHAT_KAFKA_TOPIC": "t\r\n"}
    found = CometSettings.read(["--config", str(tmp_path / "conf"), "--log-level", " debug\n"], environ)
    assert (found.grpc_port, found.metrics_port, found.log_level) == (1001, 1002, "debug")
    assert (found.http_bind_ip, found.kafka_topic) == ("127.0.0.1", "t")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """Editors on Windows put one before the first key."""
    (tmp_path / "conf").write_text("\ufeffgrpc_port=1001\n")
    assert CometSettings.read(["--config", str(tmp_path / "conf")], {}).grpc_port == 1001


@pytest.mark.parametrize(
    "url", ["redis://h", "rediss://h:1/0", "unix:///run/redis.sock", "redis://:p%23w@[::1]:1/2", "redis:///1"]
)
def test_each_form_of_a_redis_url_is_taken(url: str) -> None:
    """As redis-py reads them."""
    assert CometSettings.read([], {"CHAT_REDIS_URL": url}).redis_url.get_secret_value() == url


@pytest.mark.parametrize("value", ["", " ", "\n", "\ufeff"])
def test_an_empty_key_is_a_fault(read: Load, value: str) -> None:
    """A variable that was not filled in would let everybody in as whoever they say they are."""
    with pytest.raises(SettingError, match="is set but empty: unset it to let everybody in as a guest"):
        read("auth_key", value)


def test_without_a_key_everybody_is_a_guest() -> None:
    """The default, which the documented four lines and deploy/conf.conf leave as it is."""
    assert CometSettings.read([], {}).auth_key is None


# -- secrets in files of their own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "value"), [("redis_url", "redis://:pw@h:1/0"), ("forward_url", "http://a:b@h:1")])
def test_each_secret_may_stand_in_a_file(read: Load, field: str, value: str) -> None:
    """All that may hold a password."""
    assert getattr(read(field, value + "\n"), field).get_secret_value() == value


@pytest.mark.parametrize("lines", ["auth_key_file={path}", "chat_redis_url_file = {path} # a secret"])
def test_the_config_file_may_name_a_secrets_file(tmp_path: Path, lines: str) -> None:
    """With the setting's own key there."""
    secret, conf = tmp_path / "secret", tmp_path / "conf"
    secret.write_text("redis://h:1/0\n")
    conf.write_text(lines.format(path=secret))
    found = CometSettings.read(["--config", str(conf)], {})
    held = found.auth_key or found.redis_url
    assert held.get_secret_value() == "redis://h:1/0"


def test_a_later_source_stands_above_a_secrets_file(tmp_path: Path) -> None:
    """As above any other value of an earlier source, whichever of both names a file."""
    (tmp_path / "one").write_text("redis://one:1/0")
    (tmp_path / "two").write_text("redis://two:1/0")
    environ = {"CHAT_REDIS_URL_FILE": str(tmp_path / "one")}
    found = CometSettings.read(["--redis-url", "redis://flag:1/0"], environ)
    assert str(found.redis_url) == "redis://flag:1/0"
    found = CometSettings.read(["--redis-url-file", str(tmp_path / "two")], {"CHAT_REDIS_URL": "redis://env:1/0"})
    assert str(found.redis_url) == "redis://two:1/0"


def test_a_secret_that_is_given_twice_is_a_fault(tmp_path: Path) -> None:
    """Nobody could tell which one holds."""
    (tmp_path / "key").write_text("hush")
    environ = {"COMET_AUTH_KEY": "hush", "COMET_AUTH_KEY_FILE": str(tmp_path / "key")}
    with pytest.raises(SettingError) as failed:
        CometSettings.read([], environ)
    assert str(failed.value) == (
        "comet: bad setting COMET_AUTH_KEY_FILE: COMET_AUTH_KEY is set, too: remove one of them"
    )


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        (b"\xff\xfehush", "it is not UTF-8"),
        (b"h" * (sources.SECRET_BYTES + 1), "is larger than 65536 bytes"),
        (b"'hush'\n", sources.QUOTED),
    ],
)
def test_a_secrets_file_that_is_no_good_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    """With the reason, and without what is in it."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingError) as failed:
        CometSettings.read([], {"COMET_AUTH_KEY_FILE": str(path)})
    assert f"comet: bad setting COMET_AUTH_KEY_FILE: can't read the file {path}: {says}" in str(failed.value) or (
        f"comet: bad setting COMET_AUTH_KEY_FILE: the file {path}" in str(failed.value) and says in str(failed.value)
    )
    assert "hush" not in str(failed.value)


def test_a_folder_and_an_empty_name_are_no_secrets_file(tmp_path: Path) -> None:
    """A mount that is missing in the container is a folder there."""
    for path, says in ((str(tmp_path), "Is a directory"), ("", "is set but empty")):
        with pytest.raises(SettingError, match=says):
            CometSettings.read([], {"COMET_AUTH_KEY_FILE": path})


def test_only_secrets_stand_in_files() -> None:
    """Another setting with `_FILE` behind it is unknown."""
    assert CometSettings.secrets() == ["redis_url", "forward_url", "auth_key"]
    with pytest.raises(SettingError, match="unknown setting COMET_GRPC_PORT_FILE"):
        CometSettings.read([], {"COMET_GRPC_PORT_FILE": "x"})


def test_all_faults_are_told_at_once() -> None:
    """Those of the sources with those of the values."""
    with pytest.raises(SettingError) as failed:
        CometSettings.read([], {"COMET_AUTH_KEY": "'x'", "COMET_GRPC_PORT": "no", "COMET_DEFAULT_ROOMS": '"x"'})
    assert len(str(failed.value).splitlines()) == 3
