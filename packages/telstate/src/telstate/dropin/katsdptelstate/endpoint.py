"""Network endpoints on the command line and in configuration."""

from telstate.endpoint import Endpoint, endpoint_list_parser, endpoint_parser, endpoints_to_str

__all__ = ["Endpoint", "endpoint_list_parser", "endpoint_parser", "endpoints_to_str"]
