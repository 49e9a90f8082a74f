"""deploy/ and docker-compose.yml hold together: with each other, the services' settings and their metrics."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from common.config import SERVICES
from tests.support import build_context
from tests.support.settings_table import SETTINGS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
CONFIG = "/etc/chatroom/conf.conf"

# The services' usual ports, and what is reached beside them.
PORTS = {
    "comet": {8082, 50051, 9091},
    "logic": {8090},
    "kafka": {9092},
    "job": {9094},
    "prometheus": {9090},
    "grafana": {3000},
}


def read(path: str) -> Any:
    """Return a YAML file of deploy/."""
    return yaml.safe_load((DEPLOY / path).read_text())


def properties(path: str) -> dict[str, str]:
    """Return a Java properties file of deploy/."""
    lines = (line.strip() for line in (DEPLOY / path).read_text().splitlines())
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def in_compose(service: str) -> Any:
    """Return the settings that a service has in its container."""
    own = COMPOSE["services"][service]
    options = [str(DEPLOY / "conf.conf") if word == CONFIG else word for word in own["command"][1:]]
    return SETTINGS[service].load(options, own["environment"])


def test_every_port_of_the_seed_is_published_under_its_own_number() -> None:
    """Each service publishes just its ports, the same number on the host."""
    published = {
        name: {tuple(port.split(":")[-2:]) for port in service["ports"]}
        for name, service in COMPOSE["services"].items()
        if "ports" in service
    }
    assert published == {name: {(str(port), str(port)) for port in ports} for name, ports in PORTS.items()}


def test_only_the_chat_is_open_to_other_machines() -> None:
    """Nothing behind the gateway asks who calls, so its ports are bound to this machine."""
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["8082:8082"]


@pytest.mark.parametrize("service", SERVICES)
def test_the_services_know_what_compose_tells_them(service: str) -> None:
    """Environment and config file have no name that the service's settings lack, and lead to its neighbours."""
    settings = in_compose(service)
    assert settings.redis_url.get_secret_value() == "redis://redis:6379/0"
    if service != "comet":
        assert settings.kafka_brokers == "kafka:19092"


