"""A small residual network that looks at the crop of a face."""

import math

import torch
from torch import nn
from torch.nn import functional

from faceemo.training.networks import Branch

WIDTH = 32  # channels of the first layer
VIEW = 56  # pixels of a crop's side of 64: measured better than all of it, at three quarters of the work
DROPOUT = 0.3
CONTRAST_FLOOR = 4.0  # grey levels: what is flatter than that is noise

# Of the augmentation, each drawn evenly for every crop of a batch.
TURN = math.radians(10)
ZOOM = 0.125
SHIFT = 0.08  # of half the crop's side
LIGHT = 0.2  # of the crop's contrast; and as much brighter or darker


class Block(nn.Module):
    """Two 3x3 convolutions and a way around them (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        is_same = inputs == outputs and stride == 1
        around = [nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)]
        self.around = nn.Identity() if is_same else nn.Sequential(*around)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: [N, inputs, height, width]. Returns [N, outputs, height / stride, width / stride]."""
        return functional.relu(self.body(x) + self.around(x))


class CropBranch(Branch):
    """Crops through four stages of convolutions to one number a channel: 1.2 million weights.

    It looks at the middle of a crop. While it learns, each crop is turned, scaled and moved under that view, so that
    what comes into it is the picture and no repeated border.
    """

    width = 8 * WIDTH

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, WIDTH, 5, 2, 2, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ReLU(),
            Block(WIDTH, 2 * WIDTH, 2),
            Block(2 * WIDTH, 4 * WIDTH, 2),
            Block(4 * WIDTH, 8 * WIDTH, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(DROPOUT),
        )

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """crops: uint8 [N, side, side], grey; while it learns each is changed at random. Returns [N, 256]."""
        x = prepared(crops)
        x = augmented(x) if self.training else middle(x)
        return self.layers(x.contiguous(memory_format=torch.channels_last))


def prepared(crops: torch.Tensor) -> torch.Tensor:
    """uint8 [N, side, side] to float32 [N, 1, side, side], the middle of each crop of mean 0 and contrast 1."""
    x = crops.float()[:, None]
    seen = middle(x)
    mean, std = seen.mean((2, 3), keepdim=True), seen.std((2, 3), keepdim=True)
    return (x - mean) / (std + CONTRAST_FLOOR)


def middle(x: torch.Tensor) -> torch.Tensor:
    """[N, 1, VIEW, VIEW] of [N, 1, side, side]."""
    edge = (x.shape[2] - VIEW) // 2
    return x[:, :, edge : edge + VIEW, edge : edge + VIEW]


def augmented(x: torch.Tensor) -> torch.Tensor:
    """Views [N, 1, VIEW, VIEW] of prepared crops [N, 1, side, side] turned, scaled, moved, and of other contrast and
    brightness.
    """

    def even(bound: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(len(x), *shape, device=x.device) - 1) * bound

    share = VIEW / x.shape[2]
    angle, scale = even(TURN), (1 + even(ZOOM)) * share
    across, down = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([across, -down, even(SHIFT)], 1), torch.stack([down, across, even(SHIFT)], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), [len(x), 1, VIEW, VIEW], align_corners=False)
    x = functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return x * (1 + even(LIGHT, 1, 1, 1)) + even(LIGHT, 1, 1, 1)
