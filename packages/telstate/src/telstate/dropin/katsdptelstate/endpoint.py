"""Network endpoints on the command line and in configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from telstate import endpoint
from telstate.endpoint import Endpoint, endpoint_list_parser, endpoint_parser

__all__ = ["Endpoint", "endpoint_list_parser", "endpoint_parser", "endpoints_to_str"]


def endpoints_to_str(endpoints: Iterable[Endpoint]) -> str:
    """Write endpoints as `endpoint_list_parser` reads them, runs of addresses folded.

    Addresses come first, as `telstate.endpoint.endpoints_to_str` has them; behind them names stay in
    the order in which they are given, where that one puts them in the order of their ports.

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
