"""Frames a second from the camera to the page: `faceemo serve` and a headless Chromium on the same machine.

    python -m tests.benchmarks.serving [--model models/emotion.pt] [--seconds N] [--rounds N]

The camera is a video of 640x480 at 30 frames/s of a made-up person. Prints the frames whose answers reached the page a
second, the time from a frame's capture to its answer, and the cores that server and browser kept busy.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))  # beside the tests, as they find each other

from browser import browser, missing_browser, served
from video import camera_frames, write_mjpeg

WARM_UP_SECONDS = 5
READ = "const { frames, latency } = document.documentElement.dataset; return [Number(frames), Number(latency)]"


def busy_seconds() -> float:
    """Processor time of all that this process started."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def measure(url: str, video: Path, seconds: float) -> None:
    with browser(video) as driver:
        driver.get(url)
        time.sleep(WARM_UP_SECONDS)
        before, _ = driver.execute_script(READ)
        begin, busy = time.perf_counter(), busy_seconds()
        latencies = []
        while time.perf_counter() - begin < seconds:
            time.sleep(0.25)
            latencies.append(driver.execute_script(READ)[1])
        frames, _ = driver.execute_script(READ)
        wall = time.perf_counter() - begin
        busy = busy_seconds() - busy
    print(
        f"{(frames - before) / wall:.1f} frames/s, {statistics.median(latencies):.0f} ms from capture to answer, "
        f"{busy / wall:.1f} of {psutil.cpu_count()} cores",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/emotion.pt"))
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if why := missing_browser():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder, served(args.model.resolve()) as url:
        video = write_mjpeg(Path(folder) / "camera.mjpeg", camera_frames("neutral"))
        for _ in range(args.rounds):
            measure(url, video, args.seconds)


if __name__ == "__main__":
    main()
