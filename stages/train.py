"""Stage train: data/features/ to models/emotion.pt, metrics.json and plots/. `python -m stages.train`"""

import dataclasses
import json
import sys
from pathlib import Path

from scipy.special import softmax

from faceemo.console import run
from faceemo.dataset import load_dataset
from faceemo.durable import write_text_whole
from faceemo.evaluate import evaluate, fit_temperature
from faceemo.model import save_model
from faceemo.normalize import FEATURES_FOLDER
from faceemo.params import load_params
from faceemo.plots import write_run
from faceemo.train import describe_devices, find_devices, train

MODEL = Path("models/emotion.pt")
INTERRUPTED_MODEL = Path("models/interrupted.pt")
METRICS = Path("metrics.json")
PLOTS = Path("plots")


def main() -> None:
    params = load_params()
    print(describe_devices(find_devices()), flush=True)
    dataset = load_dataset(FEATURES_FOLDER, params.emotions, params.split)
    for part in ("train", "valid", "test"):
        people = len({subject for subject in dataset.column("subject")[dataset.places(part)] if subject is not None})
        print(f"{part}: {len(dataset.places(part))} pictures of {people} people", flush=True)

    training = train(dataset, params, INTERRUPTED_MODEL)
    valid = dataset.places("valid")
    temperature = fit_temperature(training.logits[valid], dataset.target[valid])
    model = dataclasses.replace(training.model, temperature=temperature)
    save_model(MODEL, model)
    metrics = evaluate(dataset, training.logits, temperature, params.train.recall_target)
    write_text_whole(METRICS, json.dumps(metrics, indent=2) + "\n")
    write_run(PLOTS, dataset, training, softmax(training.logits / temperature, axis=1))
    result = metrics["test"]
    low, high = result["balanced_accuracy_interval"]
    print(
        f"test: accuracy {result['accuracy']:.3f}, balanced accuracy {result['balanced_accuracy']:.3f} "
        f"(95 % interval over people {low:.3f} to {high:.3f}), macro F1 {result['macro_f1']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(run("train", main))
