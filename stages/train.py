"""Stage train: data/features/ to the model, how good it is, and plots. `python -m stages.train`"""

import sys

from faceemo.console import importing, run

with importing("train"):
    import dataclasses
    import functools

    from scipy.special import softmax

    from faceemo.durable import write_json
    from faceemo.fonts import missing_letters
    from faceemo.params import load_params
    from faceemo.paths import (
        EVALUATION_FILE,
        FEATURES_FOLDER,
        HISTORY_FILE,
        INTERRUPTED_MODEL_FILE,
        METRICS_FILE,
        MODEL_FILE,
        PLOTS_FOLDER,
    )
    from faceemo.training.dataset import count_subjects, load_dataset, load_features
    from faceemo.training.devices import describe_devices, find_devices
    from faceemo.training.evaluate import evaluate, fit_temperature, headline
    from faceemo.training.model import save_model
    from faceemo.training.plots import write_history, write_run
    from faceemo.training.split import SPLITS
    from faceemo.training.train import train

LABELLED = "the emotion of archive, folder or table"


def main() -> None:
    with importing("train"):
        import torch._dynamo  # noqa: F401 - here, since the optimizer imports it during the work, for over a second

    params = load_params()
    print(describe_devices(find_devices()), flush=True)
    dataset = load_dataset(FEATURES_FOLDER, params.emotions, params.split, params.labels)
    counted = "pictures, not people," if count_subjects(dataset)["each"] else "people"
    for split in SPLITS:
        indices = getattr(dataset, split)
        people = len(set(dataset.column("subject")[indices]) - {None})
        print(f"{split}: {len(indices)} pictures of {people} {counted.rstrip(',')}", flush=True)
    if params.labels.target != "archive" and (unlabelled := dataset.unlabelled_sources()):
        print(f"no raters' answers: {', '.join(unlabelled)}: learnt by {LABELLED}", flush=True)

    if note := missing_letters(dataset.classes):
        print(note, flush=True)
    features = load_features(FEATURES_FOLDER, dataset)
    after_epoch = functools.partial(write_history, HISTORY_FILE)
    training = train(dataset, features, params, INTERRUPTED_MODEL_FILE, after_epoch)
    valid = dataset.valid
    temperature = fit_temperature(training.logits[valid], dataset.targets.valid[valid])
    model = dataclasses.replace(training.model, temperature=temperature)
    save_model(MODEL_FILE, model)
    evaluation = evaluate(dataset, training.logits, temperature, params)
    write_json(EVALUATION_FILE, evaluation)
    write_json(METRICS_FILE, headline(evaluation))
    write_run(PLOTS_FOLDER, dataset, training, softmax(training.logits / temperature, axis=1))
    for truth, against in (("archive", LABELLED), ("majority", "the majority of raters")):
        result = evaluation["test"][truth]
        if result["images"]:
            print(
                f"test against {against}: accuracy {result['accuracy']:.3f}, balanced accuracy "
                f"{in_words(result, counted)}, macro F1 {result['macro_f1']:.3f}"
            )
    raters, model = evaluation["ceiling"]["raters"], evaluation["ceiling"]["model"]
    if raters["images"]:
        print(
            f"where two raters agree: the third has balanced accuracy {in_words(raters, counted)}, the model "
            f"{in_words(model, counted)}"
        )


def in_words(result: dict, counted: str) -> str:
    """A balanced accuracy with its interval over what is counted: people, or pictures where each is taken for one."""
    low, high = result["balanced_accuracy_interval"]
    return f"{result['balanced_accuracy']:.3f} (95 % interval over {counted} {low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(run("train", main))
