"""The IDX file format: two zero bytes, a type code, the number of axes, their lengths, the values.

Only unsigned bytes (type code 8) are needed here. Lengths are big-endian 32-bit integers.
Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
"""

import gzip
import math
import zlib

import numpy as np

UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"


LONGEST_HEAD = 4 + 4 * 255


def parse(raw: bytes) -> np.ndarray:
    """The array, uint8 and read-only, that the bytes of an IDX file hold.

    ValueError where they hold none.
    """
    shape, start = head(raw, len(raw))
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def head(raw: bytes, length: int) -> tuple[tuple[int, ...], int]:
    """The shape of an array, and its first byte, by the first bytes of a file of that length.

    ValueError where they begin none, or one of another length.
    """
    if len(raw) < 4 or raw[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise ValueError(
            f"raw: given a header {raw[:4].hex(' ')!r}, "
            "wanted an IDX file of bytes: '00 00 08 <axes>'"
        )
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    if length != start + math.prod(shape):
        raise ValueError(
            f"raw: given {length} bytes, wanted {start + math.prod(shape)} for an IDX array {shape}"
        )
    return shape, start


def unpacked(content: bytes) -> bytes:
    """The bytes of an IDX file that may be gzipped; ValueError where the gzip file is broken."""
    if not content.startswith(GZIP):
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(
            f"raw: given a gzip file that is broken ({error}), wanted a whole one"
        ) from error


def encode(array: np.ndarray) -> bytes:
    """The bytes of the IDX file that holds `array` (uint8, any shape)."""
    if array.dtype != np.uint8:
        raise ValueError(f"array: given dtype {array.dtype}, wanted uint8")
    lengths = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, UNSIGNED_BYTE, array.ndim]) + lengths + array.tobytes()
