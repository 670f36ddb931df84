import dataclasses
import errno
import os
import random
from pathlib import Path

import pytest
import torch
from made_archives import on_a_full_disk
from systems import needs_posix
from torch import nn

from faceemo.errors import FaceemoError
from faceemo.training.devices import threads_kept
from faceemo.training.model import FORMAT, TrainedModel, load_model, save_model
from faceemo.training.recipe import RECIPES
from faceemo.training.seen import hash_people

CLASSES = ("neutral", "anxious", "happy")
SHARES = (0.5, 0.3, 0.2)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Faster for a few faces, and much faster where the cores are busy."""
    with threads_kept():
        yield


def trained(network: str = "mlp") -> TrainedModel:
    """A model whose BatchNorm statistics have moved from their start."""
    torch.manual_seed(0)
    built = RECIPES[network].build(len(CLASSES)).train()
    built(*columns(network, 16))
    return TrainedModel(
        network,
        CLASSES,
        built.state_dict(),
        temperature=1.7,
        shares=SHARES,
        mirror=True,
        settings={
            "normalize": {"baseline": "none"},
            "extract": {"settings": {"scheduler": None}},
            "emotions": {name: [name] for name in CLASSES},
        },
        salt="0123",
        people=hash_people(["kim", "lee", "kim"], "0123"),
    )


def columns(network: str, faces: int) -> list[torch.Tensor]:
    """Random columns of so many faces, as the network takes them."""
    made = {"features": torch.randn(faces, 1434), "crop": torch.randint(0, 256, (faces, 64, 64), dtype=torch.uint8)}
    return [made[name] for name in RECIPES[network].columns]


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "models" / "emotion.pt"
    save_model(path, trained())
    return path


@pytest.mark.parametrize("network", ["mlp", "cnn", "both"])
def test_a_saved_model_gives_the_same_logits_when_loaded(tmp_path, network):
    model, faces = trained(network), columns(network, 6)
    save_model(tmp_path / "emotion.pt", model)
    loaded = load_model(tmp_path / "emotion.pt")
    built = loaded.build()
    assert not any(module.training for module in built.modules())
    with torch.no_grad():
        assert torch.equal(built(*faces), model.build()(*faces))
        assert torch.allclose(built(*(one[:1] for one in faces)), built(*faces)[:1], atol=1e-4)
    assert {name: value for name, value in vars(loaded).items() if name not in ("state_dict", "people")} == {
        name: value for name, value in vars(model).items() if name not in ("state_dict", "people")
    }
    assert loaded.members == {name: (name,) for name in CLASSES}


def test_a_model_keeps_its_start_in_its_file(tmp_path):
    start = dataclasses.replace(trained("cnn"), domain=torch.cat([torch.zeros(1, 16), torch.eye(16)]))
    model = dataclasses.replace(trained("both"), domain=start.domain, start=start, margin=-1.5)
    save_model(tmp_path / "emotion.pt", model)
    loaded, faces = load_model(tmp_path / "emotion.pt"), columns("both", 6)
    assert loaded.margin == -1.5 and loaded.start.shares == SHARES
    with torch.no_grad():
        assert torch.equal(loaded.predictor()(*faces), model.predictor()(*faces))
    assert len(set(loaded.balanced().start.shares)) == 1
    other = dataclasses.replace(model, people=hash_people(["choi"], "0123"))
    assert other.has_seen(["choi", "kim", "park", None]) == [True, True, False, False]
    assert not any(other.anonymous().has_seen(["choi", "kim"]))
    damaged = dataclasses.replace(start, temperature=0.0)
    save_model(tmp_path / "emotion.pt", dataclasses.replace(model, start=damaged))
    assert "not a model of this version of faceemo" in error_of(tmp_path / "emotion.pt")


def test_a_balanced_model_answers_without_the_shares_of_what_it_learnt():
    faces, model = columns("mlp", 5), trained()
    with torch.no_grad():
        plain, balanced = ((one.build()(*faces) / one.temperature).softmax(1) for one in (model, model.balanced()))
    expected = plain / torch.tensor(SHARES) ** 0.75
    torch.testing.assert_close(balanced, expected / expected.sum(1, keepdim=True))
    assert torch.equal(model.balanced().balanced().state_dict["head.bias"], model.balanced().state_dict["head.bias"])


def test_the_file_loads_without_running_code_and_names_no_parallel_wrapper(saved):
    values = torch.load(saved, weights_only=True)
    assert not any(name.startswith("module.") for name in values["state_dict"])
    assert set(values["state_dict"]) == set(RECIPES["mlp"].build(3).state_dict())


def test_a_model_knows_whom_it_has_seen_and_its_file_tells_no_name(saved):
    model = load_model(saved)
    assert model.people.shape == (2, 32)
    assert model.has_seen(["lee", None, "choi", "kim", "Kim"]) == [True, False, False, True, False]
    assert b"kim" not in saved.read_bytes()
    assert not dataclasses.replace(model, people=hash_people(["kim"], "4567")).has_seen(["kim"])[0]


@pytest.mark.slow
@needs_posix("bounds the size of files")
def test_a_full_disk_is_one_line_and_leaves_the_old_model(saved):
    before = saved.read_bytes()
    code = f"""
