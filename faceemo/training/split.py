"""Who is in which split: people, never pictures, so that nobody is in two of them."""

import hashlib
from collections.abc import Collection

import numpy as np

from faceemo.params import SplitParams

SPLITS = ("train", "valid", "test")


def split_of_rows(subjects: Collection[str | None], folders: Collection[str], settings: SplitParams) -> np.ndarray:
    """Object array of "train", "valid" or "test", or "" for a row that fits none.

    A person's split follows from a hash of their id alone, so it stays when archives or the seed change. Rows without a
    subject are for training only. With split.by "folder" the set's Validation folder is the test split.
    """
    by_subject = {subject: share_of(subject) for subject in set(subjects) if subject is not None}
    splits = np.empty(len(subjects), object)
    for index, (subject, folder) in enumerate(zip(subjects, folders, strict=True)):
        test = 0.0 if settings.by == "folder" else settings.test
        if settings.by == "folder" and folder == "validation":
            splits[index] = "test" if subject is not None else ""
        elif subject is None or by_subject[subject] >= test + settings.valid:
            splits[index] = "train"
        else:
            splits[index] = "test" if by_subject[subject] < test else "valid"
    return splits


def share_of(subject: str) -> float:
    """A number in [0, 1) that depends on nothing but the subject, evenly spread over subjects."""
    return int(hashlib.sha256(subject.encode()).hexdigest()[:16], 16) / 16**16


def too_few_people(split: str, classes: list[str], people: int, settings: SplitParams) -> str:
    """Why nobody of these classes is in a split, of so many people who show them and are known, and what to do."""
    nobody = f"the {split} split has nobody with {' or '.join(classes)}"
    if not people:
        return (
            f"{nobody}: it is not known who is in the pictures, but a model is judged on people it has not seen; "
            "in archives of the set names of pictures begin with 64 digits for the person; scan other folders with "
            "--subject"
        )
    share = (
        f"split.{split} ({getattr(settings, split)})" if split != "train" else "what split.valid and split.test leave"
    )
    known = "1 person is" if people == 1 else f"{people} people are"
    return f"{nobody}: {known} too few for {share}; add archives, raise 'limit', or change 'split'"
