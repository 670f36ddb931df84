import dataclasses
import json
import random
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from made_run import (
    LANDMARKS,
    OUT,
    change_params,
    evaluation_of_run,
    refusal,
    report,
)

from faceemo.errors import FaceemoError
from faceemo.report.lastrun import read_last_run
from faceemo.report.mistakes import strongest_mistakes
from faceemo.training.evaluate import interval_over_people
from faceemo.training.model import load_model, save_model
from stages import normalize

pytestmark = pytest.mark.slow


def test_a_missing_or_broken_file_is_one_clear_line(project):
    features = "data/features/anxious-training-01.parquet"
    for path in (
        "params.yaml",
        "data/sources.yaml",
        "evaluation.json",
        "plots/history.csv",
        "models/emotion.pt",
        features,
    ):
        whole = Path(path).read_bytes()
        Path(path).unlink()
        message = refusal()
        assert message.startswith(path) and re.search("run|dvc repro", message)
        Path(path).write_bytes(whole)
    for path in ("evaluation.json", "plots/history.csv", "models/emotion.pt"):
        whole = Path(path).read_bytes()
        for content in ("", "[]", "<<<<<<< HEAD\n{}"):
            Path(path).write_text(content, encoding="utf-8")
            assert refusal().startswith(path)
        Path(path).write_bytes(whole)
    report()


def changed(value: object, chance: random.Random) -> object:
    """JSON with one thing in it missing or of another type."""
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(value[key], chance)}
    return chance.choice([None, "0.5", [], {}, True, float("nan")])


def test_an_evaluation_that_training_did_not_write_is_one_clear_line(project):
    path, right = Path("evaluation.json"), evaluation_of_run()
    chance = random.Random(1)
    refused = 0
    for _ in range(20):
        path.write_text(json.dumps(changed(right, chance)), encoding="utf-8")
        try:
            report()  # null may be right
        except FaceemoError as error:
            assert re.match(
                r"evaluation\.json is not (what training writes|of data/features as it is now);", str(error)
            )
            refused += 1
    assert refused > 15


