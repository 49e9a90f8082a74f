"""Ports: what is free, and that two stacks never share one."""

import errno
import socket

from chatroom.up.ports import LOOPBACK, Claims, bind_error
from testbed.ports import free_base, free_port


def test_a_free_port_can_be_bound_and_a_used_one_says_why() -> None:
    """The very error that a server would get."""
    port = free_port()
    assert bind_error(LOOPBACK, port) is None
    with socket.create_server((LOOPBACK, port)):
        fault = bind_error(LOOPBACK, port)
    assert fault is not None
    assert fault.errno == errno.EADDRINUSE


def test_the_usual_port_is_taken_where_it_is_free() -> None:
    """Else another one."""
    usual = free_port()
    with Claims() as claims:
        assert claims.usual_or_free(usual) == usual
        assert claims.usual_or_free(usual) != usual


def test_a_claimed_port_is_nobody_elses_while_its_server_restarts() -> None:
    """Nothing listens there, and yet another stack takes another one; until the first lets go."""
    usual = free_port()
    with Claims() as first:
        assert first.usual_or_free(usual) == usual
        with Claims() as second:
            assert second.usual_or_free(usual) != usual
    with Claims() as third:
        assert third.usual_or_free(usual) == usual


def test_a_port_on_which_somebody_answers_is_not_free() -> None:
    """On whichever address it listens."""
    usual = free_port()
    with socket.create_server(("", usual)), Claims() as claims:
        assert claims.usual_or_free(usual) != usual


def test_a_services_port_is_never_given_to_an_embedded_server() -> None:
    """Even though nothing listens there yet."""
    usual = free_port()
    with Claims([usual]) as claims:
        assert claims.usual_or_free(usual) != usual


def test_a_base_has_its_neighbours_free() -> None:
    """For tests with several nodes."""
    base = free_base([1, 100])
    for port in (base, base + 1, base + 100):
        with socket.create_server((LOOPBACK, port)):
            pass
