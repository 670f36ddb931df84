"""Work that takes long with 450,000 pictures shows how far it is: each of these lines comes every half minute there."""

import json
import re

import pytest
from made_archives import ANXIOUS, NEUTRAL
from made_models import model_file
from made_run import ROOT, make_run

from faceemo import console
from faceemo.cli import main
from faceemo.pictures.archive import Archive
from faceemo.pictures.reader import MAX_BYTES


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "PLAIN_SECONDS", 0)
    for emotion, path in (("neutral", NEUTRAL), ("anxious", ANXIOUS)):
        (tmp_path / "faces" / emotion).mkdir(parents=True)
        with Archive(path) as archive:
            for number, member in enumerate(archive.members[:2]):
                (tmp_path / f"faces/{emotion}/{number}.jpg").write_bytes(archive.read(member, MAX_BYTES))
    return tmp_path


def last(said, what, unit):
    """How far it was in the end, of how much, and whether each line told the time left."""
    lines = re.findall(rf"^{what}: (\d+)(?: of (\d+))? {unit}, [\d.]+ {unit}/s(, \d\d:\d\d left)?", said, re.MULTILINE)
    assert lines, said
    assert all(left for _, total, left in lines if total)
    return [int(number) for number in lines[-1][:2] if number]


def test_stages_and_folds(capsys):
    make_run(train__network="mlp")
    said = capsys.readouterr().out
    assert last(said, "neutral-training-01", "pictures") == [41, 41]
    assert last(said, "data/features", "faces") == [160, 160]
    assert last(said, "train: answers", "faces") == [64, 64]  # not of those that it has learnt from
    assert len(set(last(said, "train", "faces"))) == 1
    assert main(["folds", "--folds", "2", "--seeds", "2", "-S", "epochs=1", "--out", "folds.json"]) == 0
    assert last(capsys.readouterr().out, "folds", "epochs") == [2 * 2 * (3 + 1)] * 2


def test_a_scan_of_own_pictures_and_its_json_stays_json(capsys, in_a_folder):
    (in_a_folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    assert main(["scan", "faces", "--subject", "each", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["sources"]["faces"]["pictures"] == 4
    assert last(err, "faces: listing", "files")
    assert last(err, "faces: comparing", "pictures") == [4, 4]


@pytest.mark.slow
def test_evaluate(capsys, in_a_folder):
    model = model_file(in_a_folder)
    assert main(["evaluate", "faces", "--subject", "each", "--model", str(model), "--workers", "1"]) == 0
    said = capsys.readouterr().out
    assert last(said, "evaluate", "pictures") == [4, 4]
    assert last(said, f"evaluate: {model}", "faces") == [4, 4]
