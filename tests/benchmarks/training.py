"""How fast an epoch is, beside a DataLoader over a per-sample Dataset and beside the network alone, in one run.

    python -m tests.benchmarks.training [--rows 16384] [--batch-size 128]

faceemo      run_epoch: features as one tensor on the device, batches by index (no mirror), on a CPU with one thread
loader       the usual loop: torch.utils.data.DataLoader over a Dataset that returns one row, dropout and optimizer as
             PyTorch makes them, loss and accuracy summed up with item(); the best of several num_workers, pinned
             memory on a GPU
loader+ours  the same with faceemo's dropout and fused optimizer, to tell the loader's share from theirs
fixed batch  forward, backward and optimizer step on one batch again and again: what no loop can beat

Same layers and batch size, AdamW; best of three each, taken in turns. Prints samples/s and ratios.
"""

import argparse
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from faceemo.extraction.facemesh import COORDINATES
from faceemo.params import load_params
from faceemo.training.devices import batch_sizes, describe_devices, find_devices, threads_kept
from faceemo.training.recipe import RECIPES, MeshMirror
from faceemo.training.tensors import Column, TrainingTensors
from faceemo.training.train import make_optimizer, run_epoch

ROUNDS = 3
CLASSES = 2
LOADER_WORKERS = (0, 1, 2)
STEPS = 10**6  # so many that the rate hardly falls


class Faces(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return self.x[row], self.y[row]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16384)
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    device = find_devices()[0]
    print(describe_devices([device]))
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    torch.manual_seed(0)
    x, y = torch.randn(args.rows, COORDINATES), torch.randint(CLASSES, (args.rows,))
    x_device, y_device, rows = x.to(device), y.to(device), torch.arange(args.rows, device=device)
    sizes = batch_sizes(args.rows, args.batch_size, 1)
    loss_of = nn.CrossEntropyLoss()
    column = Column(x_device, MeshMirror().to(device))
    tensors = TrainingTensors([column], y_device, y_device, rows, rows[:0], y_device[:0], loss_of, mirror=False)

    def fresh():
        network = RECIPES["mlp"].build(CLASSES).to(device).train()
        optimizer, schedule = make_optimizer(network, params, STEPS)
        return network, optimizer, schedule

    def faceemo():
        network, optimizer, schedule = fresh()
        half = torch.autocast(device.type, enabled=False)

        def epoch():
            with threads_kept():
                run_epoch(network, tensors, sizes, optimizer, schedule, half, lambda size: None)

        return epoch

    def step(network, optimizer, features, target):
        logits = network(features)
        loss = loss_of(logits, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss, logits

    def loader(workers, ours=False):
        network, optimizer, _ = fresh()
        if not ours:
            layers = network.branches["features"].layers
            for place, layer in enumerate(layers):
                if isinstance(layer, nn.Dropout):
                    layers[place] = nn.Dropout(layer.p)
            optimizer = torch.optim.AdamW(network.parameters(), params.lr, weight_decay=params.train.weight_decay)
        pinned = device.type == "cuda"
        batches = DataLoader(
            Faces(x, y),
            args.batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=pinned,
            persistent_workers=workers > 0,
        )

        def epoch():
            loss_sum, hits = 0.0, 0
            for features, target in batches:
                features, target = features.to(device, non_blocking=pinned), target.to(device, non_blocking=pinned)
                loss, logits = step(network, optimizer, features, target)
                loss_sum += loss.item() * len(target)
                hits += (logits.argmax(1) == target).sum().item()

        return epoch

    def fixed():
        network, optimizer, _ = fresh()
        features, target = x_device[: args.batch_size], y_device[: args.batch_size]

        def epoch():
            with threads_kept():
                for _ in sizes:
                    step(network, optimizer, features, target)

        return epoch

    ways = {"faceemo": faceemo(), "fixed batch": fixed()}
    ways |= {f"loader, {workers} workers": loader(workers) for workers in LOADER_WORKERS}
    ways |= {f"loader+ours, {workers} workers": loader(workers, ours=True) for workers in LOADER_WORKERS}
    best = dict.fromkeys(ways, float("inf"))
    for way in ways.values():
        way()  # warm up; starts the loader's processes
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize()
            best[name] = min(best[name], time.perf_counter() - begin)
    for name, seconds in best.items():
        print(f"{name:24} {args.rows / seconds:9.0f} samples/s   {best['faceemo'] / seconds:5.2f} x faceemo")
    loaders = min(seconds for name, seconds in best.items() if name.startswith("loader,"))
    speed, share = loaders / best["faceemo"], best["fixed batch"] / best["faceemo"]
    print(f"faceemo is {speed:.2f} times the best loader and {share:.0%} of the fixed batch")


if __name__ == "__main__":
    main()