def test_broken_parquet_is_one_clear_line(project):
    run = read_last_run()
    key = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 1)[0].source
    for path in (Path("data/features/anxious-training-01.parquet"), LANDMARKS / key / "part-00000.parquet"):
        whole = path.read_bytes()
        for content in (b"", b"text", whole[:-1], whole[: len(whole) // 2]):
            path.write_bytes(content)
            assert re.fullmatch(rf"{path.as_posix()} cannot be read \(.+\); run 'dvc repro'", refusal())
        path.write_bytes(whole)
    report()


def test_what_the_report_does_not_read_may_be_broken(project):
    report()
    before = OUT.read_bytes()
    for path in (Path("metrics.json"), Path("plots/predictions.csv")):
        path.write_bytes(b"<<<<<<< HEAD\xff")
    report()
    assert OUT.read_bytes() == before


def test_missing_or_foreign_landmarks_are_one_clear_line(project):
    run = read_last_run()
    key = strongest_mistakes(run.dataset, run.probability, LANDMARKS, 1)[0].source
    for shard in (LANDMARKS / key).iterdir():
        table = pq.read_table(shard)
        images = pa.array(["another.jpg"] * len(table))
        pq.write_table(table.set_column(table.schema.get_field_index("image"), "image", images), shard)
    wanted = f"data/landmarks/{key} is not what data/features was made from; run 'dvc repro'"
    assert refusal() == wanted
    shutil.rmtree(LANDMARKS / key)
    assert refusal() == wanted


def lock(md5: str) -> None:
    """A dvc.lock of the run, as dvc writes it."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    of_train = {key: values[key] for key in ("emotions", "seed", "lr", "epochs", "batch_size", "split", "train")}
    extract = {f"extract.{key}": value for key, value in values["extract"].items() if key != "scheduler"}
    stages = {
        "extract@neutral-training-01": {"params": {"params.yaml": {"limit": None, **extract}}, "outs": []},
        "extract@removed-long-ago-01": {"params": {"params.yaml": {"limit": 7}}},
        "normalize": {"params": {"params.yaml": {"normalize": values["normalize"]}}},
        "train": {"params": {"params.yaml": of_train}, "outs": [{"path": "models/emotion.pt", "md5": md5}]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def test_a_lock_of_another_version_is_one_line_that_says_what_to_do(project):
    lock(read_last_run().md5)
    text = Path("dvc.lock").read_text(encoding="utf-8")
    Path("dvc.lock").write_text(text.replace("lr: ", "oldkey: ").replace("limit: null", "limit: 3"), encoding="utf-8")
    assert re.fullmatch(
        r"dvc\.lock: unknown key oldkey; known here: .*: it is of another version of faceemo; run 'dvc repro'",
        refusal(),
    )


def test_params_changed_since_the_run_are_named(project):
    lock(read_last_run().md5)
    change_params(workers=3, extract__scheduler="tcp://host:8786")  # what no stage tracks is no change
    report()
    as_it_was = Path("params.yaml").read_bytes()
    for name, value in {
        "lr": 0.1,
        "train__mirror": False,
        "limit": 5,
        "normalize__scale": "max_abs",
        "extract__max_faces": 2,
    }.items():
        change_params(**{name: value})
        wanted = f"params.yaml has changed since the last run ({name.replace('__', '.')}); run 'dvc repro'"
        assert refusal() == wanted
        Path("params.yaml").write_bytes(as_it_was)


def test_without_a_lock_of_this_model_the_model_itself_tells_what_it_can(project):
    lock("0" * 32)
    change_params(lr=0.1)
    report()
    Path("dvc.lock").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    report()
    change_params(emotions=["neutral", "happy"])
    assert refusal() == "params.yaml has changed since the last run (emotions); run 'dvc repro'"
    change_params(emotions=["neutral", "anxious"], normalize__align="roll")
    assert refusal() == "params.yaml has changed since the last run (normalize.align); run 'dvc repro'"


def test_files_of_different_runs_are_not_mixed(project):
    model = load_model(Path("models/emotion.pt"))
    last = list(model.state_dict)[-1]  # the biases of the classes
    weights = {**model.state_dict, last: model.state_dict[last] + torch.tensor([2.0, -2.0])}
    save_model(Path("models/emotion.pt"), dataclasses.replace(model, state_dict=weights))
    assert refusal() == "evaluation.json is not of models/emotion.pt as it is now; run 'dvc repro'"
    save_model(Path("models/emotion.pt"), model)
    report()
    change_params(split__test=0.3)
    assert refusal() == "evaluation.json is not of data/features as it is now; run 'dvc repro'"
    change_params(split__test=0.2, normalize__scale="max_abs")
    normalize.main()
    settings = {**model.settings, "normalize": {**model.settings["normalize"], "scale": "max_abs"}}
    save_model(Path("models/emotion.pt"), dataclasses.replace(model, settings=settings))
    assert "evaluation.json is not of models/emotion.pt" in refusal()
    save_model(Path("models/emotion.pt"), model)
    change_params(normalize__scale="rms")
    assert refusal() == "models/emotion.pt is not of data/features as it is now; run 'dvc repro'"


def test_the_test_part_is_judged_as_training_judged_it(project):
    run = read_last_run()
    test = run.dataset.test
    predicted = run.probability.argmax(axis=1)
    assert np.mean(predicted == run.dataset.targets.learnt[test]) == pytest.approx(
        run.evaluation["test"]["learnt"]["accuracy"], abs=1e-6
    )
    subjects = run.dataset.column("subject")[test]
    found = interval_over_people(run.dataset.targets.learnt[test], predicted, subjects)
    assert found == pytest.approx(run.evaluation["test"]["learnt"]["balanced_accuracy_interval"], abs=1e-6)
    with Path("plots/predictions.csv").open(encoding="utf-8") as file:
        pairs = [tuple(line.strip().split(",")) for line in file][1:]
    classes = run.dataset.classes
    assert pairs == [(classes[t], classes[g]) for t, g in zip(run.dataset.targets.learnt[test], predicted, strict=True)]
