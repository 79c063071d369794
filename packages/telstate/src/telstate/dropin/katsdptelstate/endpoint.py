"""Network endpoints on the command line and in configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from telstate import endpoint
from telstate.endpoint import Endpoint, endpoint_list_parser, endpoint_parser

__all__ = ["Endpoint", "endpoint_list_parser", "endpoint_parser", "endpoints_to_str"]


def endpoints_to_str(endpoints: Iterable[Endpoint]) -> str:
    """Format endpoints as `endpoint_list_parser` parses them, with runs of addresses folded.

    Addresses come first, as in `telstate.endpoint.endpoints_to_str`; then names in the given order, where
    that function sorts them by port.

    Examples
    --------
    >>> endpoints_to_str([Endpoint("b", 2), Endpoint("a", 1), Endpoint("10.0.0.1", 3)])
    '10.0.0.1:3,b:2,a:1'
    """
    addresses: list[Endpoint] = []
    names: list[Endpoint] = []
    for one in endpoints:
        (addresses if _is_address(one.host) else names).append(one)
    parts = [endpoint.endpoints_to_str(group) for group in (addresses, *([name] for name in names))]
    return ",".join(filter(None, parts))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
