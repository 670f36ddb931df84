"""The rows that extraction writes: their columns, and a number that tells one way of making them from another.

The stage extract depends on this file and on no other code, so that nothing else extracts every archive again. Raise
FORMAT when the same pictures would give other rows: tests/extraction/test_schema.py holds the sample's rows to those
recorded for this number.
"""

import pyarrow as pa

FORMAT = 5

# size, crc32: of the picture's bytes, null where they could not be had when the picture was looked at.
# turned: 180 where the face stood upside down after EXIF, as in a copy that lost its orientation; else 0. Landmarks are
# those of the picture turned so.
# landmarks: x0 y0 z0 x1 ..., x by width, y by height, z by width; null unless status is ok.
# crop: the bytes of the grey square of the face (see crop), row by row; null unless status is ok, and where
# extract.crops is false.
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("size", pa.int64()),
        ("crc32", pa.uint32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.int8()),
        ("turned", pa.int16()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("landmarks", pa.list_(pa.float32())),
        ("crop", pa.binary()),
    ]
)
