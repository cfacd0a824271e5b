"""Training steps beside those of other packages on the same card, in turn: torchvision's, timm's, and plain Keras's."""

import importlib.util
import os
import statistics
from pathlib import Path

import bench_backbones
import bench_overhead
import keras
import rivals

import visiontasks as vt
from gpu_measures import child, network
from visiontasks.registry import catalog
from visiontasks.weights import checkpoint, coco

ROUNDS, TINY_ROUNDS = 7, 1
ROUND_SECONDS = 1.0  # of one side in a round, about
# ((height, width), batch), and of --tiny
DETECTION, CLASSIFICATION = [((640, 640), 16), ((128, 128), 1)], [((224, 224), 128), ((32, 32), 2)]
SSD = [((300, 300), 32), ((300, 300), 1)]  # it has one size


def case(peer, tiny):
    """((height, width), batch) of a peer."""
    cases = SSD if peer.startswith("ssd") else DETECTION if peer in rivals.DETECTORS else CLASSIFICATION
    return cases[tiny]


def measure(peer: str, precision: str, tiny: bool):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(precision)
    (beside_keras if peer.startswith("keras/") else beside_torch)(peer, precision, tiny)


def beside_torch(peer, precision, tiny):
    needed = "timm" if peer.startswith("timm/") else "torchvision"
    for package in ("torch", needed):
        if importlib.util.find_spec(package) is None:
            raise child.Skipped("no PyTorch" if package == "torch" else f"no {package}")
    detects = peer in rivals.DETECTORS
    size, batch = case(peer, tiny)
    child.report(size=list(size), batch=batch)
    rival = rivals.Rival(
        rivals.Settings(peer, size, batch, precision.removeprefix("mixed_")), Path(os.environ["TMPDIR"])
    )
    try:
        model = detector(peer, size, rival.weights) if detects else classifier(size)
        images, boxes, classes = rivals.scenes(batch, *size)
        targets = {"boxes": boxes, "classes": classes} if detects else {"label": classes[:, 0]}
        ours = stepper(model, network.resident({"image": images, **targets}))
        child.report(**compared(ours, rival.step, tiny))
        peak, of = network.peak_memory()
        child.report(our_peak_bytes=peak, their_peak_bytes=rival.peak_memory(), memory_of=of)
        try:
            rival.compile("aot_eager" if tiny else "inductor")
            child.report(**{f"compiled_{key}": value for key, value in compared(ours, rival.step, tiny).items()})
        except RuntimeError as error:  # what torch.compile does not take
            child.report(compiled_why=str(error)[:200])
    finally:
        rival.close()


def detector(peer, size, weights):
    """Our network for one of torchvision's, with its weights."""
    (backbone, arguments), head = rivals.DETECTORS[peer]
    published = coco.DETECTORS[peer]
    made = catalog.find("heads", head).load()(rivals.CLASSES, **published.head)
    model = vt.VisionModel(vt.backbone(backbone, input_shape=(*size, 3), **arguments), made)
    checkpoint.load_whole(model, weights, published.layer_of, grids=published.grids)
    model.compile(keras.optimizers.SGD(rivals.RATE))
    return model


def classifier(size, classes=rivals.CLASSES):
    model = vt.VisionModel(vt.backbone("resnet50", input_shape=(*size, 3)), vt.heads.Classifier(classes))
    model.compile(keras.optimizers.SGD(rivals.RATE))
    return model


def beside_keras(peer, precision, tiny):
    size, batch = case(peer, tiny)
    child.report(size=list(size), batch=batch)
    images, _, classes = rivals.scenes(batch, *size)
    labels = classes[:, 0] % 3
    if peer == "keras/ResNet50":
        model = vt.VisionModel(vt.backbone("resnet50", input_shape=(*size, 3)), vt.heads.Classifier(3))
        plain = bench_backbones.theirs("resnet50", size, classes=3, jit_compile="auto")
    else:
        model, plain = bench_overhead.networks("classifier", size=size)
        plain.compile("adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.compile("adam")
    ours = stepper(model, network.resident({"image": images, "label": labels}))
    theirs = stepper(plain, network.resident((images, labels)))
    child.report(**compared(ours, theirs, tiny))


def stepper(model, data):
    """A function from a number of steps to the seconds of each."""
    return lambda steps=1: network.seconds_of_steps(model, data, steps)[0] / steps


def compared(ours, theirs, tiny) -> dict:
    """Medians of both sides' seconds and of the rounds' ratios."""
    steps = 1
    for _ in range(0 if tiny else 3):  # of few steps, what `fit` takes itself is a large part
        steps = max(1, min(500, round(ROUND_SECONDS / max(ours(steps), theirs(steps)))))
    pairs = rivals.alternate(lambda: ours(steps), lambda: theirs(steps), TINY_ROUNDS if tiny else ROUNDS)
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(x / y for x, y in pairs)
    return {"our_seconds": a, "their_seconds": b, "ratio": ratio, "steps_a_round": steps, "rounds": len(pairs)}
