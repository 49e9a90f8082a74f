"""Logic's settings."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from common.config import BIND_FORM, SharedSettings


class LogicSettings(SharedSettings):
    """What Logic can be told."""

    service: ClassVar[str] = "logic"

    http_bind_ip: str = Field("0.0.0.0", description=BIND_FORM)  # noqa: S104 - backends are elsewhere
    http_bind_port: int = Field(
        8090, ge=1, le=65_535, description="HTTP port: the API, /docs, /healthz, /readyz, /metrics"
    )

    max_body_bytes: int = Field(16_777_216, ge=1024, description="size of a request's body; past it 413")
    max_content_bytes: int = Field(16_384, ge=1, description="size of one backend message's content in UTF-8")
    max_messages_per_send: int = Field(100, ge=1, description="messages in one send of a backend")
    max_users_per_push: int = Field(1000, ge=1, description="user ids in one push")
    max_requests: int = Field(1000, ge=1, description="requests in work at once; past it 503 overloaded")
    history_messages: int = Field(100, ge=1, le=1000, description="most messages in one page of a room's history")
    rooms_page: int = Field(100, ge=1, le=1000, description="rooms in one page of the list of rooms, about")

    produce_timeout_seconds: float = Field(
        4.0, gt=0, description="wait for Kafka's acknowledgement, then 503; keep it below Comet's timeout"
    )
    produce_batch_bytes: int = Field(
        917_504, ge=16_384, description="size of a record batch; must not exceed the broker's message.max.bytes"
    )
    produce_queue_bytes: int = Field(
        67_108_864, ge=65_536, description="bytes that may wait for Kafka; past it 503 overloaded"
    )
    check_seconds: float = Field(0.5, gt=0, description="between two looks at whether Kafka and Redis answer")
    check_timeout_seconds: float = Field(2.0, gt=0, description="after which a look counts as failed")
    append_timeout_seconds: float = Field(3.0, gt=0, description="how long a backend's message waits for Redis")
    append_queue: int = Field(10_000, ge=1, description="backend messages that may wait for Redis; past it overloaded")
    append_queue_bytes: int = Field(67_108_864, ge=1, description="bytes that may wait for Redis; past it overloaded")
    ref_window_seconds: int = Field(300, ge=1, description="how long the same ref gets the first ids")
    drain_seconds: float = Field(10.0, ge=0, description="time to answer what was taken on SIGTERM")

    @model_validator(mode="after")
    def _check_content_fits(self) -> Self:
        """What was stored must fit into a record, whatever JSON makes of it: a control character takes 6 bytes."""
        most = (self.produce_batch_bytes - 4096) // 6
        if self.max_content_bytes > most:
            raise ValueError(f"max_content_bytes must be at most {most}, a sixth of produce_batch_bytes less 4096")
        return self
