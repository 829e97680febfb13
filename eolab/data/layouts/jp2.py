"""JPEG 2000 files: whether one is complete, from its boxes and its last two bytes.

A truncated file often still opens, because everything GDAL needs to open it stands at its beginning. The
boxes say how long the code stream should be, and a complete code stream ends with the marker FF D9
(ISO/IEC 15444-1, annexes A and I).
"""

from __future__ import annotations

import os
import struct
from typing import IO

_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_END = b"\xff\xd9"


def defect(stream: IO[bytes], size: int) -> str:
    """Return why a JPEG 2000 file cannot be complete; empty where it looks complete.

    Reads a few dozen bytes.

    Args:
        stream: The file, seekable, at its beginning.
        size: Its size in bytes.
    """
    if size == 0:
        return "is empty"
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        return "is no JPEG 2000 file"
    position = len(_SIGNATURE)
    while position + 8 <= size:
        stream.seek(position)
        header = stream.read(16)
        length, kind = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            (length,) = struct.unpack(">Q", header[8:])
        end = size if length == 0 else position + length
        if end > size:
            return f"is truncated ({size} bytes, expected at least {end})"
        if kind == b"jp2c":
            stream.seek(end - len(_END), os.SEEK_SET)
            return (
                "" if stream.read(len(_END)) == _END else f"is truncated ({size} bytes, end marker missing)"
            )
        if end <= position:
            break
        position = end
    return f"is truncated ({size} bytes, no image data)"
