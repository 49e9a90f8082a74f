"""A host that has only IPv6, as a network namespace of its own: the default settings work there."""

import asyncio
import json
import shutil
import sys

import pytest

HOST = (
    "ip link set lo up && ip -6 addr add fd00::1/128 dev lo nodad && exec {python} -m tests.support.ipv6_only {bind_ip}"
)
UNSHARE = ("unshare", "--map-root-user", "--net")
TIMEOUT_S = 60.0


async def run(*argv: str) -> tuple[int | None, bytes, bytes]:
    """Run a program to its end."""
    program = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(TIMEOUT_S):
        out, err = await program.communicate()
    return program.returncode, out, err


@pytest.mark.parametrize("bind_ip", ["0.0.0.0", "::"])  # noqa: S104 - in a namespace without a network
async def test_a_node_registers_and_serves_its_ipv6_address(bind_ip: str) -> None:
    """With either wildcard; a client, Job and Prometheus reach it there, and there is nothing to warn of."""
    if shutil.which("ip") is None or (await run(*UNSHARE, "true"))[0]:
        pytest.skip("needs ip and unshare --net (Linux, with the right to make network namespaces)")
    code, out, err = await run(*UNSHARE, "sh", "-c", HOST.format(python=sys.executable, bind_ip=bind_ip))
    assert code == 0, err.decode()[-3000:]
    found = json.loads(out)
    assert found["grpc"] == f"[fd00::1]:{found['port']}"
    assert found["pushed"] == "pushed"
    assert found["ready"]["reasons"] == {}
    assert "advertise_address" not in found["ready"]["warnings"]
