"""The page of `faceemo serve` in headless Chromium, with a video for a camera."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parents[1]


def missing_browser() -> str | None:
    """Why the page cannot be opened here, or None."""
    programs = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(programs)} on this machine" if programs else None


@contextlib.contextmanager
def served(model: Path, *options: str) -> Iterator[str]:
    """The address of a server in a process of its own."""
    command = [sys.executable, "-m", "faceemo.cli", "serve", "--model", str(model), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=model.parent, env=environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as server:
        line = server.stdout.readline()
        try:
            yield line.split()[0]
        finally:
            server.kill()


@contextlib.contextmanager
def browser(video: Path | None, language: str = "en-US", size: tuple[int, int] = (1280, 900)) -> Iterator:
    """A driver whose camera shows an MJPEG file over and over; without a video there is no camera."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-background-networking",
        f"window-size={size[0]},{size[1]}",
        f"lang={language}",
    ):
        options.add_argument(f"--{argument}")
    if video is not None:
        options.add_argument("--use-fake-ui-for-media-stream")
        options.add_argument("--use-fake-device-for-media-stream")
        options.add_argument(f"--use-file-for-fake-video-capture={video}")
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


class Browsers:
    """Browsers that stay open for the next test, each as if it were new."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._drivers: dict[tuple[Path | None, str], webdriver.Chrome] = {}

    @contextlib.contextmanager
    def __call__(self, video: Path | None, language: str = "en-US") -> Iterator[webdriver.Chrome]:
        """As `browser`."""
        wanted = (video, language)
        if wanted not in self._drivers:
            self._drivers[wanted] = self._open.enter_context(browser(video, language))
        driver = self._drivers[wanted]
        try:
            yield driver
        finally:
            driver.execute_script("localStorage.clear(); sessionStorage.clear()")
            driver.get("about:blank")
            for log in ("browser", "performance"):
                driver.get_log(log)

    def close(self) -> None:
        self._open.close()
