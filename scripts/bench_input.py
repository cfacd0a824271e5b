"""Input speed: JPEG files to augmented 256×256 batches, this package's Loader beside tf.data doing the same work.

    python scripts/bench_input.py [FOLDER OF JPEGS] [--rounds 5] [--workers 2] [--worker-kind threads]

Both decode, resize to 256×256, flip left-right half of the time and change brightness and contrast, with as many
workers; tf.data's are always threads. They take turns, several rounds in one run, so that both meet the same machine.
Without a folder it draws images. The processor time of worker processes is not seen, so it is not divided by.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

from visiontasks.data.images import read_image
from visiontasks.data.pipeline import WORKER_KINDS, Loader
from visiontasks.data.sources.source import Source
from visiontasks.sample import Sample

SIZE, BATCH = (256, 256), 32
AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 1.0}},
]


class Files(Source):
    """Images without labels."""

    def __init__(self, paths):
        super().__init__()
        self.paths, self.fields, self.names = paths, frozenset(), {}

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return Sample(read_image(self.paths[index]), id=self.paths[index])

    def describe(self, index):
        return self.paths[index]


def draw_images(folder: Path, count: int, size: tuple[int, int] | None = None):
    """Images, about 500×375 or of `size`, with the spectrum of natural ones: amplitude falls as 1/frequency."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = size or (rng.integers(330, 420), rng.integers(450, 550))
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
        frequency[0, 0] = 1
        channels = []
        for _ in range(3):
            phase = np.exp(2j * np.pi * rng.random(frequency.shape))
            channel = np.fft.irfft2(phase / frequency, (height, width))
            channels.append(128 + 50 * channel / channel.std())
        image = np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:04}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 90])


def tf_data(paths: list[str], threads: int):
    """The same work in tf.data."""
    import tensorflow as tf

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        image = tf.image.resize(image, SIZE)
        image = tf.image.random_flip_left_right(image)
        image = tf.image.random_brightness(image, 0.2 * 255)
        image = tf.image.random_contrast(image, 0.8, 1.2)
        return tf.cast(tf.clip_by_value(image, 0, 255), tf.uint8)

    data = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths)).repeat()
    data = data.map(load, num_parallel_calls=threads).batch(BATCH, drop_remainder=True).prefetch(2)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    return data.with_options(options)


def epochs(loader: Loader):
    """Epoch after epoch."""
    while True:
        yield from loader


def measure(batches, count: int) -> tuple[float, float]:
    """(images a second, images a second of processor time) of some batches, the workers in full swing."""
    for _ in itertools.islice(batches, count // 4):  # more than was made ahead while the other one had its turn
        pass
    begin, processor = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    images = count * BATCH
    return images / (time.perf_counter() - begin), images / (time.process_time() - processor)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=64, help="a round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-kind", choices=WORKER_KINDS, default="threads")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder
        if folder is None:
            folder = Path(temporary)
            draw_images(folder, 256)
        paths = sorted(str(path) for path in folder.rglob("*.jpg"))
        ours = Loader(
            Files(paths),
            fields=(),
            size=SIZE,
            batch=BATCH,
            training=True,
            augment=AUGMENT,
            workers=given.workers,
            worker_kind=given.worker_kind,
        )
        contestants = {"visiontasks": epochs(ours), "tf.data": iter(tf_data(paths, given.workers))}
        figures = {name: [] for name in contestants}
        for number in range(given.rounds + 1):
            for name, batches in contestants.items():
                figure = measure(batches, given.batches)
                time.sleep(0.5)  # what it makes ahead is done before the other one begins
                if number:  # the first round warms up
                    figures[name].append(figure)
        ours.close()
    columns = ["images/s", "images/s per core"][: 2 if given.worker_kind == "threads" else 1]
    kind = f"{given.workers} {given.worker_kind}"
    print(f"{len(paths)} images, {kind}, median of {given.rounds} rounds (lowest to highest)")
    print(f"{'':12} " + " ".join(f"{column:>24}" for column in columns))
    medians = {}
    for name, rounds in figures.items():
        values = list(zip(*rounds, strict=True))[: len(columns)]
        medians[name] = [statistics.median(value) for value in values]
        cells = [
            f"{median:.0f} ({min(value):.0f} to {max(value):.0f})"
            for median, value in zip(medians[name], values, strict=True)
        ]
        print(f"{name:12} " + " ".join(f"{cell:>24}" for cell in cells))
    ratios = [a / b for a, b in zip(medians["visiontasks"], medians["tf.data"], strict=True)]
    print(f"{'ratio':12} " + " ".join(f"{ratio:>24.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