def test_the_services_find_each_other() -> None:
    """The addresses in the environment are those that the other services listen on."""
    comet, logic, job = (in_compose(service) for service in SERVICES)
    assert comet.forward_url.get_secret_value() == f"http://logic:{logic.http_bind_port}"
    assert comet.advertise_address == job.comet_addrs == f"comet:{comet.grpc_port}"
    assert {comet.http_bind_port, comet.grpc_port, comet.metrics_port} == PORTS["comet"]
    assert {logic.http_bind_port} == PORTS["logic"]
    assert {job.metrics_port} == PORTS["job"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_key_of_conf_conf_is_known_the_commented_ones_too(service: str, tmp_path: Path) -> None:
    """With its comments taken away the file is read as well, and says what the defaults say."""
    text = re.sub(r"(?m)^#(?=[a-z_]+=)", "", (DEPLOY / "conf.conf").read_text())
    (tmp_path / "all.conf").write_text(text)
    cls = SETTINGS[service]
    assert cls.load(["--config", str(tmp_path / "all.conf")], {}) == cls.load([], {})


def test_conf_conf_has_its_four_lines() -> None:
    """The four keys that the file had from the beginning stand in it, letter by letter."""
    lines = (DEPLOY / "conf.conf").read_text().splitlines()
    seed = [
        "http_bind_ip=0.0.0.0",
        "http_bind_port=8082         # WebSocket",
        "grpc_port=50051             # gRPC, called by Job",
        "metrics_port=9091           # Prometheus",
    ]
    assert [line for line in lines if line and not line.startswith("#")] == seed


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_given_longer_than_the_drain(service: str) -> None:
    """Who drains is not killed."""
    assert int(COMPOSE["services"][service]["stop_grace_period"].removesuffix("s")) > in_compose(service).drain_seconds


@pytest.mark.parametrize("service", SERVICES)
def test_health_checks_and_prometheus_ask_the_port_that_has_metrics(service: str) -> None:
    """`/readyz` and `/metrics` are on one port: Prometheus's job and the health check name it."""
    settings = in_compose(service)
    port = settings.http_bind_port if service == "logic" else settings.metrics_port
    assert f"http://127.0.0.1:{port}/readyz" in COMPOSE["services"][service]["healthcheck"]["test"][-1]
    jobs = {job["job_name"]: job for job in read("prometheus/prometheus.yml")["scrape_configs"]}
    assert set(jobs) == set(SERVICES)
    assert jobs[service]["static_configs"] == [{"targets": [f"{service}:{port}"]}]
    assert "metrics_path" not in jobs[service]


def test_redis_runs_as_promised() -> None:
    """Acked messages survive a crash, and a full Redis refuses."""
    command = " ".join(COMPOSE["services"]["redis"]["command"])
    assert "--appendonly yes --appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command
    assert re.search(r"--maxmemory \d+[mg]b", command)


def test_kafka_listens_inside_and_on_the_host() -> None:
    """Containers are told kafka:19092, the host localhost:9092; the log is in the volume; no topic by accident."""
    kafka, server = COMPOSE["services"]["kafka"], properties("kafka/server.properties")
    assert server["advertised.listeners"] == "INSIDE://kafka:19092,HOST://localhost:9092"
    assert {"INSIDE://:19092", "HOST://:9092"} < set(server["listeners"].split(","))
    assert f"kafka-data:{server['log.dirs']}" in kafka["volumes"]
    assert "./deploy/kafka/server.properties:/mnt/shared/config/server.properties:ro" in kafka["volumes"]
    assert server["auto.create.topics.enable"] == "false"


def test_the_topics_are_those_of_the_services_with_the_partitions_that_job_expects() -> None:
    """The step that makes them names the topic, its dead letters and Job's number of partitions."""
    script = COMPOSE["services"]["kafka-topics"]["command"][-1]
    job = in_compose("job")
    assert f"in {job.kafka_topic} {job.kafka_topic}.dlq;" in script
    assert f"--partitions {job.partitions} " in script
    assert "--if-not-exists" in script


def test_services_wait_for_what_they_need() -> None:
    """Each waits for healthy neighbours and made topics; Comet for Redis alone, since chat goes on without the rest."""
    needs = {service: set(COMPOSE["services"][service]["depends_on"]) for service in SERVICES}
    assert needs == {
        "comet": {"redis"},
        "logic": {"redis", "kafka-topics"},
        "job": {"redis", "kafka-topics", "comet"},
    }


def test_each_mounted_file_exists() -> None:
    """A bind mount of a missing file would make a folder in its place."""
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    missing = [mount for mount in mounts if mount.startswith("./") and not (ROOT / mount.split(":")[0]).exists()]
    assert not missing


def test_images_are_pinned() -> None:
    """Each image from elsewhere has a tag with a version."""
    images = {service["image"] for service in COMPOSE["services"].values() if "image" in service}
    images |= set(re.findall(r"(?m)^ARG PYTHON=(.*)$", (DEPLOY / "Dockerfile").read_text()))
    assert any(image.startswith("python:") for image in images)
    assert all(re.search(r":v?\d+\.\d+\.\d+", image) for image in images), images


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_no_container_has_roots_rights(service: str) -> None:
    """All but Kafka's, which writes its configuration, can write nothing but their volume and /tmp."""
    it = COMPOSE["services"][service]
    assert it["cap_drop"] == ["ALL"]
    assert it["security_opt"] == ["no-new-privileges:true"]
    assert it.get("read_only", False) == ("kafka" not in it.get("image", ""))


def test_the_image_installs_what_the_tests_ran_with() -> None:
    """The image's pins are the tree's, package by package."""
    image, tree = (
        set(re.findall(r"(?m)^[\w.-]+==\S+", (at / "requirements.txt").read_text())) for at in (DEPLOY, ROOT)
    )
    assert image
    assert image <= tree


@pytest.mark.parametrize("left", ["build/lib/chatroom_client/old.py", "chatroom_client.egg-info/SOURCES.txt"])
def test_the_image_gets_no_file_that_an_earlier_build_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Setuptools puts a stale file of a build folder into the wheel."""
    root = tmp_path / "root"
    rules = (ROOT / ".dockerignore").read_text()
    files = [path if (ROOT / path).is_file() else f"{path}/kept" for path in re.findall(r"(?m)^!(.+)$", rules)]
    for path in (*files, f"clients/python/{left}"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / ".dockerignore").write_text(rules)
    monkeypatch.setattr(build_context, "ROOT", root)
    context = build_context.copy(tmp_path / "context")
    assert {str(path.relative_to(context)) for path in context.rglob("*") if path.is_file()} == set(files)
