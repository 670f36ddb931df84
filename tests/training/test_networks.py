import numpy as np
import pytest
import torch
from torch import nn

from faceemo.training.cnn import VIEW, CropBranch, augmented, middle, prepared
from faceemo.training.devices import threads_kept
from faceemo.training.networks import Dropout
from faceemo.training.recipe import CROP, MESH, RECIPES, BothWays, CropMirror, MeshMirror

SIDE = 64


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Faster for a few faces, and much faster where the cores are busy."""
    with threads_kept():
        yield


def crops(count: int, seed: int = 0) -> torch.Tensor:
    """uint8 [count, SIDE, SIDE]"""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8))


@pytest.mark.parametrize(("network", "dropout"), [("mlp", (0.3, 0.2)), ("mlp_dropout", (0.5, 0.3))])
@pytest.mark.parametrize("classes", [2, 7])
def test_the_landmarks_network_is_the_published_one_layer_by_layer(network, dropout, classes):
    def described(layer: nn.Module) -> tuple:
        if isinstance(layer, nn.Linear):
            return ("Linear", layer.in_features, layer.out_features, layer.bias is not None)
        if isinstance(layer, nn.BatchNorm1d):
            return ("BatchNorm1d", layer.num_features)
        return ("Dropout", layer.p) if isinstance(layer, nn.Dropout) else (type(layer).__name__,)

    layers = [layer for layer in RECIPES[network].build(classes).modules() if not list(layer.children())]
    assert [described(layer) for layer in layers] == [
        ("Linear", 1434, 512, True),
        ("ReLU",),
        ("BatchNorm1d", 512),
        ("Dropout", dropout[0]),
        ("Linear", 512, 256, True),
        ("ReLU",),
        ("BatchNorm1d", 256),
        ("Dropout", dropout[1]),
        ("Linear", 256, 128, True),
        ("ReLU",),
        ("Linear", 128, classes, True),
    ]


def test_the_network_of_both_has_no_more_weights_than_it_may_and_takes_features_before_crops():
    recipe = RECIPES["both"]
    network = recipe.build(8).eval()
    assert sum(one.numel() for one in network.parameters()) <= 2_500_000
    assert recipe.columns == ("features", "crop")
    with torch.no_grad():
        assert network(torch.randn(3, 1434), crops(3)).shape == (3, 8)


def test_a_crop_of_other_light_and_contrast_is_the_same_to_the_network():
    faces = crops(2) // 2
    x = prepared(faces)
    assert x.shape == (2, 1, SIDE, SIDE) and x.dtype == torch.float32
    torch.testing.assert_close(middle(x).mean((2, 3)), torch.zeros(2, 1), atol=1e-5, rtol=0)
    torch.testing.assert_close(prepared(faces + 100), x, atol=1e-4, rtol=0)
    assert (prepared(faces * 2) - x).abs().max() < 0.1
    assert prepared(torch.full((1, SIDE, SIDE), 9, dtype=torch.uint8)).abs().max() == 0


def test_crops_are_changed_at_random_while_the_network_learns_and_never_afterwards():
    torch.manual_seed(0)
    x = prepared(crops(8))
    changed = augmented(x)
    assert changed.shape == middle(x).shape == (8, 1, VIEW, VIEW) and not torch.equal(changed, middle(x))
    assert not torch.equal(augmented(x), changed)
    branch, faces = CropBranch(), crops(4)
    branch.train()(faces)
    with torch.no_grad():
        assert torch.equal(branch.eval()(faces), branch(faces))
        assert branch(faces).shape == (4, branch.width)


def test_augmentation_moves_a_face_by_a_few_pixels_at_most():
    x = torch.zeros(64, 1, SIDE, SIDE)
    x[:, :, 28:36, 28:36] = 1.0
    torch.manual_seed(0)
    changed = augmented(x) > 0.5
    rows, columns = (torch.arange(VIEW)[:, None], torch.arange(VIEW)[None])
    for place in (rows, columns):
        centres = (changed[:, 0] * place).sum((1, 2)) / changed[:, 0].sum((1, 2))
        assert (centres - (VIEW - 1) / 2).abs().max() < 6 and centres.std() > 0.5


def test_crop_and_landmarks_are_mirrored_alike():
    faces = crops(3)
    assert torch.equal(CropMirror()(faces), faces[:, :, torch.arange(SIDE - 1, -1, -1)])
    mirror, features = MeshMirror(), torch.randn(3, 1434)
    assert torch.equal(mirror(mirror(features)), features) and not torch.equal(mirror(features), features)


@pytest.mark.parametrize("name", RECIPES)
def test_looked_at_both_ways_a_face_and_its_mirror_image_are_one(name):
    torch.manual_seed(0)
    network, faces = RECIPES[name].build(7).eval(), {MESH: torch.randn(4, 1434), CROP: crops(4)}
    mirrors = {MESH: MeshMirror(), CROP: CropMirror()}
    given = [faces[column] for column in RECIPES[name].columns]
    mirrored = [mirrors[column](faces[column]) for column in RECIPES[name].columns]
    with torch.no_grad():
        logits = BothWays(network)(*given)
        torch.testing.assert_close(logits, (network(*given) + network(*mirrored)) / 2, atol=1e-5, rtol=0)
        torch.testing.assert_close(logits, BothWays(network)(*mirrored), atol=1e-5, rtol=0)
        assert (network(*given) - network(*mirrored)).abs().max() > 1e-3


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
