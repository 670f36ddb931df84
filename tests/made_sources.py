"""Sources that tests make on the spot: pictures named as the set names them, records of its label files, scans."""

import hashlib
import json
from pathlib import Path

from faceemo.pictures.scan import scan
from faceemo.pictures.scan_source import Found, ScanOptions

KOREAN = {"neutral": "중립", "anxious": "불안", "happy": "기쁨", "sad": "슬픔", "hurt": "상처"}


def person(name: object) -> str:
    """A subject of the set."""
    return hashlib.sha256(f"person {name}".encode()).hexdigest()


def of_set(name: object, emotion: str = "중립", shot: int = 1, suffix: str = ".jpg") -> str:
    """The name of a person's picture as the set has it."""
    return f"{person(name)}_여_20_{emotion}_실내_20210126133507-001-{shot:03d}{suffix}"


def rating(emotion: object = "중립", box: tuple | None = (1, 2, 3, 4)) -> dict:
    """What a rater says in a record."""
    sides = dict(zip(("minX", "minY", "maxX", "maxY"), box, strict=True)) if box else None
    return {"boxes": sides, "faceExp": emotion}


def record(name: str, *ratings: object, **changes: object) -> dict:
    """A record of the set's label files; a rating of None is left out."""
    annotations = {f"annot_{rater}": one for rater, one in zip("ABC", ratings, strict=False) if one is not None}
    return {"filename": name, "gender": "남", "age": 30, "isProf": "일반인", **annotations, **changes}


def label_json(*records: object) -> bytes:
    return json.dumps(records, ensure_ascii=False).encode()


def scan_one(place: Path | str, **options: object) -> Found:
    """The only source in a place."""
    (one,) = scan([Path(place)], options=ScanOptions(**options)).found.values()
    return one


def names(one: Found) -> list[str]:
    return [picture.name for picture in one.pictures]
