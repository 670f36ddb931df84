"""Who a model was trained on: kept in its file, so that none of them counts as an unseen person later.

A person is kept as the SHA-256 of a salt and their subject. The salt stands beside it, so it is no secret: it keeps a
list of hashed names from serving for every model, but a short name can still be guessed by trying.
"""

import hashlib
from collections.abc import Iterable, Mapping

import torch

HASH_BYTES = hashlib.sha256().digest_size


def salt_of(weights: Mapping[str, torch.Tensor]) -> str:
    """A salt of a network's own, 32 hexadecimal digits: of its weights, so that the same seed gives the same file."""
    digest = hashlib.sha256()
    for name, tensor in weights.items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:32]


def hash_people(subjects: Iterable[str], salt: str) -> torch.Tensor:
    """uint8 [people, 32], each person once, in the order of the hashes, which tells nothing."""
    hashes = sorted({hash_person(subject, salt) for subject in subjects})
    return torch.tensor(list(b"".join(hashes)), dtype=torch.uint8).reshape(-1, HASH_BYTES)


def hash_person(subject: str, salt: str) -> bytes:
    """32 bytes that stand for a person: SHA-256 of the salt and the name."""
    return hashlib.sha256(f"{salt} {subject}".encode()).digest()
