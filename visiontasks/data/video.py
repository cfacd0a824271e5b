"""Reads the frames of a video file one after the other, and writes frames to one."""

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
    """The frames of a video file, from the first to the last; never more than one of them in memory.

    Attributes:
        fps: frames a second; 25 where the file does not say.
        count: how many frames the file claims to have, or None.

    Raises:
        DataError: the file cannot be opened as a video, or, when iterated, not even its first frame can be read.
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
            raise DataError(f"source: there is no file {str(self.path)!r}.")
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DataError(
                f"source: {self.path} cannot be read as a video: it is empty, broken, or of a kind that OpenCV does "
                "not know. Convert it, for instance by ffmpeg -i IN OUT.mp4."
            )
        return capture

    def __iter__(self) -> Iterator[np.ndarray]:
        """uint8 (H, W, 3) RGB, upright."""
        capture, read = self._open(), 0
        try:
            while True:
                there, frame = capture.read()
                if not there:
                    break
                read += 1
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            capture.release()
        if not read:
            raise DataError(f"source: {self.path} is a video without a frame that can be read.")


def find_videos(files: str | Path) -> list[Video]:
    """The videos that a file or a glob such as `clips/*.mp4` means, in order; none where its ending is no video's.

    Raises:
        DataError: there is no such file, or one of them cannot be opened as a video.
    """
    path = Path(files)
    if path.suffix.lower() not in SUFFIXES or path.is_dir():
        return []
    found = [] if path.is_file() else map(Path, glob.glob(str(files), recursive=True))
    found = sorted(p for p in found if p.is_file() and not in_results(p))
    return [Video(one) for one in found or [path]]


class VideoWriter:
    """Writes an MP4 of frames of about one size: the first one's, with even sides.

    What is lower or narrower than the first frame is filled up in white, what is beyond is cut off.

    Args:
        path: the file.
        fps: frames a second.
        room: how much higher than the first frame the video is, as a share of it: for legends that grow.
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
            self._size = height + height % 2, width + width % 2  # the codec halves its colour planes
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.VideoWriter_fourcc(*"mp4v"), self.fps, (self._size[1], self._size[0])
            )
            if not self._writer.isOpened():
                raise DataError(f"out: {self.path} cannot be written as a video.")
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
