import dataclasses
import errno
import os
import random
from pathlib import Path

import pytest
import torch
from made_archives import on_a_full_disk
from torch import nn

from faceemo.errors import FaceemoError
from faceemo.training.model import FORMAT, Dropout, TrainedModel, load_model, mlp, save_model
from faceemo.training.seen import hash_people

CLASSES = ("neutral", "anxious", "happy")


def trained(seed: int = 0) -> TrainedModel:
    """A model whose BatchNorm statistics have moved from their start."""
    torch.manual_seed(seed)
    network = mlp(len(CLASSES)).train()
    network(torch.randn(16, 1434) + 1)
    return TrainedModel(
        "mlp",
        CLASSES,
        network.state_dict(),
        mean=torch.randn(1434),
        std=torch.rand(1434) + 0.5,
        temperature=1.7,
        settings={"normalize": {"units": "equal", "baseline_min": 4}, "extract": {"max_faces": 1, "scheduler": None}},
    )


@pytest.mark.parametrize("classes", [2, 7])
def test_the_network_is_the_published_one_layer_by_layer(classes):
    def described(layer: nn.Module) -> tuple:
        if isinstance(layer, nn.Linear):
            return ("Linear", layer.in_features, layer.out_features, layer.bias is not None)
        if isinstance(layer, nn.BatchNorm1d):
            return ("BatchNorm1d", layer.num_features)
        return ("Dropout", layer.p) if isinstance(layer, nn.Dropout) else (type(layer).__name__,)

    assert [described(layer) for layer in mlp(classes)] == [
        ("Linear", 1434, 512, True),
        ("ReLU",),
        ("BatchNorm1d", 512),
        ("Dropout", 0.3),
        ("Linear", 512, 256, True),
        ("ReLU",),
        ("BatchNorm1d", 256),
        ("Dropout", 0.2),
        ("Linear", 256, 128, True),
        ("ReLU",),
        ("Linear", 128, classes, True),
    ]


def test_a_saved_model_gives_the_same_logits_when_loaded(tmp_path):
    model = trained()
    path = tmp_path / "models" / "emotion.pt"
    save_model(path, model)
    loaded = load_model(path)
    faces = torch.randn(6, 1434)
    with torch.no_grad():
        assert torch.equal(loaded.build()(faces), model.build()(faces))
    assert (loaded.network, loaded.classes, loaded.temperature) == ("mlp", CLASSES, 1.7)
    assert torch.equal(loaded.mean, model.mean) and torch.equal(loaded.std, model.std)
    assert loaded.settings == model.settings


def test_a_built_network_is_ready_for_prediction():
    network = trained().build()
    faces = torch.randn(4, 1434)
    assert not any(module.training for module in network.modules())
    with torch.no_grad():
        assert torch.equal(network(faces), network(faces))
        assert torch.allclose(network(faces[:1]), network(faces)[:1], atol=1e-5)


