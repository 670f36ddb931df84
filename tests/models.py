"""Models that tests of prediction share: real files, random weights."""

from pathlib import Path

import torch
from extraction import SETTINGS

from faceemo.model import TrainedModel, mlp, save_model

EXTRACT = {"settings": {**vars(SETTINGS)}}
NORMALIZE = {
    "units": "equal",
    "center": "centroid",
    "scale": "rms",
    "align": "none",
    "baseline": "none",
    "baseline_min": 4,
}


def random_model(classes: tuple[str, ...] = ("neutral", "anxious"), seed: int = 0, **normalize: str) -> TrainedModel:
    """An untrained model whose answers differ from face to face."""
    torch.manual_seed(seed)
    network = mlp(len(classes)).train()
    network(torch.randn(64, 1434))
    return TrainedModel(
        "mlp",
        classes,
        network.state_dict(),
        mean=torch.randn(1434) * 0.1,
        deviation=torch.rand(1434) * 0.1 + 0.1,
        temperature=0.7,
        settings={"normalize": {**NORMALIZE, **normalize}, "extract": EXTRACT},
    )


def model_file(folder: Path, **options: str) -> Path:
    """Write random_model(**options) and return its path."""
    path = folder / "models" / "emotion.pt"
    save_model(path, random_model(**options))
    return path
