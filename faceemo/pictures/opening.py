"""The pictures of a source, in the order of the rows."""

from faceemo.console import progress
from faceemo.errors import FaceemoError
from faceemo.paths import SEEN_FOLDER
from faceemo.pictures.reader import Picture, Seen, look_at, read_seen
from faceemo.pictures.sources import Source, locate
from faceemo.pictures.tables import read_table, table_pictures
from faceemo.pictures.trees import files_at, has_class, is_picture_name


def pictures_of(key: str, source: Source, look: bool = True) -> list[Picture]:
    """The pictures of a source as they are now, in the order of the rows. Raises FaceemoError if it cannot be read.

    look: whether pictures in files are looked at, so that their digest can be compared with that of a scan.
    """
    path = locate(source.path)
    if not path.exists():
        raise FaceemoError(f"{key}: {path} is not there; connect it again, or run 'faceemo scan' on where it is now")
    if source.table:
        found = list(table_pictures(read_table(path), path.parent))
    else:
        level = source.level
        found = [
            one for one in files_at(path) if is_picture_name(one.name) and (level is None or has_class(one.name, level))
        ]
    return look_at_all(key, found, read_seen(key, locate(SEEN_FOLDER.as_posix()))) if look else found


def root_of(source: Source) -> str | None:
    """The folder or archive that all pictures of a source lie in; None for those of a table."""
    return None if source.table else str(locate(source.path))


def look_at_all(key: str, pictures: list[Picture], seen: Seen) -> list[Picture]:
    """The pictures with their CRC-32s; those are read that `seen` does not know."""
    looked_at = []
    with progress(len(pictures), f"{key}: comparing", "pictures") as advance:
        for picture in pictures:
            looked_at.append(look_at(picture, seen))
            advance(1)
    return looked_at
