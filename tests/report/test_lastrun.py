import gc
import json
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_run import LANDMARKS, OUT, change_params, evaluation_of_run, refusal, report

from faceemo.cli import main
from faceemo.errors import FaceemoError
from faceemo.rows import read_parquet

pytestmark = pytest.mark.slow

EVALUATION, HISTORY, MODEL = Path("evaluation.json"), Path("plots/history.csv"), Path("models/emotion.pt")
NOT_WRITTEN = "evaluation.json is not what training writes; run 'dvc repro' again"


def write_evaluation(values: object) -> None:
    EVALUATION.write_text(json.dumps(values), encoding="utf-8")


def test_a_missing_file_is_one_line_and_the_last_report_stays(project, capsys):
    report()
    before = OUT.read_bytes()
    for path in (Path("params.yaml"), Path("data/sources.yaml"), EVALUATION, HISTORY, MODEL):
        whole = path.read_bytes()
        path.unlink()
        capsys.readouterr()
        assert main(["report"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert path.as_posix() in line and re.search("run 'faceemo scan'|run 'dvc repro'|run this in", line)
        path.write_bytes(whole)
    assert OUT.read_bytes() == before and not list(project.glob("*.tmp"))


def test_a_broken_file_is_one_line(project):
    for path in (EVALUATION, HISTORY):
        whole = path.read_bytes()
        for content in ("", "[]", "{}", "<<<<<<< HEAD\n{}", "[" * 100_000, "epoch\n1\n"):
            path.write_text(content, encoding="utf-8")
            assert refusal() == f"{path.as_posix()} is not what training writes; run 'dvc repro' again"
        path.write_bytes(whole)
    EVALUATION.write_text(
        re.sub(r'"accuracy": [\d.]+', '"accuracy": NaN', EVALUATION.read_text(encoding="utf-8")), encoding="utf-8"
    )
    assert refusal() == NOT_WRITTEN


def changed(value: object, chance: random.Random) -> object:
    """JSON with one thing in it missing or of another type."""
    if isinstance(value, dict) and value:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: changed(value[key], chance)}
    return chance.choice([None, "0.5", [], {}, True])


def test_an_evaluation_that_training_did_not_write_is_one_line_or_a_report(project):
    right, chance, refused = evaluation_of_run(), random.Random(1), []
    for _ in range(25):
        write_evaluation(changed(right, chance))
        try:
            report()  # what it does not show may be anything
        except FaceemoError as error:
            refused.append(str(error))
    assert len(refused) > 10
    allowed = (NOT_WRITTEN, "params.yaml has changed", "evaluation.json is not of ", "plots/history.csv is not of ")
    assert all(message.startswith(allowed) for message in refused)


def test_without_any_part_there_is_one_line(project):
    right = evaluation_of_run()
    for name in right.keys() - {"left_out"}:
        write_evaluation({key: value for key, value in right.items() if key != name})
        assert refusal() == NOT_WRITTEN, name


def test_an_evaluation_of_another_version_is_one_line(project):
    right = evaluation_of_run()
    write_evaluation({**right, "params": {**right["params"], "patience": 3}})
    assert refusal() == NOT_WRITTEN


def test_params_changed_since_the_run_are_named(project):
    change_params(workers=3, extract__scheduler="tcp://host:8786")  # the same run
    report()
    as_it_was = Path("params.yaml").read_bytes()
    for name, value in {
        "lr": 0.1,
        "train__mirror": False,
        "limit": 5,
        "normalize__scale": "max_abs",
        "emotions": ["anxious", "neutral"],
    }.items():
        change_params(**{name: value})
        wanted = f"params.yaml has changed since the last run ({name.replace('__', '.')}); run 'dvc repro'"
        assert refusal() == wanted
        Path("params.yaml").write_bytes(as_it_was)
    change_params(lr=0.1, split__test=0.3)
    assert refusal() == "params.yaml has changed since the last run (lr, split.test); run 'dvc repro'"


def test_files_of_different_runs_are_not_mixed(project):
    whole = MODEL.read_bytes()
    MODEL.write_bytes(whole + b"\0")
    assert refusal() == "evaluation.json is not of models/emotion.pt as it is now; run 'dvc repro'"
    MODEL.write_bytes(whole)
    rows = HISTORY.read_text(encoding="utf-8").splitlines(keepends=True)
    HISTORY.write_text("".join(rows[:-1]), encoding="utf-8")
    assert refusal() == "plots/history.csv is not of evaluation.json as it is now; run 'dvc repro'"
    HISTORY.write_text("".join(rows), encoding="utf-8")
    sources = Path("data/sources.yaml")
    sources.write_text(
        sources.read_text(encoding="utf-8").replace("  happy-training-01:", "  happy-training-02:"), encoding="utf-8"
    )
    assert refusal() == "evaluation.json is not of data/sources.yaml as it is now; run 'dvc repro'"


def test_landmarks_that_were_not_judged_are_not_drawn(project):
    mistake = evaluation_of_run()["mistakes"][0]
    folder = LANDMARKS / mistake["source"]
    wanted = f"{folder.as_posix()} is not what evaluation.json was made from; run 'dvc repro'"
    shard = folder / f"part-{mistake['row'] // 16:05d}.parquet"
    whole = shard.read_bytes()
    for content in (b"", b"text", whole[:-1]):
        shard.write_bytes(content)
        assert re.fullmatch(rf"{shard.as_posix()} cannot be read \(.+\); run 'dvc repro'", refusal())
    shard.write_bytes(whole)
    table = read_parquet(shard)
    column = table.schema.get_field_index("image")
    pq.write_table(table.set_column(column, "image", pa.array(table["image"].to_pylist()[::-1])), shard)
    assert refusal() == wanted
    pq.write_table(table.set_column(table.schema.get_field_index("landmarks"), table.schema.field("landmarks"),
                                    pa.nulls(len(table), table.schema.field("landmarks").type)), shard)  # fmt: skip
    assert refusal() == wanted
    gc.collect()  # Windows removes nothing that is open
    shutil.rmtree(folder)
    assert refusal() == wanted


def test_what_the_report_does_not_read_changes_nothing(project):
    report()
    before = OUT.read_bytes()
    for path in (Path("metrics.json"), Path("plots/predictions.csv"), Path("dvc.lock")):
        path.write_bytes(b"<<<<<<< HEAD\xff")
    report()
    assert OUT.read_bytes() == before


def test_the_report_judges_nothing():
    """It imports neither torch nor what trains, so it could not."""
    code = "import sys, faceemo.report.page; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, encoding="utf-8"
    ).stdout.split()
    assert not [name for name in loaded if name == "torch" or re.match(r"faceemo\.(training|prediction)\b", name)]


