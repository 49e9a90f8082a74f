"""The address at which Job reaches this node's gRPC: the setting's, the one that the node is bound to, or a found one.

A node that listens beyond loopback and registers a loopback address warns in the log and in /readyz, as no other
machine can push to it.
"""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from comet.config import CometSettings
from common import logs
from common.health import Health
from common.lifecycle import WILDCARDS

WARNING: Final = "advertise_address"
LOOPBACK: Final = "127.0.0.1"
# Connecting a UDP socket sends nothing. The addresses are for documentation: RFC 5737 and RFC 3849.
_OUTSIDE: Final = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
# Where Linux lists addresses: the number of a question to the kernel, and a file with a line for each address.
_SIOCGIFADDR: Final = 0x8915
_IF_INET6: Final = Path("/proc/net/if_inet6")
_UNUSABLE: Final = 0x08 | 0x20 | 0x40  # flags in that file: a duplicate, deprecated, not yet checked for a duplicate

log = logs.get()


def advertised(settings: CometSettings, health: Health) -> str:
    """Return host:port, an IPv6 address in brackets. Warn where no other machine can use it."""
    address = settings.advertise_address or joined(_host(settings.http_bind_ip), settings.grpc_port)
    if not is_loopback(settings.http_bind_ip) and is_loopback(host_of(address)) and not _meant(settings):
        why = (
            f"this node listens on {settings.http_bind_ip or 'every address'}, but registers {address}, where no other "
            "machine reaches it: set advertise_address (COMET_ADVERTISE_ADDRESS), or http_bind_ip to a loopback address"
        )
        log.warning("The node registers a loopback address", why=why)
        health.warnings[WARNING] = why
    return address


def _meant(settings: CometSettings) -> bool:
    """Whether the stack is told to be on this machine alone, Redis and all."""
    return bool(settings.advertise_address) and is_loopback(
        urlsplit(settings.redis_url.get_secret_value()).hostname or "localhost"
    )


def _host(bind_ip: str) -> str:
    return own_address() or LOOPBACK if bind_ip in WILDCARDS else bind_ip


def joined(host: str, port: int) -> str:
    """Return host:port, an IPv6 address in brackets. An IPv4 peer of a socket for both families is shown as IPv4."""
    host = host.removeprefix("::ffff:")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def host_of(address: str) -> str:
    """Return the host of host:port."""
    return address.rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host, as far as its name says."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def own_address() -> str:
    """Return the address that this machine has towards others: IPv4 before IPv6, '' if there is none.

    One with a route to the outside comes before one without: a bridge for containers has an address, too.
    """
    return next(filter(_usable, (*_routed(), *_of_interfaces())), "")


def _usable(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not (found.is_loopback or found.is_link_local or found.is_unspecified)


def _routed() -> Iterator[str]:
    """Return the sender's address of packets to the outside, by family."""
    for family, outside in _OUTSIDE:
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.connect((outside, 9))
            yield str(sock.getsockname()[0])


def _of_interfaces() -> Iterator[str]:
    """Return the addresses of the interfaces, IPv4 first, where Linux tells them."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with suppress(OSError):  # it has no IPv4 address
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
                yield socket.inet_ntoa(answer[20:24])
    with suppress(OSError):
        for line in _IF_INET6.read_text().splitlines():
            address, _, _, _, flags, _ = line.split()
            if not int(flags, 16) & _UNUSABLE:
                yield str(ipaddress.IPv6Address(bytes.fromhex(address)))
