"""Input speed: JPEG files to augmented 256×256 batches, this package's Loader beside tf.data doing the same work.

    python scripts/bench_input.py [FOLDER OF JPEGS] [--rounds 5] [--threads 2]

Both decode, resize to 256×256, flip left-right half of the time and change brightness and contrast, in as many threads.
They take turns, several rounds in one run, so that both meet the same machine. Without a folder it draws pictures.
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
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.source import Source
from visiontasks.sample import Sample

SIZE, BATCH = (256, 256), 32
AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 1.0}},
]


class Files(Source):
    """Pictures without labels."""

    def __init__(self, paths):
        super().__init__()
        self.paths, self.fields, self.names = paths, frozenset(), {}

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        return Sample(read_image(self.paths[index]), id=self.paths[index])

    def describe(self, index):
        return self.paths[index]


def draw_pictures(folder: Path, count: int):
    """Pictures about 500×375 with the spectrum of natural ones: amplitude falls as 1/frequency."""
    rng = np.random.default_rng(0)
    for number in range(count):
        height, width = rng.integers(330, 420), rng.integers(450, 550)
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
    """Epoch after epoch; nothing is left that was made ahead of time."""
    try:
        while True:
            yield from loader
    finally:
        loader.close()


def measure(batches, count: int) -> tuple[float, float]:
    """(pictures a second, pictures a second of processor time) of some batches, the start of the workers included."""
    time.sleep(0.2)  # what the other one still had in hand is done
    begin, processor = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    pictures = count * BATCH
    return pictures / (time.perf_counter() - begin), pictures / (time.process_time() - processor)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=64, help="a round")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder
        if folder is None:
            folder = Path(temporary)
            draw_pictures(folder, 256)
        paths = sorted(str(path) for path in folder.rglob("*.jpg"))
        ours = Loader(
            Files(paths), fields=(), size=SIZE, batch=BATCH, training=True, augment=AUGMENT, workers=given.threads
        )
        theirs = tf_data(paths, given.threads)
        contestants = {"visiontasks": lambda: epochs(ours), "tf.data": lambda: iter(theirs)}
        figures = {name: [] for name in contestants}
        for number in range(given.rounds + 1):
            for name, start in contestants.items():
                batches = start()
                figure = measure(batches, given.batches)
                del batches  # stops its workers
                if number:  # the first round warms up
                    figures[name].append(figure)
    print(f"{len(paths)} pictures, {given.threads} threads, median of {given.rounds} rounds (lowest to highest)")
    print(f"{'':12} {'pictures/s':>24} {'pictures/s per core':>24}")
    medians = {}
    for name, rounds in figures.items():
        columns = list(zip(*rounds, strict=True))
        medians[name] = [statistics.median(column) for column in columns]
        cells = [
            f"{median:.0f} ({min(column):.0f} to {max(column):.0f})"
            for median, column in zip(medians[name], columns, strict=True)
        ]
        print(f"{name:12} {cells[0]:>24} {cells[1]:>24}")
    ratios = [a / b for a, b in zip(medians["visiontasks"], medians["tf.data"], strict=True)]
    print(f"{'ratio':12} {ratios[0]:>24.2f} {ratios[1]:>24.2f}")


if __name__ == "__main__":
    main()