from pathlib import Path
from faceemo.training.model import load_model, save_model
path = Path({str(saved)!r})
save_model(path, load_model(path))
"""
    assert on_a_full_disk(code) == (1, "", f"train: error: {os.strerror(errno.EFBIG)}: {saved}\n")
    assert saved.read_bytes() == before
    assert [file.name for file in saved.parent.iterdir()] == ["emotion.pt"]


def error_of(path: Path) -> str:
    with pytest.raises(FaceemoError) as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


def test_a_missing_model_is_one_clear_line(tmp_path):
    assert "no such model" in error_of(tmp_path / "emotion.pt")


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_torch_file_is_one_clear_line(tmp_path, content):
    (tmp_path / "emotion.pt").write_bytes(content)
    assert "not a faceemo model" in error_of(tmp_path / "emotion.pt")


@needs_posix("Windows has no FIFO")
def test_a_pipe_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(FaceemoError, match=r"a.pt: not a faceemo model \(not a regular file\)"):
        load_model(tmp_path / "a.pt")


def test_a_model_file_cut_short_is_one_clear_line(saved):
    saved.write_bytes(saved.read_bytes()[:-1000])
    assert "not a faceemo model" in error_of(saved)


def test_a_pickled_network_is_refused_without_running_its_code(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "emotion.pt")
    assert "not a faceemo model" in error_of(tmp_path / "emotion.pt")


@pytest.mark.parametrize(
    "content",
    [
        {"epoch": 3},
        [1, 2],
        torch.zeros(3),
        {"faceemo": 2, **vars(trained())},  # of an older version
        {"faceemo": FORMAT + 1, **vars(trained())},
        {"faceemo": FORMAT, **vars(trained()), "later": 1},
        {"faceemo": FORMAT, **{name: value for name, value in vars(trained()).items() if name != "shares"}},
        {"faceemo": FORMAT, **vars(trained()), "state_dict": [1]},
        {"faceemo": FORMAT, **vars(trained()), "settings": {"odd": torch.zeros(1)}},
    ],
    ids=[
        "a dict",
        "a list",
        "a tensor",
        "older",
        "later",
        "another field",
        "a field less",
        "a list",
        "a tensor inside",
    ],
)
def test_a_file_of_something_else_or_of_another_version_is_one_clear_line(tmp_path, content):
    torch.save(content, tmp_path / "emotion.pt")
    assert "not a model of this version of faceemo; train it again with 'dvc repro'" in error_of(
        tmp_path / "emotion.pt"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1.8},
        {"classes": CLASSES[::-1]},
        {"shares": SHARES[::-1]},
        {"salt": "0124"},
        {"people": hash_people(["lee"], "0123")},
        {"people": None, "salt": None},
        {"neutral": torch.zeros(1434)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_that_was_changed_after_it_was_saved_is_one_clear_line(saved, changes):
    torch.save({**torch.load(saved, weights_only=True), **changes}, saved)
    assert "emotion.pt is damaged: copy it again" in error_of(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "resnet"},
        {"network": "cnn"},
        {"classes": CLASSES[:2], "shares": SHARES[:2]},
        {"temperature": 0.0},
        {"shares": (0.5, 0.5, 0.0)},
        {"neutral": torch.zeros(3)},
        {"state_dict": {}},
        {"state_dict": {**trained().state_dict, "head.bias": torch.full((3,), float("nan"))}},
        {"settings": {}},
        {"start": trained("cnn")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_model_that_cannot_work_is_one_clear_line(saved, changes):
    """As a program that writes such files itself may leave them, with the right digest."""
    save_model(saved, dataclasses.replace(trained(), **changes))
    assert "not a model of this version of faceemo" in error_of(saved)


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """Bits turned, bytes lost, blanked, replaced or doubled; half of the time near an end, where the names lie."""
    data = bytearray(whole)
    at = chance.choice([chance.randrange(len(data)), chance.randrange(3000), len(data) - 1 - chance.randrange(3000)])
    length = chance.randrange(1, 70_000)
    some = len(data[at : at + length])
    match chance.randrange(7):
        case 0:
            data[at] ^= 1 << chance.randrange(8)
        case 1:
            for _ in range(length // 100 + 1):
                data[chance.randrange(len(data))] = chance.randrange(256)
        case 2:
            del data[at:]
        case 3:
            del data[at : at + length]
        case 4:
            data[at : at + length] = bytes(some)
        case 5:
            data[at : at + length] = chance.randbytes(some)
        case 6:
            data[at:at] = data[at : at + length]
    return bytes(data)


@pytest.mark.slow
def test_of_many_damaged_model_files_each_is_one_clear_line_or_the_model_that_was_saved(saved):
    whole, chance, model = saved.read_bytes(), random.Random(3), trained()
    refused = 0
    for _ in range(200):
        saved.write_bytes(damaged(whole, chance))
        try:
            found = load_model(saved)
        except FaceemoError as error:
            assert str(saved) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert all(torch.equal(value, found.state_dict[name]) for name, value in model.state_dict.items())
            assert (found.classes, found.temperature, found.settings) == (CLASSES, 1.7, model.settings)
    assert 100 < refused < 200  # some bytes of the file hold nothing
