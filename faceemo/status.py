"""What became of a picture."""

from enum import StrEnum


class Status(StrEnum):
    """In the column `status` of landmarks and features; of every picture, none is left out."""

    OK = "ok"
    NO_FACE = "no_face"
    DECODE_ERROR = "decode_error"  # bytes that hold no whole picture: cut, empty, too many pixels
    READ_ERROR = "read_error"  # the bytes cannot be read: wrong CRC-32, encrypted, too large
    NO_BASELINE = "no_baseline"  # only in features: a face of a person without a baseline
