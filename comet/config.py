"""Comet's settings."""

import re
from typing import ClassVar, Final, Self

import jwt
from pydantic import Field, SecretStr, field_validator, model_validator

from common import ids
from common.config import ADDRESS, ADDRESS_FORM, BIND_FORM, SharedSettings
from common.errors import BadRequest
from common.masking import SecretUrl

MOST_PORT: Final = 65_535


class CometSettings(SharedSettings):
    """What Comet can be told."""

    service: ClassVar[str] = "comet"

    http_bind_ip: str = Field("0.0.0.0", description=f"for all three ports, {BIND_FORM}")  # noqa: S104 - clients are elsewhere
    http_bind_port: int = Field(8082, ge=1, le=65_535, description="WebSocket port")
    grpc_port: int = Field(50_051, ge=1, le=65_535, description="gRPC port, called by Job")
    metrics_port: int = Field(9091, ge=1, le=65_535, description="port of /metrics, /healthz and /readyz")
    node_index: int = Field(
        0, ge=0, le=500, description="k >= 1 for further nodes on one machine: adds 100k, k and 99+k to the three ports"
    )
    advertise_address: str = Field("", description="host:port at which Job reaches this node's gRPC; empty: found out")
    forward_url: SecretUrl = Field(
        SecretUrl("http://localhost:8090"), description="where Logic answers what this node forwards"
    )

    default_rooms: str = Field("room_001", description="rooms that a client without ?rooms= is put into, by commas")
    auth_key: SecretStr | None = Field(None, description="key that verifies clients' JWTs; none: everybody is a guest")
    auth_algorithms: str = Field("HS256", description="JWT algorithms that are accepted, by commas")

    max_connections: int = Field(
        100_000, ge=1, description="past it, or near the limit of open files, new connections get close code 1013"
    )
    max_memory_bytes: int = Field(
        0,
        ge=0,
        description="memory of this node, past which new connections get 1013 and the slowest clients are cut off; "
        "0: 80 % of what the machine or container has",
    )
    max_rooms_per_session: int = Field(100, ge=1, description="rooms that one session may be in")
    max_frame_bytes: int = Field(65_536, ge=1024, description="size of a client's frame; past it close code 1009")
    max_content_bytes: int = Field(16_384, ge=1, description="size of one message's content in UTF-8")
    max_messages_per_frame: int = Field(100, ge=1, description="messages in one clientMessages frame")
    rate_messages_per_second: float = Field(100.0, gt=0, description="messages a session may send in the long run")
    rate_burst_messages: int = Field(200, ge=1, description="messages a session may send at once")
    rate_patience_seconds: float = Field(10.0, ge=0, description="retryAfterMs ignored for so long: close code 4002")
    outbound_bytes: int = Field(1_048_576, ge=65_536, description="unsent bytes past which a slow consumer is cut off")
    ping_seconds: float = Field(20.0, gt=0, description="between pings; two unanswered ones close with 1011")
    handshake_seconds: float = Field(10.0, gt=0, description="time for a client to complete the opening handshake")

    join_messages: int = Field(20, ge=0, le=1000, description="messages of a room shown to who joins it anew")
    history_messages: int = Field(100, ge=1, le=1000, description="most messages in one roomHistory")
    recovery_limit: int = Field(1000, ge=1, description="messages in one frame of a recovery; the rest follows in more")
    ref_window_seconds: int = Field(300, ge=1, description="how long the same ref gets the first ack")
    append_timeout_seconds: float = Field(5.0, gt=0, description="after which a sender gets `unavailable`")
    append_queue: int = Field(10_000, ge=1, description="messages that may wait for Redis; past it `overloaded`")
    append_queue_bytes: int = Field(67_108_864, ge=1, description="bytes that may wait for Redis; past it `overloaded`")
    forward_timeout_seconds: float = Field(5.0, gt=0, description="for one POST to Logic")
    drain_seconds: float = Field(10.0, ge=0, description="time to finish and to close sessions on SIGTERM")

    @field_validator("default_rooms")
    @classmethod
    def _check_rooms(cls, value: str) -> str:
        try:
            for room in filter(None, value.split(",")):
                ids.room_id(room.strip(), "default_rooms")
        except BadRequest as e:
            raise ValueError(e.message) from None
        return value

    @field_validator("forward_url")
    @classmethod
    def _check_url(cls, value: SecretUrl) -> SecretUrl:
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value.get_secret_value()):
            raise ValueError("must be a URL such as http://localhost:8090")
        return value

    @field_validator("auth_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value():
            raise ValueError("is set but empty: unset it to let everybody in as a guest")
        return value

    @field_validator("advertise_address")
    @classmethod
    def _check_address(cls, value: str) -> str:
        if value and not ADDRESS.fullmatch(value):
            raise ValueError(f"must be {ADDRESS_FORM}")
        return value

    @field_validator("auth_algorithms")
    @classmethod
    def _check_algorithms(cls, value: str) -> str:
        known = set(jwt.algorithms.get_default_algorithms()) - {"none"}
        if not value or not {one.strip() for one in value.split(",")} <= known:
            raise ValueError(f"must be some of {', '.join(sorted(known))}")
        return value

    @model_validator(mode="after")
    def _check_ports(self) -> Self:
        if max(self.http_bind_port, self.grpc_port, self.metrics_port) > MOST_PORT:
            raise ValueError(f"node_index {self.node_index} moves a port past {MOST_PORT}")
        return self

    @property
    def algorithms(self) -> list[str]:
        """The JWT algorithms that are accepted."""
        return [one.strip() for one in self.auth_algorithms.split(",")]

    @property
    def rooms(self) -> list[str]:
        """The default rooms."""
        return list(dict.fromkeys(room.strip() for room in self.default_rooms.split(",") if room.strip()))

    def model_post_init(self, _context: object) -> None:
        """Move the ports of a further node, so that what is printed is what is used."""
        if self.node_index:
            object.__setattr__(self, "http_bind_port", self.http_bind_port + 100 * self.node_index)
            object.__setattr__(self, "grpc_port", self.grpc_port + self.node_index)
            object.__setattr__(self, "metrics_port", self.metrics_port + 99 + self.node_index)
