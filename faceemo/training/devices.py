"""What training runs on, and how an epoch is shared out over it."""

import contextlib
import shutil
from collections.abc import Iterator

import torch

from faceemo.errors import FaceemoError


def find_devices() -> list[torch.device]:
    """All CUDA devices, or the CPU."""
    return [torch.device("cuda", i) for i in range(torch.cuda.device_count())] or [torch.device("cpu")]


def describe_devices(devices: list[torch.device]) -> str:
    """One line that names the devices, and what to do where a GPU lies idle because PyTorch has no CUDA."""
    if devices[0].type == "cuda":
        return f"training on {', '.join(f'{device} ({torch.cuda.get_device_name(device)})' for device in devices)}"
    line = "training on the CPU"
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        line += (
            "\nan NVIDIA driver is installed, but this PyTorch has no CUDA: install the CUDA build that "
            "https://pytorch.org/get-started/locally/ gives for your system to train on the GPU"
        )
    return line


@contextlib.contextmanager
def threads_kept() -> Iterator[int]:
    """In the block a CPU works with one thread, until it is told otherwise; yields how many there were before.

    The landmarks' network is as fast on one, many times as fast on a machine that is busy, and the same seed then gives
    the same weights on any number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def has_bfloat16(device: torch.device) -> bool:
    """Whether half precision is faster on this device than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(is_supported() for is_supported in known if is_supported is not None)


def batch_sizes(rows: int, batch_size: int, devices: int) -> list[int]:
    """Sizes of an epoch's batches: as even as can be, multiples of the device count, two rows or more a device.

    BatchNorm cannot learn from one row, and DataParallel gives the last device the smallest share. Up to devices - 1
    rows are left out, other ones in each epoch. Raises FaceemoError if there are too few rows for one batch.
    """
    units = rows // devices
    if units < 2:
        raise FaceemoError(f"{rows} pictures to train on are too few for {devices} device(s); add archives")
    batches = min(-(-rows // batch_size), units // 2)
    return [devices * (units // batches + (number < units % batches)) for number in range(batches)]