def test_the_file_loads_without_running_code_and_names_no_parallel_wrapper(tmp_path):
    save_model(tmp_path / "emotion.pt", trained())
    values = torch.load(tmp_path / "emotion.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in values["state_dict"])
    assert set(values["state_dict"]) == set(mlp(3).state_dict())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sets a POSIX limit")
def test_a_full_disk_is_one_line_and_leaves_the_old_model(tmp_path):
    path = tmp_path / "emotion.pt"
    save_model(path, trained())
    before = path.read_bytes()
    code = f"""
from pathlib import Path
from faceemo.training.model import load_model, save_model
path = Path({str(path)!r})
save_model(path, load_model(path))
"""
    assert on_a_full_disk(code) == (1, "", f"train: error: {os.strerror(errno.EFBIG)}: {path}\n")
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["emotion.pt"]


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


def test_a_model_file_cut_short_is_one_clear_line(tmp_path):
    path = tmp_path / "emotion.pt"
    save_model(path, trained())
    path.write_bytes(path.read_bytes()[:-1000])
    assert "not a faceemo model" in error_of(path)


def test_a_pickled_network_is_refused_without_running_its_code(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "emotion.pt")
    assert "not a faceemo model" in error_of(tmp_path / "emotion.pt")


@pytest.mark.parametrize("foreign", [mlp(2).state_dict(), {"epoch": 3}, [1, 2], torch.zeros(3)])
def test_a_foreign_torch_file_is_one_clear_line(tmp_path, foreign):
    torch.save(foreign, tmp_path / "emotion.pt")
    assert "not a model of this version of faceemo" in error_of(tmp_path / "emotion.pt")


def test_a_model_of_another_format_is_one_clear_line(tmp_path):
    torch.save({"faceemo": FORMAT + 1, **vars(trained())}, tmp_path / "emotion.pt")
    assert "train it again with 'dvc repro'" in error_of(tmp_path / "emotion.pt")


def test_a_model_with_other_fields_is_one_clear_line(tmp_path):
    values = vars(trained())
    for changed in ({**values, "later": 1}, {name: value for name, value in values.items() if name != "mean"}):
        torch.save({"faceemo": FORMAT, **changed}, tmp_path / "emotion.pt")
        assert "not a model of this version of faceemo" in error_of(tmp_path / "emotion.pt")


def values_of(model: TrainedModel) -> dict:
    """What a model file of format 1 holds."""
    values = {"faceemo": 1, **vars(model)}
    values["deviation"] = values.pop("std")
    return values


def is_same(one: TrainedModel, other: TrainedModel) -> bool:
    tensors = [(one.mean, other.mean), (one.std, other.std)]
    tensors += [(value, other.state_dict[name]) for name, value in one.state_dict.items()]
    plain = [(model.network, model.classes, model.temperature, model.settings, model.neutral) for model in (one, other)]
    return plain[0] == plain[1] and all(torch.equal(mine, yours) for mine, yours in tensors)


def test_a_model_file_of_format_1_which_has_no_digest_still_loads(tmp_path):
    torch.save(values_of(trained()), tmp_path / "emotion.pt")
    assert is_same(load_model(tmp_path / "emotion.pt"), trained())


def test_a_model_knows_whom_it_has_seen_and_its_file_tells_no_name(tmp_path):
    path = tmp_path / "emotion.pt"
    people = hash_people(["kim", "lee", "kim"], "0123")
    save_model(path, dataclasses.replace(trained(), salt="0123", people=people))
    model = load_model(path)
    assert model.people.shape == (2, 32)
    assert model.has_seen(["lee", None, "choi", "kim", "Kim"]) == [True, False, False, True, False]
    assert b"kim" not in path.read_bytes()
    assert not dataclasses.replace(model, people=hash_people(["kim"], "4567")).has_seen(["kim"])[0]


def test_a_file_of_before_models_knew_people_loads_and_has_seen_nobody(tmp_path):
    path = tmp_path / "emotion.pt"
    save_model(path, trained())
    values = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in values.items() if name not in ("salt", "people")}, path)
    assert load_model(path).people is None and load_model(path).has_seen(["kim", None]) == [False, False]


def test_people_that_were_changed_after_the_model_was_saved_are_one_clear_line(tmp_path):
    path = tmp_path / "emotion.pt"
    save_model(path, dataclasses.replace(trained(), salt="0123", people=hash_people(["kim"], "0123")))
    values = torch.load(path, weights_only=True)
    for changes in ({"salt": "0124"}, {"people": hash_people(["lee"], "0123")}, {"people": None, "salt": None}):
        torch.save({**values, **changes}, tmp_path / "changed.pt")
        assert "changed.pt is damaged: copy it again" in error_of(tmp_path / "changed.pt")


def test_a_model_that_was_changed_after_it_was_saved_is_one_clear_line(tmp_path):
    path = tmp_path / "emotion.pt"
    save_model(path, trained())
    for name, value in {"temperature": 1.8, "classes": CLASSES[::-1], "mean": trained().mean + 1e-6}.items():
        values = torch.load(path, weights_only=True)
        torch.save({**values, name: value}, tmp_path / "changed.pt")
        assert "changed.pt is damaged: copy it again" in error_of(tmp_path / "changed.pt")


def weights(**changes: object) -> dict:
    return {"state_dict": {**trained().state_dict, **{name.replace("_", ".", 1): v for name, v in changes.items()}}}


def with_one(value: float, name: str = "mean") -> dict:
    tensor = torch.ones(1434)
    tensor[700] = value
    return {name: tensor}


