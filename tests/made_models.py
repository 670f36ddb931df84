"""Models that tests of prediction share: one of random weights, and one that is trained."""

import contextlib
import dataclasses
from pathlib import Path

import torch
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, source_of

from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.extract import extract
from faceemo.features.normalize import normalize_sources
from faceemo.params import load_params
from faceemo.paths import FEATURES_FOLDER, LANDMARKS_FOLDER
from faceemo.training.dataset import load_dataset, load_features
from faceemo.training.model import TrainedModel, mlp, save_model
from faceemo.training.train import train

ROOT = Path(__file__).parents[1]

EXTRACT = {"engine": choose_engine("auto"), "settings": {**vars(SETTINGS)}}
NORMALIZE = {
    "units": "equal",
    "center": "centroid",
    "scale": "rms",
    "align": "none",
    "baseline": "none",
    "baseline_min": 4,
}


def random_model(
    classes: tuple[str, ...] = ("neutral", "anxious"), seed: int = 0, **normalize: str | int | None
) -> TrainedModel:
    """An untrained model whose answers differ from face to face."""
    torch.manual_seed(seed)
    network = mlp(len(classes)).train()
    network(torch.randn(64, 1434))
    return TrainedModel(
        "mlp",
        classes,
        network.state_dict(),
        mean=torch.randn(1434) * 0.1,
        std=torch.rand(1434) * 0.1 + 0.1,
        temperature=0.7,
        settings={"normalize": {**NORMALIZE, **normalize}, "extract": EXTRACT},
        neutral=torch.randn(1434) * 0.05 if normalize.get("baseline") == "person" else None,
    )


def model_file(folder: Path, **options: str) -> Path:
    """Write random_model(**options) and return its path."""
    path = folder / "models" / "emotion.pt"
    save_model(path, random_model(**options))
    return path


def trained_model(folder: Path, **normalize: str) -> Path:
    """Train on the sample's training archives, neutral and anxious, and return the path of the model."""
    params = load_params(ROOT / "params.yaml")
    settings = dataclasses.replace(params.normalize, **normalize)
    sources = {"anxious-training-01": source_of(ANXIOUS), "neutral-training-01": source_of(NEUTRAL, "neutral")}
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        for key, source in sources.items():
            extract(key, source, params.extract, None, workers=1)
        normalize_sources(sources, LANDMARKS_FOLDER, settings)
        dataset = load_dataset(FEATURES_FOLDER, params.emotions, params.split, params.labels)
        training = train(dataset, load_features(FEATURES_FOLDER, dataset), params, Path("interrupted.pt"))
        save_model(Path("models/emotion.pt"), training.model)
    return folder / "models" / "emotion.pt"
