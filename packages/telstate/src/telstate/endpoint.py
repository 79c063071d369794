"""Network endpoints on the command line and in configuration: ``host:port``, and lists of these.

IPv6 addresses are in brackets. Lists are separated by commas, and ``host+N`` in a list is an IPv4 address
and the N that follow it. `endpoints_to_str` is the inverse and folds such runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import ipaddress


@attrs.define(hash=True, repr=False, order=False)
class Endpoint:
    """A host and a port; unpacks as a pair.

    Parameters
    ----------
    host
        Name, IPv4 address, or IPv6 address without brackets.
    port
        TCP or UDP port, or None.

    Examples
    --------
    >>> host, port = Endpoint("::1", 7148)
    >>> host, port
    ('::1', 7148)
    >>> str(Endpoint("::1", 7148))
    '[::1]:7148'
    """

    host: str
    port: int | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"Endpoint({self.host!r}, {self.port!r})"

    def __iter__(self) -> Iterator[str | int | None]:
        return iter((self.host, self.port))


def endpoint_parser(default_port: int | None) -> Callable[[str], Endpoint]:
    """Return a function that parses ``host``, ``host:port`` or ``[v6::address]:port``.

    It can be the `type` of an :mod:`argparse` option: for a text that is not an endpoint it raises a
    `ValueError` whose message argparse shows.

    Parameters
    ----------
    default_port
        The port of an endpoint without one.

    Examples
    --------
    >>> endpoint_parser(6379)("localhost")
    Endpoint('localhost', 6379)
    """

    def parse_endpoint(text: str) -> Endpoint:
        host, port = _split(text, default_port)
        return Endpoint(host, port)

    return parse_endpoint


def endpoint_list_parser(
    default_port: int | None, single_port: bool = False
) -> Callable[[str], list[Endpoint]]:
    """Return a function that parses endpoints separated by commas, including runs ``host+N``.

    Parameters
    ----------
    default_port
        The port of an endpoint without one.
    single_port
        Whether different ports are a `ValueError`. Default: False.

    Examples
    --------
    >>> endpoint_list_parser(7148)("239.0.0.1+1,localhost:8000")
    [Endpoint('239.0.0.1', 7148), Endpoint('239.0.0.2', 7148), Endpoint('localhost', 8000)]
    """

    def parse_endpoint_list(text: str) -> list[Endpoint]:
        endpoints = [
            endpoint for part in text.split(",") for endpoint in _run(part.strip(), default_port)
        ]
        if single_port and len({endpoint.port for endpoint in endpoints}) > 1:
            raise _error(f"All endpoints in {text!r} must use the same port.")
        return endpoints

    return parse_endpoint_list


def endpoints_to_str(endpoints: Iterable[Endpoint]) -> str:
    """Format endpoints as `endpoint_list_parser` parses them, with runs of addresses folded.

    IPv4 addresses come first, then IPv6 addresses, then names; each by port (None first), with addresses
    in ascending order and names in the given order.

    Examples
    --------
    >>> endpoints_to_str([Endpoint("10.0.0.2", 7148), Endpoint("10.0.0.1", 7148)])
    '10.0.0.1+1:7148'
    """
    parts: list[str] = []
    numbered: dict[int, dict[int | None, list[int]]] = {4: {}, 6: {}}
    named: dict[int | None, list[str]] = {}
    for endpoint in endpoints:
        address = _address(endpoint.host)
        if address is None:
            named.setdefault(endpoint.port, []).append(endpoint.host)
        else:
            numbered[address.version].setdefault(endpoint.port, []).append(int(address))
    for version, ports in numbered.items():
        for port in sorted(ports, key=_port_order):
            for first, more in _fold(sorted(ports[port])):
                parts.append(_text(version, first) + (f"+{more}" if more else "") + _suffix(port))
    for port in sorted(named, key=_port_order):
        parts += [host + _suffix(port) for host in named[port]]
    return ",".join(parts)


def _split(text: str, default_port: int | None) -> tuple[str, int | None]:
    """Return host (without brackets) and port."""
    host, colon, port = text.rpartition(":")
    if not colon or (host.startswith("[") and port.endswith("]")):
        host, number = text, default_port
    else:
        try:
            number = int(port)
        except ValueError as error:
            raise _error(
                f"{text!r} is not an endpoint: {port!r} is not a port number. "
                "Use host:port, with brackets around an IPv6 address."
            ) from error
    if host.startswith("[") and host.endswith("]"):
        import socket  # slow to import, and rarely needed

        host = host[1:-1]
        try:
            socket.inet_pton(socket.AF_INET6, host)
        except OSError as error:
            raise _error(
                f"{text!r} is not an endpoint: {host!r} is not an IPv6 address."
            ) from error
    return host, number


def _run(text: str, default_port: int | None) -> list[Endpoint]:
    """Parse one part of a list: one endpoint, or a run of consecutive IPv4 addresses."""
    host, port = _split(text, default_port)
    first, plus, more = host.rpartition("+")
    if not plus:
        return [Endpoint(host, port)]
    import ipaddress  # slow to import, and rarely needed

    try:
        count = int(more)
        start = int(ipaddress.IPv4Address(first))
    except ValueError as error:
        raise _error(
            f"{text!r} is not a run of endpoints. Use an IPv4 address, '+' and the number of addresses "
            "that follow it."
        ) from error
    if count < 0 or start + count > 0xFFFF_FFFF:
        raise _error(f"{text!r} is not a run of endpoints: {more} addresses cannot follow {first}.")
    return [Endpoint(_text(4, number), port) for number in range(start, start + count + 1)]


def _error(text: str) -> ValueError:
    return _error_type()(text)


@cache
def _error_type() -> type[ValueError]:
    """Define the error on first use, because argparse, which shows its message, is slow to import."""
    from argparse import ArgumentTypeError

    class EndpointError(ValueError, ArgumentTypeError):
        """A text is not an endpoint."""

        def __reduce__(self) -> tuple[object, ...]:
            return _error, self.args

    return EndpointError


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    import ipaddress

    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _text(version: int, number: int) -> str:
    import ipaddress

    if version == 4:
        return str(ipaddress.IPv4Address(number))
    return f"[{ipaddress.IPv6Address(number)}]"


def _suffix(port: int | None) -> str:
    return "" if port is None else f":{port}"


def _port_order(port: int | None) -> int:
    return -1 if port is None else port


def _fold(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the first number of each consecutive run, and how many follow it."""
    start = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield start, previous - start
            start = number
        previous = number
    yield start, previous - start
