"""A program for the peer's environment, which encodes and decodes with katsdptelstate.

It reads requests from standard input as JSON lines, ``{"seeds": [...]}`` or ``{"values":
[hexadecimal, ...]}``, and answers each with a list. The answer for a seed is the encoded value (null
if it is refused) and its description after decoding (null if that fails); the answer for bytes is
the description alone.
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
    except ValueError:  # its EncodeError, and errors that it does not translate
        return None


def described(value: bytes | None) -> Any:
    """Describe the value that bytes are decoded to."""
    if value is None:
        return None
    try:
        return describe(decode_value(value))
    except ValueError:
        return None


def main() -> None:
    """Answer requests until the input ends."""
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
