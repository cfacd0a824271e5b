"""Videos that are written: what browsers play, if PyAV is there, and in any case what OpenCV reads."""

import sys

import cv2
import numpy as np
import pytest

from visiontasks.data.video import Video, VideoWriter
from visiontasks.errors import DataError, UserError


@pytest.fixture(params=["PyAV", "OpenCV"])
def encoder(request, monkeypatch):
    if request.param == "OpenCV":
        monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    else:
        pytest.importorskip("av")
    return request.param


def codec(path):
    capture = cv2.VideoCapture(str(path))
    value = int(capture.get(cv2.CAP_PROP_FOURCC))
    capture.release()
    return value.to_bytes(4, "little").decode()


def frame(number, size=(120, 176)):
    image = np.full((*size, 3), 60, np.uint8)
    image[40:88, 8 * number : 8 * number + 48] = (200, 40, 40)
    return image


@pytest.mark.parametrize("fps", [10.0, 25.0, 30000 / 1001])
def test_frames_come_back(encoder, tmp_path, fps):
    path = tmp_path / "a clip é.mp4"
    with VideoWriter(path, fps) as writer:
        for number in range(12):
            writer.write(frame(number))
    assert codec(path) == ("h264" if encoder == "PyAV" else "FMP4")
    video = Video(path)
    assert video.fps == pytest.approx(fps, rel=1e-3) and video.count == 12
    frames = list(video)
    assert len(frames) == 12
    for number, seen in enumerate(frames):
        assert np.abs(seen.astype(int) - frame(number)).mean() < 6


def test_odd_and_changing_sizes_are_padded_or_cropped(encoder, tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, 10.0, room=0.1) as writer:
        for size in ((121, 175), (100, 160), (200, 300)):
            writer.write(np.full((*size, 3), 60, np.uint8))
    first, second, third = Video(path)
    assert first.shape == second.shape == third.shape == (134, 176, 3)  # 10% more, and even
    assert first[:110, :170].mean() == pytest.approx(60, abs=6) and first[126:].mean() > 240
    assert second[105:].mean() > 240 and third.mean() == pytest.approx(60, abs=6)


def test_a_video_that_cannot_be_written_is_an_error_that_names_it(encoder, tmp_path):
    with pytest.raises(DataError, match="none.*cannot be written as a video"):
        VideoWriter(tmp_path / "none" / "clip.mp4", 10.0).write(frame(0))


def test_item_91_a_full_disk_is_an_error_and_leaves_no_file(encoder, tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    (tmp_path / "clip.mp4").write_bytes(b"before")
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
        with (
            pytest.raises(UserError, match="^out: cannot write .*clip.mp4: "),
            VideoWriter(tmp_path / "clip.mp4", 10.0) as w,
        ):
            for number in range(12):
                w.write(frame(number))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]
