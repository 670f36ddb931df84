"""The rows that extraction writes: their columns, and a number that tells one way of making them from another.

The stage extract depends on this file and on no other code, so that nothing else extracts every archive again. Raise
FORMAT when the same pictures would give other rows: tests/extraction/test_schema.py holds the sample's rows to those
recorded for this number.
"""

import pyarrow as pa

FORMAT = 4

# turned: 180 where the face stood upside down after EXIF, as in a copy that lost its orientation; else 0. Landmarks are
# those of the picture turned so.
# landmarks: x0 y0 z0 x1 ..., x by width, y by height, z by width; null unless status is ok.
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("emotion", pa.string()),
        ("subject", pa.string()),
        ("sex", pa.string()),
        ("age", pa.int16()),
        ("background", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.int8()),
        ("turned", pa.int16()),
        ("status", pa.string()),
        ("error", pa.string()),
        ("landmarks", pa.list_(pa.float32())),
    ]
)