def test_plots_of_the_run_are_written_in_every_format_and_are_of_this_run(project, capsys):
    path = Path("plots/importance.json")
    assert main(["report", "--language", "ko", "--plots", "figures"]) == 0
    names = {"history", "confusion", "reliability", "classes", "importance"}
    assert {one.name for one in Path("figures").iterdir()} == {
        f"{n}.{kind}" for n in names for kind in ("png", "svg", "pdf")
    }
    before = {one: one.read_bytes() for one in Path("figures").iterdir()}
    whole = path.read_text(encoding="utf-8")
    for text, told in (
        (None, "plots/importance.json is not here; run 'dvc repro' first"),
        ("{}", "plots/importance.json is not what training writes; run 'dvc repro' again"),
        (
            whole.replace(evaluation_of_run()["model"]["md5"], "0" * 32),
            "plots/importance.json is not of evaluation.json",
        ),
    ):
        path.unlink()
        if text is not None:
            path.write_text(text, encoding="utf-8")
        capsys.readouterr()
        assert main(["report", "--plots", "figures"]) == 1
        assert told in capsys.readouterr().err
        path.write_text(whole, encoding="utf-8")
    assert main(["report", "--plots", "params.yaml"]) == 1
    assert "--plots params.yaml: this is not a folder; name a new folder" in capsys.readouterr().err
    assert {one: one.read_bytes() for one in Path("figures").iterdir()} == before
