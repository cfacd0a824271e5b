"""Reads the frames of a video file one by one, and writes frames to a file."""

import glob
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from visiontasks.data.layout import in_results
from visiontasks.errors import DataError

SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}
_PAPER = (255, 255, 255)


class Video:
    """The frames of a video file, from the first to the last, with one frame in memory at a time.

    Attributes:
        fps: frames per second; 25 if the file does not say.
        count: the number of frames that the file declares, or None.

    Raises:
        DataError: the file cannot be opened as a video, or, when iterated, its first frame cannot be read.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        capture = self._open()
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
        self.fps = fps if 0 < fps < 1000 else 25.0
        self.count = int(count) if 0 < count < 2**31 else None

    def _open(self):
        if not self.path.is_file():
            raise DataError(f"the file {str(self.path)!r} does not exist.", "source")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DataError(
                f"{self.path} cannot be read as a video: it is empty, broken, or of a format that OpenCV does "
                "not support. Convert it, for instance with ffmpeg -i IN OUT.mp4.",
                "source",
            )
        return capture

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 (H, W, 3) RGB, upright."""
        capture, read = self._open(), 0
        try:
            while True:
                ok, frame = capture.read()
                if not ok:
                    break
                read += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if not read:
            raise DataError(f"no frame of the video {self.path} can be read.", "source")


def find_videos(files: str | Path) -> list[Video]:
    """The videos that match a file name or a glob such as `clips/*.mp4`, in order; none if its suffix is not a video's.

    Raises:
        DataError: the file does not exist, or a file cannot be opened as a video.
    """
    path = Path(files)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        return []
    paths = [] if path.is_file() else map(Path, glob.glob(str(files), recursive=True))
    paths = sorted(p for p in paths if p.is_file() and not in_results(p))
    return [Video(one) for one in paths or [path]]


class VideoWriter:
    """Writes an MP4 with the size of the first frame, rounded up to even numbers.

    Smaller frames are padded with white, larger ones are cropped.

    Args:
        path: the file.
        fps: frames per second.
        room: additional height, as a share of the first frame's, for legends that grow.
    """

    def __init__(self, path: str | Path, fps: float, room: float = 0.0):
        self.path, self.fps, self.room, self._writer = Path(path), fps, room, None

    def write(self, frame: np.ndarray):
        """Append uint8 (H, W, 3) RGB.

        Raises:
            DataError: the file cannot be written.
        """
        if self._writer is None:
            height, width = frame.shape[:2]
            height = round(height * (1 + self.room))
            self._size = height + height % 2, width + width % 2  # the codec halves its color planes
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.VideoWriter_fourcc(*"mp4v"), self.fps, (self._size[1], self._size[0])
            )
            if not self._writer.isOpened():
                raise DataError(f"{self.path} cannot be written as a video.", "out")
        height, width = self._size
        frame = frame[:height, :width]
        bottom, right = height - frame.shape[0], width - frame.shape[1]
        frame = cv2.copyMakeBorder(frame, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=_PAPER)
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self):
        """Finish the file."""
        if self._writer is not None:
            self._writer.release()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
