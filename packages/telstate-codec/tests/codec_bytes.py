"""Builders of encoded values with any content, valid or not, and of NumPy's files."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np

from telstate_codec._msgpack.format import CODE_ARRAY  # the codes have no public names


def extension(code: int, payload: bytes) -> bytes:
    """Return an encoded value that is a single extension type."""
    return b"\xff\xc9" + struct.pack(">IB", len(payload), code) + payload


def npy(header: str | bytes, elements: bytes = b"", version: int = 1) -> bytes:
    """Return an encoded array with any text as its header."""
    text = header.encode() if isinstance(header, str) else header
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return extension(CODE_ARRAY, b"\x93NUMPY" + bytes([version, 0]) + size + text + elements)


def array(descr: str, shape: str, elements: bytes = b"", order: str = "False") -> bytes:
    """Return an encoded array with any descriptor, shape and order in its header."""
    return npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n", elements)


def saved(value: np.ndarray[Any, Any]) -> bytes:
    """Return the file that numpy.save writes for an array."""
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions 2 and 3 of the format
        np.save(stream, np.asarray(value), allow_pickle=False)
    return stream.getvalue()
