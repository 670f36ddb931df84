"""What training runs on, and how an epoch is shared out over it."""

import shutil

import torch

from faceemo.errors import FaceemoError


def find_devices() -> list[torch.device]:
    """All CUDA devices, or the CPU."""
    return [torch.device("cuda", i) for i in range(torch.cuda.device_count())] or [torch.device("cpu")]


def describe_devices(devices: list[torch.device]) -> str:
    """One line that names the devices, and what to do where a GPU lies idle because PyTorch has no CUDA."""
    if devices[0].type == "cuda":
        return f"training on {', '.join(f'{device} ({torch.cuda.get_device_name(device)})' for device in devices)}"
    line = f"training on the CPU ({torch.get_num_threads()} threads)"
    if torch.version.cuda is None and shutil.which("nvidia-smi"):
        line += (
            "\nan NVIDIA driver is installed, but this PyTorch has no CUDA: install the CUDA build that "
            "https://pytorch.org/get-started/locally/ gives for your system to train on the GPU"
        )
    return line


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
