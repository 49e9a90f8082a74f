"""Settings: from the file over the environment to flags; whatever is wrong is named, and nothing starts."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import Secret

from comet.config import CometSettings
from common.config import SharedSettings
from common.masking import SecretUrl
from job.config import JobSettings
from logic.config import LogicSettings

SERVICES = (CometSettings, LogicSettings, JobSettings)


def load(
    *argv: str, environ: Mapping[str, str] | None = None, cls: type[SharedSettings] = CometSettings
) -> SharedSettings:
    """Read settings with nothing of the developer's own environment."""
    return cls.load(argv, environ or {})


def faults(
    capsys: pytest.CaptureFixture[str], *argv: str, environ: Mapping[str, str] | None = None,
    cls: type[SharedSettings] = CometSettings,
) -> list[str]:  # fmt: skip
    """Read bad settings and return the lines that say what is wrong."""
    with pytest.raises(SystemExit) as exited:
        load(*argv, environ=environ, cls=cls)
    captured = capsys.readouterr()
    assert (exited.value.code, captured.out) == (2, "")
    return captured.err.splitlines()


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A config file to write."""
    return tmp_path / "conf.conf"


# -- sources -------------------------------------------------------------------------------------------------------


def test_each_source_stands_above_the_one_before(conf: Path) -> None:
    """Default, file, environment, flag."""
    conf.write_text("grpc_port=1001\nmetrics_port=1002\nhttp_bind_port=1003\n")
    environ = {"COMET_METRICS_PORT": "2002", "COMET_HTTP_BIND_PORT": "2003"}
    found = load("--config", str(conf), "--http-bind-port", "3003", environ=environ).model_dump()
    ports = [found[name] for name in ("grpc_port", "metrics_port", "http_bind_port")]
    assert (ports, found["node_index"]) == ([1001, 2002, 3003], 0)


def test_the_documented_file_is_read_with_its_very_keys(conf: Path) -> None:
    """Comments, blanks and spaces around names and values too."""
    conf.write_text(
        "# Comet\n\nhttp_bind_ip=127.0.0.1\nhttp_bind_port=9082         # WebSocket\n"
        "  grpc_port = 50052 # gRPC, called by Job\nmetrics_port=9099 # Prometheus\nchat_log_level=debug\n"
    )
    found = load("--config", str(conf)).model_dump()
    assert [found[name] for name in ("http_bind_ip", "http_bind_port", "grpc_port", "metrics_port", "log_level")] == [
        "127.0.0.1", 9082, 50052, 9099, "debug",
    ]  # fmt: skip


def test_a_value_may_hold_what_looks_like_syntax(conf: Path) -> None:
    """An equals sign, and a # that no space stands before."""
    conf.write_text("forward_url=http://h:1/a?b=c#d\nchat_redis_url=redis://:pa=ss%23word@h:1/0\n")
    found = CometSettings.load(["--config", str(conf)], {})
    assert found.forward_url.get_secret_value() == "http://h:1/a?b=c#d"
    assert found.redis_url.get_secret_value() == "redis://:pa=ss%23word@h:1/0"


def test_one_file_serves_all_three(conf: Path) -> None:
    """Each reads its own keys and the shared ones, and passes over the others'."""
    conf.write_text("http_bind_port=1\nlogic_http_bind_port=2\njob_metrics_port=3\nchat_shards=4\n")
    comet, logic, job = (load("--config", str(conf), cls=cls).model_dump() for cls in SERVICES)
    assert (comet["http_bind_port"], logic["http_bind_port"], job["metrics_port"]) == (1, 2, 3)
    assert [found["shards"] for found in (comet, logic, job)] == [4, 4, 4]


def test_the_file_that_ships_is_good_for_all(request: pytest.FixtureRequest) -> None:
    """deploy/conf.conf."""
    for cls in SERVICES:
        assert load("--config", str(request.config.rootpath / "deploy" / "conf.conf"), cls=cls)


@pytest.mark.parametrize(
    "name",
    ["COMET_PORT", "COMET_SERVICE_HOST", "COMET_SERVICE_PORT", "COMET_SERVICE_PORT_HTTP", "COMET_PORT_8082_TCP",
     "COMET_PORT_8082_TCP_ADDR", "LOGIC_HTTP_BIND_PORT", "JOB_NONSENSE", "PATH", "COMETARY"],
)  # fmt: skip
def test_names_of_others_in_the_environment_are_passed_over(name: str) -> None:
    """Kubernetes puts some into every container; other services read their own."""
    assert load(environ={name: "tcp://10.0.0.1:8082"}) == load()


