"""How long a client's pictures take at `faceemo serve` while others misuse it.

    python -m tests.benchmarks.storm [--model models/emotion.pt] [--seconds N]

The client POSTs a JPEG of 640x480 again and again: alone; beside two that POST PNGs of 110 megapixels, which are
refused, or of 36, which are not; beside 66 connections that send nothing, and 66 that send half a header. Prints how
many answers it got, how many of them refused it, and milliseconds to an answer.
"""

import argparse
import contextlib
import http.client
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # beside the tests, as they find each other

from browser import served
from made_archives import png
from video import camera_frames, jpeg

REFUSED, SLOW = (11_000, 10_000), (6_000, 6_000)  # pixels
CONNECTIONS = 66


def post(host: str, data: bytes) -> tuple[int, float]:
    """The status of the answer, and seconds until it came."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection(host, timeout=120)
    try:
        connection.request("POST", "/predict", data)
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.perf_counter() - begin
    finally:
        connection.close()


@contextlib.contextmanager
def heavy_clients(host: str, size: tuple[int, int]) -> Iterator[None]:
    data, over = png(*size), threading.Event()

    def work() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                post(host, data)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    yield
    over.set()


@contextlib.contextmanager
def open_connections(host: str, sent: bytes) -> Iterator[None]:
    """Connections that are opened again when they are closed."""
    name, port = host.split(":")
    over = threading.Event()
    connections: list[socket.socket] = []

    def work() -> None:
        while not over.is_set():
            if len(connections) < CONNECTIONS:
                with contextlib.suppress(OSError):
                    connections.append(socket.create_connection((name, int(port)), timeout=5))
                    connections[-1].sendall(sent)
                    connections[-1].setblocking(False)
                continue
            for connection in list(connections):
                with contextlib.suppress(BlockingIOError):
                    try:
                        is_closed = not connection.recv(1000)
                    except ConnectionError:
                        is_closed = True
                    if is_closed:
                        connection.close()
                        connections.remove(connection)
            time.sleep(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(1)
    yield
    over.set()
    thread.join()
    for connection in connections:
        connection.close()


def measure(host: str, seconds: float, name: str, others: Callable[[str], contextlib.AbstractContextManager]) -> None:
    data = jpeg(camera_frames("neutral")[0])
    answers = []
    with others(host):
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            try:
                answers.append(post(host, data))
            except (OSError, http.client.HTTPException):
                answers.append((0, 0.0))
    good = np.array([took for status, took in answers if status == 200])
    times = "" if not len(good) else f", p50 {np.median(good):.3f} s, p99 {np.quantile(good, 0.99):.3f} s"
    print(f"{name}: {len(answers)} answers, {len(answers) - len(good)} refused{times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/emotion.pt"))
    parser.add_argument("--seconds", type=float, default=20)
    args = parser.parse_args()
    with served(args.model.resolve()) as url:
        host = url.removeprefix("http://").rstrip("/")
        post(host, jpeg(camera_frames("neutral")[0]))
        measure(host, args.seconds, "alone", lambda host: contextlib.nullcontext())
        measure(host, args.seconds, "beside two of 110 megapixels", lambda host: heavy_clients(host, REFUSED))
        measure(host, args.seconds, "beside two of 36 megapixels", lambda host: heavy_clients(host, SLOW))
        half = b"POST /predict HTTP/1.1\r\nHost: "
        measure(host, args.seconds, "beside idle connections", lambda host: open_connections(host, b""))
        measure(host, args.seconds, "beside half headers", lambda host: open_connections(host, half))


if __name__ == "__main__":
    main()
