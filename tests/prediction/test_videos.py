import sys

import cv2
import numpy as np
import pytest
from browser import browser, missing_browser
from made_archives import on_a_full_disk
from systems import needs_posix
from video import camera_frames, video_file

from faceemo.errors import FaceemoError
from faceemo.prediction import videos
from faceemo.prediction.frames import frames_per_second
from faceemo.prediction.videos import Video, video_codec

pytestmark = pytest.mark.slow

PLAY = """
const [source, done] = arguments, video = document.createElement("video");
video.muted = true;
video.onended = () => done({
    width: video.videoWidth, height: video.videoHeight, seconds: video.currentTime,
    frames: video.getVideoPlaybackQuality().totalVideoFrames,
});
video.onerror = () => done({error: video.error.message});
video.src = source;
document.body.append(video);
video.play();
"""


def written(path, frames, rate=30.0):
    video = Video(path, rate)
    for frame in frames:
        video.add(frame)
    video.close()
    return path


@pytest.mark.skipif(missing_browser() is not None, reason=str(missing_browser()))
def test_a_video_plays_in_a_browser(tmp_path):
    source = video_file(tmp_path / "source.mp4", camera_frames("anxious")[:30], rate=15)
    drawn = tmp_path / f"drawn{video_codec()[1]}"
    path = written(drawn, [frame[:, :-1] for frame in camera_frames("anxious")[:30]], frames_per_second(source))
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><body></body>", encoding="utf-8")
    with browser(None) as driver:
        driver.set_script_timeout(60)
        driver.get(page.as_uri())
        played = driver.execute_async_script(PLAY, path.as_uri())
        again = driver.execute_async_script(PLAY, source.as_uri())
    assert (played.get("width"), played.get("height")) == (638, 480), played
    assert played["seconds"] == pytest.approx(2, abs=0.15) and played["frames"] > 0
    assert "error" in again  # the MPEG-4 of the source, as faceemo once wrote it


@pytest.mark.parametrize("shape", [(479, 641, 3), (34, 50, 3), (1080, 1920, 3)])
def test_frames_of_any_size_come_back(tmp_path, shape):
    path = written(tmp_path / f"a{video_codec()[1]}", [np.full(shape, 99, np.uint8)] * 4)
    video = cv2.VideoCapture(str(path))
    height, width = (size // 2 * 2 for size in shape[:2])
    for _ in range(4):
        there, frame = video.read()
        assert there and frame.shape == (height, width, 3) and abs(frame.mean() - 99) < 4
    assert not video.read()[0] and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 2, 3), (1, 50, 3)])
def test_frames_too_small_for_an_encoder_are_enlarged(tmp_path, shape):
    path = written(tmp_path / f"a{video_codec()[1]}", [np.full(shape, 99, np.uint8)] * 4)
    there, frame = cv2.VideoCapture(str(path)).read()
    assert there and frame.shape == (16, max(16, shape[1]), 3)


def test_where_opencv_has_no_encoder_the_next_codec_is_taken_and_at_last_none(monkeypatch):
    video_codec.cache_clear()
    try:
        monkeypatch.setattr(videos, "CODECS", (("none", ".webm"), ("mp4v", ".mp4")))
        assert video_codec() == ("mp4v", ".mp4")
        video_codec.cache_clear()
        monkeypatch.setattr(videos, "CODECS", (("none", ".webm"),))
        with pytest.raises(FaceemoError, match="OpenCV cannot write videos here"):
            video_codec()
    finally:
        video_codec.cache_clear()


@needs_posix("bounds the size of files")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    path = tmp_path / f"a{video_codec()[1]}"
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
import numpy as np
from pathlib import Path
from faceemo.prediction.videos import Video
video = Video(Path({str(path)!r}), 30.0)
random = np.random.default_rng(0)
for _ in range(20):
    video.add(random.integers(0, 255, (480, 640, 3), np.uint8))
video.close()
"""
    status, out, err = on_a_full_disk(code)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1] == f"train: error: {path}: this video cannot be written; is the disk full?"
    assert not list(tmp_path.iterdir())
