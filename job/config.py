"""Job's settings."""

from typing import ClassVar

from pydantic import Field, field_validator

from common.config import ADDRESS, ADDRESS_FORM, BIND_FORM, SharedSettings


class JobSettings(SharedSettings):
    """What Job can be told."""

    service: ClassVar[str] = "job"

    http_bind_ip: str = Field("0.0.0.0", description=BIND_FORM)  # noqa: S104 - as the other services do
    metrics_port: int = Field(9094, ge=1, le=65_535, description="port of /metrics, /healthz and /readyz")
    consumers: int = Field(4, ge=1, le=64, description="members that this process brings to the consumer group")
    partitions: int = Field(4, ge=0, description="partitions that the topic must have; 0: any number")
    consumer_group: str = Field("job-service-group", min_length=1, max_length=240, description="the group's name")
    topic_look_seconds: float = Field(
        10.0, ge=0.1, le=30, description="between two looks at the topic's partitions; new ones are read one look later"
    )
    topic_wait_seconds: float = Field(30.0, ge=0, description="how long to wait for a topic that does not exist yet")
    comet_addrs: str = Field(
        "localhost:50051", description="gRPC of Comet, host:port by commas, while no node is registered"
    )
    push_deadline_seconds: float = Field(5.0, gt=0, description="how long a record is pushed to a node that fails")
    drain_seconds: float = Field(10.0, ge=0, description="time to finish what is in flight on SIGTERM")

    @field_validator("comet_addrs")
    @classmethod
    def _check_addresses(cls, value: str) -> str:
        for address in filter(None, value.split(",")):
            if not ADDRESS.fullmatch(address.strip()):
                raise ValueError(f"{address.strip()!r} is not {ADDRESS_FORM}")
        return value

    @property
    def addresses(self) -> list[str]:
        """Where Comet is looked for while no node is registered."""
        return [address.strip() for address in self.comet_addrs.split(",") if address.strip()]
