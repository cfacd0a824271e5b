"""Reads the frames of a video file one by one, and writes frames to a file."""

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from visiontasks import writing
from visiontasks.data.listing import files_at
from visiontasks.errors import DataError
from visiontasks.signals import Stopped

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
    paths = [] if path.is_file() else files_at(str(files))
    return [Video(one) for one in paths or [path]]


class VideoWriter:
    """Writes an MP4 with the size of the first frame, rounded up to even numbers.

    Smaller frames are padded with white, larger ones are cropped. The codec is H.264, which browsers play, if PyAV is
    installed, and otherwise MPEG-4 part 2, because OpenCV's wheels have no encoder for H.264.

    The file is there as soon as it is closed, whole; also with the frames so far, if an error or a stop at the end of a
    step ends the block.

    Args:
        path: the file.
        fps: frames per second.
        room: additional height, as a share of the first frame's, for legends that grow.
    """

    def __init__(self, path: str | Path, fps: float, room: float = 0.0):
        self.path, self.fps, self.room, self._encoder = Path(path), fps, room, None
        self._temporary = writing.temporary_of(self.path)

    def write(self, frame: np.ndarray):
        """Append uint8 (H, W, 3) RGB.

        Raises:
            UserError: the file cannot be written.
        """
        if self._encoder is None:
            height, width = frame.shape[:2]
            height = round(height * (1 + self.room))
            self._size = height + height % 2, width + width % 2  # the codecs halve their color planes
            self._encoder = (_H264 if _has_pyav() else _Mpeg4)(self._temporary, self.path, self.fps, self._size)
        height, width = self._size
        frame = frame[:height, :width]
        bottom, right = height - frame.shape[0], width - frame.shape[1]
        with writing.naming(self.path, "out"):
            self._encoder.write(cv2.copyMakeBorder(frame, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=_PAPER))

    def close(self):
        """Finish the file.

        Raises:
            UserError: the file cannot be written.
        """
        if self._encoder is not None:
            try:
                with writing.naming(self.path, "out"):
                    self._encoder.close()
                    writing.finish(self._temporary, self.path)
            except BaseException:
                writing.discard(self._temporary)
                raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None or issubclass(kind, (Exception, Stopped)):
            self.close()
        else:  # a second signal comes at any moment, also within `write`
            writing.discard(self._temporary)


def _has_pyav() -> bool:
    """Whether PyAV is installed, with an encoder for H.264."""
    try:
        from av import Codec
        from av.error import FFmpegError
    except ImportError:
        return False
    try:
        Codec("libx264", "w")
    except FFmpegError:
        return False
    return True


class _H264:
    """PyAV's encoder."""

    def __init__(self, temporary, path, fps, size):
        import av

        # faststart: the index comes first, so that a browser plays what it has loaded
        self._file = av.open(str(temporary), "w", format="mp4", options={"movflags": "faststart"})
        rate = Fraction(fps).limit_denominator(1001)  # 30000/1001 is television's
        self._stream = self._file.add_stream("libx264", rate=rate, options={"crf": "20"})
        (self._stream.height, self._stream.width), self._stream.pix_fmt = size, "yuv420p"  # what browsers decode
        try:
            self._file.start_encoding()  # opens the file
        except OSError as error:
            raise DataError(f"{path} cannot be written as a video: {error}.", "out") from error

    def write(self, frame):
        from av import VideoFrame

        self._file.mux(self._stream.encode(VideoFrame.from_ndarray(frame, format="rgb24")))

    def close(self):
        self._file.mux(self._stream.encode())
        self._file.close()


class _Mpeg4:
    """OpenCV's encoder."""

    def __init__(self, temporary, path, fps, size):
        self._path = str(temporary)
        self._writer = cv2.VideoWriter(self._path, cv2.VideoWriter_fourcc(*"mp4v"), fps, size[::-1])
        if not self._writer.isOpened():
            raise DataError(f"{path} cannot be written as a video.", "out")

    def write(self, frame):
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self):
        self._writer.release()
        written = cv2.VideoCapture(self._path)  # OpenCV says nothing of a full disk
        if not written.isOpened():
            raise OSError(errno.EIO, "OpenCV could not finish it; the disk may be full")
        written.release()