WRONG_PARTS = [
    {"faceemo": "1"},
    {"faceemo": torch.ones(3)},
    {"network": ["mlp"]},
    {"network": "cnn"},
    {"classes": list(CLASSES)},
    {"classes": ("neutral",)},
    {"classes": ("neutral", 2, "happy")},
    {"classes": CLASSES[:2]},
    {"temperature": "1.0"},
    {"temperature": torch.ones(1)},
    {"temperature": float("nan")},
    {"temperature": 0.0},
    {"mean": torch.zeros(3)},
    {"mean": torch.zeros(1434, dtype=torch.float64)},
    {"mean": torch.zeros(1434).to_sparse()},
    {"mean": [0.0] * 1434},
    with_one(float("nan")),
    with_one(float("inf"), "deviation"),
    with_one(0.0, "deviation"),
    with_one(-1.0, "deviation"),
    {"neutral": "a face"},
    with_one(float("nan"), "neutral"),
    {"salt": "ab"},
    {"people": torch.zeros((2, 32), dtype=torch.uint8)},
    {"salt": "ab", "people": torch.zeros((2, 31), dtype=torch.uint8)},
    {"salt": "ab", "people": torch.zeros((2, 32))},
    {"salt": 7, "people": torch.zeros((2, 32), dtype=torch.uint8)},
    {"salt": "ab", "people": "kim"},
    {"settings": []},
    {"settings": None},
    {"settings": {"normalize": {}, "extract": {}, "odd": torch.zeros(1)}},
    {"state_dict": [1]},
    {"state_dict": {}},
    weights(**{"0_weight": torch.zeros(512, 1433)}),
    weights(**{"0_weight": torch.full((512, 1434), float("nan"))}),
    weights(**{"0_bias": torch.zeros(512, dtype=torch.int64)}),
    weights(more=torch.zeros(1)),
]


@pytest.mark.parametrize("changes", WRONG_PARTS, ids=lambda changes: next(iter(changes)))
def test_a_model_of_wrong_types_shapes_or_numbers_is_one_clear_line(tmp_path, changes):
    torch.save({**values_of(trained()), **changes}, tmp_path / "emotion.pt")
    assert "not a model of this version of faceemo; train it again" in error_of(tmp_path / "emotion.pt")


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
@pytest.mark.parametrize("number", [1, FORMAT])
def test_of_many_damaged_model_files_each_is_one_clear_line_or_the_model_that_was_saved(tmp_path, number):
    path = tmp_path / "emotion.pt"
    if number == FORMAT:
        save_model(path, trained())
    else:
        torch.save(values_of(trained()), path)
    whole, chance = path.read_bytes(), random.Random(number)
    refused = 0
    for _ in range(200):
        path.write_bytes(damaged(whole, chance))
        try:
            model = load_model(path)
        except FaceemoError as error:
            assert str(path) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert is_same(model, trained())
    assert 100 < refused < 200  # some bytes of the file hold nothing


@pytest.mark.parametrize("rate", [0.2, 0.3, 0.9])
def test_dropout_drops_its_share_anew_each_time_and_keeps_the_mean(rate):
    torch.manual_seed(0)
    layer = Dropout(rate).train()
    ones = torch.ones(333, 1001, requires_grad=True)
    dropped = layer(ones)
    values = dropped.detach().unique()
    assert torch.allclose(values, torch.tensor([0, 1 / (1 - rate)]))
    share = (dropped == 0).float()
    std = (rate * (1 - rate)) ** 0.5
    assert abs(share.mean() - rate) < 5 * std / ones.numel() ** 0.5
    assert abs(share.mean(0) - rate).max() < 6 * std / 333**0.5  # no element is favoured
    assert abs(share.mean(1) - rate).max() < 6 * std / 1001**0.5
    neighbours = torch.corrcoef(torch.stack([share[:, :-1].flatten(), share[:, 1:].flatten()]))[0, 1]
    assert abs(neighbours) < 5 / ones.numel() ** 0.5
    assert not torch.equal(layer(ones), dropped)
    dropped.sum().backward()
    assert torch.equal(ones.grad, dropped.detach())
    assert torch.equal(layer.eval()(ones), ones)


def test_dropout_repeats_itself_from_the_same_seed():
    layer = Dropout(0.3).train()
    torch.manual_seed(3)
    first = layer(torch.ones(7, 5))
    torch.manual_seed(3)
    assert torch.equal(layer(torch.ones(7, 5)), first)
