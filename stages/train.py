"""Stage train: data/features/ to the model, how good it is, and plots. `python -m stages.train`"""

import sys

from faceemo.interrupts import importing

with importing("train"):
    import functools
    import hashlib
    from dataclasses import asdict

    from faceemo.console import Interrupted, run
    from faceemo.durable import write_json
    from faceemo.fonts import missing_letters
    from faceemo.outputs import await_release
    from faceemo.params import Params, load_params
    from faceemo.paths import (
        EVALUATION_FILE,
        FEATURES_FOLDER,
        HISTORY_FILE,
        IMPORTANCE_FILE,
        INTERRUPTED_MODEL_FILE,
        METRICS_FILE,
        MODEL_FILE,
        PARAMS_FILE,
        PLOTS_FOLDER,
        PREDICTIONS_FILE,
    )
    from faceemo.training.calibrate import train_calibrated
    from faceemo.training.dataset import Dataset, load_dataset, load_inputs
    from faceemo.training.devices import describe_devices, find_devices
    from faceemo.training.evaluate import evaluate, headline, main_truth, split_lines
    from faceemo.training.importance import measure_importance
    from faceemo.training.lines import result_lines
    from faceemo.training.model import save_model
    from faceemo.training.plots import Words, draw, run_plots, write_history, write_importance, write_predictions
    from faceemo.training.recipe import RECIPES, Inputs
    from faceemo.training.train import Training, network_of

LABELLED = "the emotion of archive, folder or table"


def main() -> None:
    """Train on data/features; write the model, its evaluation, metrics and plots."""
    with importing("train"):
        import torch._dynamo  # noqa: F401 - here, since the optimizer imports it during the work, for over a second

    params = load_params()
    print(describe_devices(find_devices()), flush=True)
    dataset = load_dataset(FEATURES_FOLDER, params.emotions, params.split, params.labels)
    print("\n".join(split_lines(dataset)), flush=True)
    if params.labels.target != "archive" and (unlabelled := dataset.unlabelled_sources()):
        print(f"no raters' answers: {', '.join(unlabelled)}: learnt by {LABELLED}", flush=True)

    if dataset.left_out:
        left = ", ".join(f"{count} of {name}" for name, count in dataset.left_out.items())
        print(f"left out, since 'emotions' in {PARAMS_FILE} names {', '.join(dataset.classes)}: {left}", flush=True)
    if note := missing_letters(dataset.classes):
        print(note, flush=True)
    inputs = load_inputs(FEATURES_FOLDER, dataset, RECIPES[network_of(dataset, params)].columns)
    after_epoch = functools.partial(write_history, HISTORY_FILE)
    training = train_calibrated(dataset, inputs, params, INTERRUPTED_MODEL_FILE, after_epoch)
    try:
        judge(dataset, inputs, params, training)
    except KeyboardInterrupt:
        save_model(INTERRUPTED_MODEL_FILE, training.model)  # dvc removes MODEL_FILE before it trains again
        raise Interrupted(f"the trained model is in {INTERRUPTED_MODEL_FILE.as_posix()}") from None


def judge(dataset: Dataset, inputs: Inputs, params: Params, training: Training) -> None:
    """Write what training gives: the model, its evaluation, metrics and plots."""
    training = training.answering(inputs, params.train.class_weights)
    await_release(HISTORY_FILE)
    write_history(HISTORY_FILE, training.history)
    model, logits = training.model, training.logits
    save_model(MODEL_FILE, model)
    md5 = hashlib.md5(MODEL_FILE.read_bytes(), usedforsecurity=False).hexdigest()
    named = {
        "md5": md5,
        "network": model.network,
        "epoch": training.history[-1].epoch,
        "learnt_valid": training.learnt_valid,
    }
    evaluation = evaluate(dataset, logits, model.temperature, params, named)
    write_json(EVALUATION_FILE, evaluation)
    write_json(METRICS_FILE, headline(evaluation))
    truth, predicted = main_truth(dataset), logits.argmax(axis=1)
    test = dataset.indices("test", truth)
    importance = measure_importance(model, dataset.face, inputs, test)
    write_importance(IMPORTANCE_FILE, importance, md5)
    write_predictions(PREDICTIONS_FILE, truth[test], predicted[test], dataset.classes)
    draw(
        PLOTS_FOLDER,
        run_plots(evaluation, [asdict(one) for one in training.history], importance),
        Words(dataset.classes),
    )
    print("\n".join(result_lines(evaluation)))


if __name__ == "__main__":
    sys.exit(run("train", main))
