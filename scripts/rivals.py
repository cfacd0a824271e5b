"""Networks of torchvision and timm in a process of their own, which train and predict when they are asked to.

bench_detection.py and gpu.py measure this package beside them. Each side waits while the other one works. The process
writes its weights first, so that both can have the same: they decide how many boxes are to be suppressed.
"""

import contextlib
import dataclasses
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CLASSES = 20
# the learning rate: weights stay (batch norms' averages do not), for they decide how many boxes a detector works on
RATE = 0.0
# {torchvision's name: (our backbone and its arguments, our head)}
DETECTORS = {
    "ssd300_vgg16": (("vgg16", {"ceil_pooling": True}), "ssd"),
    "fasterrcnn_resnet50_fpn": (("resnet50", {"norm": "frozen_batch"}), "rcnn"),
    "retinanet_resnet50_fpn": (("resnet50", {"norm": "frozen_batch"}), "retinanet"),
    "maskrcnn_resnet50_fpn": (("resnet50", {"norm": "frozen_batch"}), "mask_rcnn"),
    "keypointrcnn_resnet50_fpn": (("resnet50", {"norm": "frozen_batch"}), "keypoint_rcnn"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network works.

    Args:
        name: torchvision's name of it, "timm/NAME" for timm's.
        size: (height, width).
        batch: images a step.
        dtype: "float32", or "bfloat16" or "float16" for autocast.
        objects: per image.
    """

    name: str
    size: tuple[int, int]
    batch: int
    dtype: str = "float32"
    objects: int = 8

    @property
    def detects(self) -> bool:
        return self.name in DETECTORS


def scenes(batch, height, width, count=8):
    """Images and their objects: (uint8 (B, H, W, 3), float32 (B, count, 4), int32 (B, count))."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    lengths = rng.uniform(0.1, 0.5, (batch, count, 2))
    corners = rng.random((batch, count, 2)) * (1 - lengths)
    boxes = np.concatenate([corners, corners + lengths], axis=2) * [width, height, width, height]
    return images, boxes.astype("float32"), rng.integers(0, CLASSES, (batch, count)).astype("int32")


def ellipses(boxes, height, width):
    """uint8 (N, H, W): the mask of an object in each box (N, 4)."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    x1, y1, x2, y2 = (boxes[:, i, None, None] for i in range(4))
    return (((2 * columns - x1 - x2) / (x2 - x1)) ** 2 + ((2 * rows - y1 - y2) / (y2 - y1)) ** 2 < 1).astype(np.uint8)


def keypoints(boxes, count=17):
    """float32 (…, N, count, 3): visible keypoints anywhere in each box (…, N, 4)."""
    places = np.random.default_rng(0).random((*boxes.shape[:-1], count, 2), np.float32)
    points = boxes[..., None, :2] + places * (boxes[..., None, 2:] - boxes[..., None, :2])
    return np.concatenate([points, np.full((*points.shape[:-1], 1), 2, np.float32)], axis=-1).astype(np.float32)


def alternate(ours, theirs, rounds):
    """[(our seconds, their seconds)]; each begins every other round, and the first call of each is not counted."""
    ours(), theirs()
    pairs = []
    for number in range(rounds):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        taken = {function: function() for function in order}
        pairs.append((taken[ours], taken[theirs]))
    return pairs


class Rival:
    """A network in its process.

    Args:
        settings: how it works.
        folder: it writes `NAME.pth` there.
        python: an interpreter with torchvision.

    Raises:
        RuntimeError: it cannot do what it is asked to; the text is its own.
    """

    def __init__(self, settings: Settings, folder: Path, python: str = sys.executable):
        words = [python, __file__, json.dumps(dataclasses.asdict(settings)), str(folder)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.weights = Path(folder) / f"{settings.name.replace('/', '_')}.pth"
        self._ask("ready")

    def _ask(self, what, steps=1):
        with contextlib.suppress(OSError):  # of a process that has ended; so does its output
            self.process.stdin.write(f"{what} {steps}\n")
            self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline() or '{"error": "its process ended"}')
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    def step(self, steps=1):
        """Seconds of a training step, the mean of several."""
        return self._ask("step", steps)["seconds"] / steps

    def predict(self, steps=1):
        """Seconds of predicting a batch."""
        return self._ask("predict", steps)["seconds"] / steps

    def peak_memory(self) -> int:
        """The largest number of bytes so far, of the GPU if there is one, otherwise of the process."""
        return self._ask("ready")["peak_bytes"]

    def compile(self, backend="inductor"):
        """Train through torch.compile from now on."""
        self._ask(f"compile:{backend}")

    def close(self):
        self.process.kill()
        self.process.wait()


class _Served:
    """The network and its batch on the GPU if there is one, set up as PyTorch is fastest there."""

    def __init__(self, settings):
        import torch

        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")  # TF32 on a GPU that has it, as JAX does
        self.torch, self.settings = torch, settings
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = _made(settings)
        self.weights = self.network.state_dict()
        gpu = self.device.type == "cuda"
        torch.backends.cudnn.benchmark = True  # sizes stay; XLA chooses its convolutions likewise
        self.layout = torch.channels_last if gpu else torch.contiguous_format
        self.network.to(self.device, memory_format=self.layout)
        self.optimizer = torch.optim.SGD(self.network.parameters(), RATE)
        self.scaler = torch.amp.GradScaler(self.device.type) if settings.dtype == "float16" else None
        self.images, self.targets = self._batch()
        self.loss = self._detection_loss if settings.detects else self._classification_loss

    def _batch(self):
        torch = self.torch
        images, boxes, classes = scenes(self.settings.batch, *self.settings.size, self.settings.objects)
        inputs = torch.from_numpy(images).permute(0, 3, 1, 2).to(self.device, torch.float32) / 255
        inputs = inputs.contiguous(memory_format=self.layout)
        if not self.settings.detects:
            return inputs, torch.from_numpy(classes[:, 0]).long().to(self.device)
        first = 0 if self.settings.name.startswith("retinanet") else 1  # the others have a background
        pairs = zip(boxes, classes, strict=True)
        targets = [{"boxes": torch.from_numpy(b), "labels": torch.from_numpy(c).long() + first} for b, c in pairs]
        if self.settings.name.startswith("mask"):
            for one in targets:
                one["masks"] = torch.from_numpy(ellipses(one["boxes"].numpy(), *self.settings.size))
        if self.settings.name.startswith("keypoint"):
            for one, points in zip(targets, keypoints(boxes), strict=True):
                one["keypoints"] = torch.from_numpy(points)
        return list(inputs), [{key: value.to(self.device) for key, value in one.items()} for one in targets]

    def _detection_loss(self):
        return sum(self.network(self.images, self.targets).values())

    def _classification_loss(self):
        return self.torch.nn.functional.cross_entropy(self.network(self.images), self.targets)

    def compile(self, backend):
        if self.settings.detects:  # the rest of a detector has shapes that depend on its boxes
            self.network.backbone = self.torch.compile(self.network.backbone, backend=backend)
        else:
            self.network = self.torch.compile(self.network, backend=backend)
        self.step()

    def step(self):
        self.network.train()
        self.optimizer.zero_grad()
        with self._autocast():
            loss = self.loss()
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def predict(self):
        self.network.eval()
        with self.torch.no_grad(), self._autocast():
            found = self.network(self.images)
        if self.settings.name.startswith("mask"):  # including encoding to run lengths, as ours
            for one in found:
                for mask in (one["masks"][:, 0] >= 0.5).cpu().numpy():
                    pixels = mask.T.ravel()
                    np.diff(np.flatnonzero(np.diff(pixels)), prepend=-1)

    def _autocast(self):
        dtype = getattr(self.torch, self.settings.dtype)
        half = self.settings.dtype != "float32"
        return self.torch.autocast(self.device.type, dtype=dtype if half else self.torch.bfloat16, enabled=half)

    def wait(self):
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def peak_bytes(self):
        if self.device.type == "cuda":
            return self.torch.cuda.max_memory_allocated()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _made(settings):
    """The network with random weights."""
    library, _, name = settings.name.rpartition("/")
    if library == "timm":
        import timm

        return timm.create_model(name, num_classes=CLASSES)
    import torchvision

    if not settings.detects:
        return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
    height, width = settings.size
    sizes = {} if name.startswith("ssd") else {"min_size": min(height, width), "max_size": max(height, width)}
    background = 0 if name.startswith("retinanet") else 1
    make = getattr(torchvision.models.detection, name)
    network = make(weights=None, weights_backbone=None, num_classes=CLASSES + background, **sizes)
    _freeze_norms(network)  # as it is trained
    return network


def _freeze_norms(module):
    """Exchange the batch norms for those with fixed statistics."""
    import torch
    from torchvision.ops.misc import FrozenBatchNorm2d

    for name, part in module.named_children():
        if isinstance(part, torch.nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(part.num_features, eps=part.eps))
        else:
            _freeze_norms(part)


def serve(words: str, folder: str):
    """Write the network's weights, then work as the lines of standard input say, a JSON object for each."""
    replies, sys.stdout = sys.stdout, sys.stderr  # which what a library prints must not reach
    settings = Settings(**json.loads(words))
    served = _Served(settings)
    served.torch.save(served.weights, Path(folder) / f"{settings.name.replace('/', '_')}.pth")
    for line in sys.stdin:
        what, steps = line.split()
        what, _, backend = what.partition(":")
        try:
            begun = time.perf_counter()
            if what == "compile":
                served.compile(backend)
            for _ in range(int(steps) if what in ("step", "predict") else 0):
                getattr(served, what)()
            served.wait()
            reply = {"seconds": time.perf_counter() - begun, "peak_bytes": served.peak_bytes()}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:])
