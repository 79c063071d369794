"""Runs in the peer's environment: what katsdptelstate makes of the values and bytes of the tests.

Reads JSON lines from standard input, ``{"seeds": [...]}`` or ``{"values": [hexadecimal, ...]}``, and
answers each with a list. For a seed: the encoded value (or none, if refused) and its description
after decoding (or none); for bytes: the latter.
"""

import json
import sys
import warnings
from typing import Any

from codec_values import describe, from_seed
from katsdptelstate.encoding import decode_value, encode_value


def encoded(seed: int) -> bytes | None:
    """Encode the value of a seed."""
    try:
        return encode_value(from_seed(seed))
    except ValueError:  # its EncodeError, and others where it forgets
        return None


def described(value: bytes | None) -> Any:
    """Describe what bytes are decoded to."""
    if value is None:
        return None
    try:
        return describe(decode_value(value))
    except ValueError:
        return None


def main() -> None:
    """Answer until the input ends."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        request = json.loads(line)
        if "seeds" in request:
            values = [encoded(seed) for seed in request["seeds"]]
            answer = [[value and value.hex(), described(value)] for value in values]
        else:
            answer = [described(bytes.fromhex(value)) for value in request["values"]]
        print(json.dumps(answer), flush=True)


main()
