"""The sample's archives, from the Face Research Lab London Set in the layout of the AI-Hub set.

usage: python data/sample/make_sample.py FOLDER

FOLDER holds the set's 102 people, neutral and smiling, as source archives named like those of AI-Hub (README.md says
where the pictures come from). Of the 32 people of Training and 8 of Validation whose ids come first, each picture is
reduced to 500 pixels; what is in its name stays.
"""

import io
import sys
import unicodedata
import zipfile
from pathlib import Path

from PIL import Image, ImageOps

from faceemo.pictures.archive import parse_picture_name
from faceemo.pictures.manifest import read_manifest
from faceemo.pictures.reader import PictureReader
from faceemo.pictures.scan import scan

PEOPLE = {"training": 32, "validation": 8}
SIDE = 500
QUALITY = 88
TIME = (2026, 1, 1, 0, 0, 0)  # of every member, so that the archives are the same each time


def main(folder: Path) -> None:
    sources = scan([folder]).sources
    chosen: dict[str, set[str]] = {}
    for split, count in PEOPLE.items():
        people = [
            set(filter(None, read_manifest(key, source)[1].table["subject"].to_pylist()))
            for key, source in sources.items()
            if source.folder == split
        ]
        chosen[split] = set(sorted(set.intersection(*people))[:count])
    for key, source in sources.items():
        pictures, _ = read_manifest(key, source)
        target = (
            Path(__file__).parent / source.folder.capitalize() / unicodedata.normalize("NFC", Path(source.path).name)
        )
        target.parent.mkdir(exist_ok=True)
        with PictureReader(folder) as reader, zipfile.ZipFile(target, "w") as archive:
            for picture in sorted(pictures, key=lambda one: one.name):
                if parse_picture_name(picture.name).subject in chosen[source.folder]:
                    name = f"{Path(picture.name).stem}.jpg"
                    archive.writestr(zipfile.ZipInfo(name, TIME), reduced(reader.read(picture)))
        print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


def reduced(data: bytes) -> bytes:
    """The picture, upright, its longer side SIDE pixels, as JPEG."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