# -- faults --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["COMET_GRPC_PROT", "CHAT_REDIS", "COMET_REDIS_URL", "CHAT_GRPC_PORT"])
def test_an_unknown_name_in_the_environment_is_an_error(capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Also a known one under the wrong prefix."""
    [line] = faults(capsys, environ={name: "x"})
    assert name in line


@pytest.mark.parametrize("key", ["grpc_prot", "comet_grpc_port", "redis_url", "chat_redis"])
def test_an_unknown_key_in_the_file_is_an_error(capsys: pytest.CaptureFixture[str], conf: Path, key: str) -> None:
    """Named with its file and line."""
    conf.write_text(f"\n{key}=1\n")
    [line] = faults(capsys, "--config", str(conf))
    assert key in line
    assert f"{conf}, line 2" in line


def test_other_services_find_their_own_unknown_keys_only(capsys: pytest.CaptureFixture[str], conf: Path) -> None:
    """What has no prefix is Comet's; a wrong shared key is everybody's."""
    conf.write_text("grpc_prot=1\n")
    assert load("--config", str(conf), cls=LogicSettings)
    conf.write_text("logic_prot=1\n")
    assert load("--config", str(conf), cls=JobSettings)
    assert "logic_prot" in faults(capsys, "--config", str(conf), cls=LogicSettings)[0]
    conf.write_text("chat_prot=1\n")
    for cls in SERVICES:
        assert "chat_prot" in faults(capsys, "--config", str(conf), cls=cls)[0]


@pytest.mark.parametrize("argv", [("--grpc-prot", "1"), ("--grpc-por", "1"), ("extra",), ("--grpc-port",)])
def test_a_wrong_flag_is_an_error(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...]) -> None:
    """Also one that is only begun, so that a later version's new flag can't change what it means."""
    [line] = faults(capsys, *argv)
    assert argv[0] in line


def test_every_address_may_be_ipv6_in_brackets() -> None:
    """Host and port of brokers, nodes, Redis and Logic."""
    environ = {
        "CHAT_KAFKA_BROKERS": "[fd00::1]:9092,[::1]",
        "CHAT_REDIS_URL": "redis://[fd00::1]:6379/0",
        "COMET_ADVERTISE_ADDRESS": "[fd00::1]:50051",
        "COMET_FORWARD_URL": "http://[fd00::1]:8090",
    }
    loaded = load(environ=environ).model_dump().values()
    assert set(environ.values()) <= {one.get_secret_value() if isinstance(one, Secret) else one for one in loaded}
    assert JobSettings.load([], {"JOB_COMET_ADDRS": "[fd00::1]:1"}).addresses == ["[fd00::1]:1"]


@pytest.mark.parametrize(
    ("argv", "environ", "named"),
    [
        (("--grpc-port", "many"), {}, "--grpc-port"),
        ((), {"COMET_GRPC_PORT": "70000"}, "COMET_GRPC_PORT"),
        ((), {"CHAT_LOG_LEVEL": "loud"}, "CHAT_LOG_LEVEL"),
        ((), {"COMET_DEFAULT_ROOMS": "a b"}, "COMET_DEFAULT_ROOMS"),
        ((), {"CHAT_SHARDS": ""}, "CHAT_SHARDS"),
        ((), {"CHAT_SHARDS": "0"}, "CHAT_SHARDS"),
        ((), {"CHAT_SHARDS": "1025"}, "CHAT_SHARDS"),
        ((), {"COMET_ADVERTISE_ADDRESS": "http://comet:50051"}, "COMET_ADVERTISE_ADDRESS"),
        ((), {"COMET_ADVERTISE_ADDRESS": "a,b:1"}, "COMET_ADVERTISE_ADDRESS"),
        ((), {"COMET_ADVERTISE_ADDRESS": "fd00::1:50051"}, "an IPv6 address in brackets"),
        ((), {"CHAT_KAFKA_BROKERS": "fd00::1:9092"}, "an IPv6 address in brackets"),
    ],
)
def test_a_bad_value_is_named_by_where_it_came_from(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], environ: dict[str, str], named: str
) -> None:
    """With what was found there."""
    [line] = faults(capsys, *argv, environ=environ)
    assert named in line
    assert "got " in line


def test_every_fault_gets_a_line(capsys: pytest.CaptureFixture[str], conf: Path) -> None:
    """So that an operator mends all at once."""
    conf.write_text("grpc_port=0\n")
    lines = faults(capsys, "--config", str(conf), "--shards", "no", environ={"COMET_METRICS_PORT": "x"})
    assert [next(name for name in ("grpc_port", "METRICS_PORT", "--shards") if name in line) for line in lines]
    assert len(lines) == 3


@pytest.mark.parametrize("content", [None, b"grpc_port\n", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(
    capsys: pytest.CaptureFixture[str], conf: Path, content: bytes | None
) -> None:
    """Missing, no key=value, no text."""
    if content is not None:
        conf.write_bytes(content)
    [line] = faults(capsys, "--config", str(conf))
    assert str(conf) in line


# -- showing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", SERVICES)
def test_help_lists_every_setting_with_its_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cls: type[SharedSettings]
) -> None:
    """Its flag, its name in the environment, what it is."""
    monkeypatch.setenv("COLUMNS", "1000")  # no line is broken
    with pytest.raises(SystemExit) as exited:
        load("--help", cls=cls)
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert exited.value.code == 0
    for field, spec in cls.model_fields.items():
        assert f"--{field.replace('_', '-')} VALUE" in text
        default = str(spec.default) if isinstance(spec.default, SecretUrl) else spec.default
        shown = str(default).lower() if isinstance(default, bool) else "none" if default in {"", None} else default
        assert f"[{cls.env_name(field)}, default: {shown}]" in text, field
        assert spec.description, field


@pytest.mark.parametrize("cls", SERVICES)
def test_settings_in_force_are_printed_as_json(capsys: pytest.CaptureFixture[str], cls: type[SharedSettings]) -> None:
    """One object with every setting, and exit 0."""
    with pytest.raises(SystemExit) as exited:
        load("--print-settings", "--log-level", "debug", cls=cls)
    shown = json.loads(capsys.readouterr().out)
    assert (exited.value.code, shown["log_level"]) == (0, "debug")
    assert shown.keys() == cls.model_fields.keys()


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("COMET_AUTH_KEY", "hush", "**********"),
        ("CHAT_REDIS_URL", "redis://me:hush@h:1/0", "redis://***@h:1/0"),
        ("CHAT_REDIS_URL", "redis://h:1/0?password=hush", "redis://h:1/0?password=***"),
        ("COMET_FORWARD_URL", "http://me:hush@h:1", "http://***@h:1"),
        ("COMET_FORWARD_URL", "http://h:1/?api_key=hush", "http://h:1/?api_key=***"),
    ],
)
def test_secrets_are_not_printed(capsys: pytest.CaptureFixture[str], name: str, value: str, shown: str) -> None:
    """Neither among the settings nor by a repr."""
    with pytest.raises(SystemExit):
        load("--print-settings", environ={name: value})
    out = capsys.readouterr().out
    assert shown in json.loads(out).values()
    assert "hush" not in out
    assert "hush" not in repr(load(environ={name: value})) + str(load(environ={name: value}))


@pytest.mark.parametrize(
    ("argv", "environ"),
    [
        ((), {"CHAT_REDIS_URL": "hush://hush"}),
        ((), {"CHAT_REDIS_URL": "redis://:hush/hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://:hush#hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://:a@h:hush/0"}),
        ((), {"CHAT_REDIS_URL": "redis://me:12#hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://me:12?hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://me:12/hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://:hush hush@h:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://:hush@:1/0"}),
        ((), {"CHAT_REDIS_URL": "redis://"}),
        ((), {"CHAT_REDIS_URL_FILE": "redis://:hush@h:1/0"}),
        ((), {"CHAT_KAFKA_BROKERS": "redis://:hush@h:1/0"}),
        ((), {"CHAT_KAFKA_BROKERS": "me:hush@h:1"}),
        ((), {"CHAT_KAFKA_BROKERS": "h:1,hush@h:1"}),
        ((), {"COMET_ADVERTISE_ADDRESS": "me:hush@h:1"}),
        ((), {"COMET_FORWARD_URL": "ftp://:hush@h:1"}),
        ((), {"COMET_AUTH_KEY": "'hush'"}),
        (("--auth-kye", "hush"), {}),
        (("--auth-kye=hush",), {}),
    ],
)
def test_faults_show_no_secret(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], environ: dict[str, str]
) -> None:
    """Not even in the wrong place, or where a special character splits the URL in a way that nobody meant."""
    [line] = faults(capsys, *argv, environ=environ)
    assert "hush" not in line
    assert any(name in line for name in (*environ, "--auth-kye"))


def test_a_fault_of_the_file_shows_no_line_of_a_secret(capsys: pytest.CaptureFixture[str], conf: Path) -> None:
    """A key in PEM has several; the second may end in equals signs."""
    for line in ("hush", "hush+/hush==", "=hush", "MIIBhush=", "MIIBhush=hush", "hush="):
        conf.write_text(f"auth_key=-----BEGIN PUBLIC KEY-----\n{line}\n")
        [fault] = faults(capsys, "--config", str(conf))
        assert fault == f"comet: {conf}, line 2: expected key=value, the key in lower case"


@pytest.mark.parametrize(
    ("index", "ports"), [(0, [8082, 50051, 9091]), (1, [8182, 50052, 9191]), (3, [8382, 50054, 9193])]
)
def test_further_nodes_on_a_machine_move_their_ports(
    capsys: pytest.CaptureFixture[str], index: int, ports: list[int]
) -> None:
    """By the design's distances, and what is printed is what is used."""
    with pytest.raises(SystemExit):
        load("--print-settings", "--node-index", str(index))
    shown = json.loads(capsys.readouterr().out)
    assert [shown[name] for name in ("http_bind_port", "grpc_port", "metrics_port")] == ports


def test_an_illegal_default_room_is_named(conf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the character that is in the way."""
    conf.write_text("default_rooms=a,b\u200bc\n")
    with pytest.raises(SystemExit):
        CometSettings.load(["--config", str(conf)], {})
    assert "default_rooms holds U+200B ZERO WIDTH SPACE at position 2" in capsys.readouterr().err


def test_default_rooms_are_a_list(conf: Path) -> None:
    """Separated by commas, spaces around them or not."""
    conf.write_text("default_rooms=a, b,,c\n")
    found = CometSettings.load(["--config", str(conf)], {})
    assert found.rooms == ["a", "b", "c"]
    assert CometSettings.load(["--default-rooms", ""], {}).rooms == []
