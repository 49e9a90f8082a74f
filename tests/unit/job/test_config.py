"""Job's settings: the reference document's values are the defaults."""

import pytest

from job.config import JobSettings


def test_defaults_are_those_of_the_reference_document() -> None:
    """4 consumers in `job-service-group` for the 4 partitions of `my-topic`, gRPC to localhost:50051."""
    settings = JobSettings.load([], {})
    assert (settings.kafka_brokers, settings.kafka_topic) == ("localhost:9092", "my-topic")
    assert (settings.consumer_group, settings.consumers, settings.partitions) == ("job-service-group", 4, 4)
    assert settings.addresses == ["localhost:50051"]
    assert (settings.metrics_port, settings.push_deadline_seconds, settings.drain_seconds) == (9094, 5, 10)


def test_addresses_are_split_by_commas() -> None:
    """Spaces and IPv6 are fine, and none is possible."""
    settings = JobSettings.load([], {"JOB_COMET_ADDRS": "a:1, [::1]:2 ,10.0.0.1:3"})
    assert settings.addresses == ["a:1", "[::1]:2", "10.0.0.1:3"]
    assert JobSettings.load([], {"JOB_COMET_ADDRS": ""}).addresses == []


@pytest.mark.parametrize(
    "environ", [{"JOB_COMET_ADDRS": "a:1,b"}, {"JOB_CONSUMERS": "0"}, {"JOB_PARTITIONS": "-1"}, {"JOB_NONSENSE": "1"}]
)
def test_a_bad_setting_is_named(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """One line, exit 2."""
    with pytest.raises(SystemExit, match="2"):
        JobSettings.load([], environ)
    assert next(iter(environ)) in capsys.readouterr().err
