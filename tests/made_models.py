"""Models that tests of prediction share: one of random weights, and one that is trained."""

import contextlib
import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
import torch
from made_archives import ANXIOUS, NEUTRAL, SETTINGS, source_of

from faceemo.extraction.engines.choice import choose_engine
from faceemo.extraction.extract import extract
from faceemo.features.normalize import normalize_sources
from faceemo.params import load_params
from faceemo.paths import FEATURES_FOLDER, LANDMARKS_FOLDER
from faceemo.pictures.sources import Source
from faceemo.training.dataset import load_dataset, load_inputs
from faceemo.training.domains import fit_domain
from faceemo.training.model import TrainedModel, save_model
from faceemo.training.recipe import CROP, MESH, RECIPES
from faceemo.training.train import train

ROOT = Path(__file__).parents[1]

EXTRACT = {"engine": choose_engine("auto"), "settings": {**vars(SETTINGS)}}
NORMALIZE = {"center": "centroid", "scale": "rms", "baseline": "none"}


def random_model(
    classes: tuple[str, ...] = ("neutral", "anxious"),
    seed: int = 0,
    network: str = "mlp",
    start: TrainedModel | None = None,
    **normalize: str,
) -> TrainedModel:
    """An untrained model whose answers differ from face to face; its start answers for every other crop of noise."""
    torch.manual_seed(seed)
    built = RECIPES[network].build(len(classes)).train()
    made = {MESH: torch.randn(64, 1434), CROP: torch.randint(0, 256, (64, 64, 64), dtype=torch.uint8)}
    domain = fit_domain(made[CROP].numpy(), np.arange(64)) if CROP in RECIPES[network].columns else None
    built(*(made[column] for column in RECIPES[network].columns))  # sets what batch normalisation remembers
    weights = built.state_dict()
    if MESH in RECIPES[network].columns:
        weights |= {
            f"branches.{MESH}.mean": torch.randn(1434) * 0.1,
            f"branches.{MESH}.std": torch.rand(1434) * 0.1 + 0.1,
        }
    return TrainedModel(
        network,
        classes,
        weights,
        temperature=0.7,
        shares=(1 / len(classes),) * len(classes),
        mirror=True,
        settings={
            "normalize": {**NORMALIZE, **normalize},
            "extract": EXTRACT,
            "emotions": {name: [name] for name in classes},
        },
        neutral=torch.randn(1434) * 0.05 if normalize.get("baseline") == "person" else None,
        domain=domain,
        start=start,
        margin=0.0,
    )


def model_file(folder: Path, **options: str) -> Path:
    """Write random_model(**options) and return its path."""
    path = folder / "models" / "emotion.pt"
    save_model(path, random_model(**options))
    return path


def trained_model(folder: Path, baseline: str = "none") -> Path:
    """Write a model of landmarks trained on the sample's training archives, neutral and anxious; returns its path."""
    path = folder / "models" / "emotion.pt"
    save_model(path, _trained(baseline))
    return path


@functools.cache
def _trained(baseline: str) -> TrainedModel:
    params = load_params(ROOT / "params.yaml")
    params = dataclasses.replace(params, train=dataclasses.replace(params.train, network="mlp_dropout"))
    with contextlib.chdir(_landmarks().name):
        normalize_sources(_sources(), LANDMARKS_FOLDER, dataclasses.replace(params.normalize, baseline=baseline))
        dataset = load_dataset(
            FEATURES_FOLDER, {"neutral": ("neutral",), "anxious": ("anxious",)}, params.split, params.labels
        )
        return train(dataset, load_inputs(FEATURES_FOLDER, dataset, [MESH]), params, None).model


@functools.cache
def _landmarks() -> tempfile.TemporaryDirectory:
    """A folder, there until the tests end, with the landmarks of both archives."""
    folder = tempfile.TemporaryDirectory()
    with contextlib.chdir(folder.name):
        for key, source in _sources().items():
            extract(key, source, SETTINGS, None, workers=1)
    return folder


def _sources() -> dict[str, Source]:
    return {"anxious-training-01": source_of(ANXIOUS), "neutral-training-01": source_of(NEUTRAL, "neutral")}
