"""Detectors: seconds of a training step and of predicting to final boxes, alone and beside other packages, in turn.

    python scripts/bench_detection.py heads [ROUNDS]        every head on efficientnet_lite0
    python scripts/bench_detection.py torchvision [ROUNDS [NAME …]]  ssd300_vgg16, Faster and Mask R-CNN of torchvision
    python scripts/bench_detection.py memory [STEPS]        peak memory of Mask R-CNN, 100 objects at 1024²
    python scripts/bench_detection.py roi_align [ROUNDS]    RoI align of the mask branch alone
    python scripts/bench_detection.py keras_cv [ROUNDS]     YOLOV8Detector of keras-cv (pip install -e ".[keras-cv]")
    python scripts/bench_detection.py scoring [ROUNDS]      the score of 5000 images, and pycocotools alone

torchvision runs in a process of its own, under the Python in $TORCHVISION_PYTHON (if unset Debian's, /usr/bin/python3),
with the same weights, which decide how many boxes are to be suppressed; a rival waits while the other one works.
"""

import contextlib
import os
import resource
import statistics
import sys
import tempfile
import time

import numpy as np
import rivals
from rivals import CLASSES, alternate, scenes

from visiontasks.geometry import Placement
from visiontasks.instance_masks import InstanceMasks
from visiontasks.registry.catalog import tasks_of

BATCH = 2
PYTHON = os.environ.get("TORCHVISION_PYTHON", "/usr/bin/python3")
SIZES = {"ssd300_vgg16": (300, 300), "fasterrcnn_resnet50_fpn": (320, 416), "maskrcnn_resnet50_fpn": (320, 416)}


def report(what, pairs):
    a, b = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{what:40} ours {a:.3f} s   theirs {b:.3f} s   median ratio {ratio:.3f}", flush=True)


STEPS = 2  # of each call; rivals take as many


def timers(model, images, boxes, classes, steps=STEPS):
    """(seconds of a training step, seconds of predicting a batch) of a compiled Keras model, as functions.

    Of instances a prediction ends with the run lengths of their masks, of poses with keypoints in pixels.
    """
    batch, (height, width) = {"image": images, "boxes": boxes, "classes": classes}, images.shape[1:3]
    (head,) = model.heads.values()
    if head.task == "instances":
        whole = [InstanceMasks.of(rivals.ellipses(one, height, width)) for one in boxes]
        crops = [masks.crops(one, 112) for masks, one in zip(whole, boxes, strict=True)]
        batch["instance_masks"] = np.stack(crops)
    if head.skeleton is not None:
        batch["keypoints"] = rivals.keypoints(boxes, len(head.skeleton))
    several = {key: np.concatenate([value] * steps) for key, value in batch.items()}
    size = len(images)

    def step():
        start = time.perf_counter()
        model.fit(several, batch_size=size, verbose=0, shuffle=False)
        return (time.perf_counter() - start) / steps

    def predict():
        start = time.perf_counter()
        found = model.predict(several["image"], batch_size=size, verbose=0)
        if head.task in ("instances", "pose"):
            (task,) = tasks_of(model).values()
            for row in range(len(several["image"])):
                one = {key: value[row] for key, value in found.items()}
                restored = task.restore(one, Placement((height, width), (height, width)))
                masks = restored.get("masks", ())
                [masks.rle(number) for number in range(len(masks))]
        return (time.perf_counter() - start) / steps

    return step, predict


def heads(rounds):
    import keras

    import visiontasks as vt
    from visiontasks.registry import catalog

    images, boxes, classes = scenes(4, 320, 320)
    print(f"efficientnet_lite0, 320×320, batch 4, {keras.backend.backend()}")
    for name in sorted(catalog.parts("heads")):
        part = catalog.find("heads", name)
        if part.task({}) not in ("detection", "instances"):
            continue
        backbone = vt.backbone("efficientnet_lite0", weights=None, input_shape=(320, 320, 3))
        model = vt.VisionModel(backbone, part.load()(CLASSES))
        model.compile(keras.optimizers.SGD(rivals.RATE), jit_compile=False)
        step, predict = timers(model, images, boxes, classes)
        taken = []
        for _ in range(rounds + 1):
            taken.append((step(), predict()))
        a, b = (statistics.median(times) for times in zip(*taken[1:], strict=True))
        size = f"{model.count_params() / 1e6:.1f} M parameters"
        print(f"{name:12} step {a:.3f} s   predict to final boxes {b:.3f} s   {size}", flush=True)


@contextlib.contextmanager
def beside(settings):
    """(torchvision's network in a process of its own, ours with its weights)."""
    import keras

    import visiontasks as vt
    from visiontasks.registry import catalog
    from visiontasks.weights import checkpoint, coco

    (backbone, arguments), head = rivals.DETECTORS[settings.name]
    with tempfile.TemporaryDirectory() as folder:
        rival = rivals.Rival(settings, folder, PYTHON)
        network = vt.backbone(backbone, input_shape=(*settings.size, 3), **arguments)
        detector = coco.DETECTORS[settings.name]
        model = vt.VisionModel(network, catalog.find("heads", head).load()(CLASSES, **detector.head))
        checkpoint.load_whole(model, rival.weights, detector.layer_of, grids=detector.grids)
        model.compile(keras.optimizers.SGD(rivals.RATE), jit_compile=False)
        yield rival, model
        rival.close()


def print_peaks(rival):
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # of all networks so far
    print(f"peak memory so far: ours {own / 1e9:.1f} GB, theirs {rival.peak_memory() / 1e9:.1f} GB")


def torchvision(rounds):
    for name in sys.argv[3:] or SIZES:
        size = SIZES[name]
        with beside(rivals.Settings(name, size, BATCH)) as (rival, model):
            step, predict = timers(model, *scenes(BATCH, *size))
            report(f"{name}, predict, batch {BATCH}", alternate(predict, rival.predict, rounds))
            report(f"{name}, step, batch {BATCH}", alternate(step, lambda: rival.step(STEPS), rounds))
            print_peaks(rival)


def memory(steps, objects=100, size=(1024, 1024)):
    settings = rivals.Settings("maskrcnn_resnet50_fpn", size, BATCH, objects=objects)
    with beside(settings) as (rival, model):
        step, _ = timers(model, *scenes(BATCH, *size, objects), steps)
        print(
            f"a step at {size}, batch {BATCH}, {objects} objects: ours {step():.1f} s, theirs {rival.step(steps):.1f} s"
        )
        print_peaks(rival)


def roi_align(rounds, count=64, bins=14, channels=256, size=(320, 416)):
    """Forward, and with the gradient of the features, on TensorFlow."""
    import tensorflow as tf

    from visiontasks.ops.roi_align import roi_align as align

    rng = np.random.default_rng(0)
    shapes = {level: (BATCH, *(-(-side // 2**level) for side in size), channels) for level in (2, 3, 4, 5)}
    pyramid = {level: tf.constant(rng.normal(size=shape).astype(np.float32)) for level, shape in shapes.items()}
    corners = rng.uniform(0, 200, (BATCH, count, 2))
    boxes = tf.constant(np.concatenate([corners, corners + rng.uniform(20, 120, corners.shape)], -1), tf.float32)

    @tf.function
    def forward():
        return align(pyramid, boxes, bins)

    @tf.function
    def both():
        with tf.GradientTape() as tape:
            tape.watch(list(pyramid.values()))
            total = tf.reduce_sum(align(pyramid, boxes, bins))
        return tape.gradient(total, list(pyramid.values()))

    for what, run in (("forward", forward), ("forward and gradient", both)):
        taken = []
        for _ in range(rounds + 1):  # the first traces
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        print(f"RoI align, {BATCH} × {count} boxes, {bins}², {what}: {statistics.median(taken[1:]):.3f} s", flush=True)


def keras_cv(rounds):
    import keras
    import keras_cv as other

    import visiontasks as vt

    size, batch = (320, 320), 4
    images, boxes, classes = scenes(batch, *size)
    ours = vt.VisionModel(vt.backbone("csp_darknet_s", input_shape=(*size, 3)), vt.heads.YOLO(CLASSES, variant="s"))
    ours.compile(keras.optimizers.SGD(rivals.RATE), jit_compile=False)
    # what its preset yolo_v8_s_backbone says, which would be downloaded
    backbone = other.models.YOLOV8Backbone(
        stackwise_channels=[64, 128, 256, 512], stackwise_depth=[1, 2, 2, 1], include_rescaling=True
    )
    theirs = other.models.YOLOV8Detector(
        num_classes=CLASSES, bounding_box_format="xyxy", backbone=backbone, fpn_depth=1
    )
    theirs.compile(
        optimizer=keras.optimizers.SGD(rivals.RATE),
        classification_loss="binary_crossentropy",
        box_loss="ciou",
        jit_compile=False,
    )
    print(f"parameters: ours {ours.count_params():,}, theirs {theirs.count_params():,}")
    step, predict = timers(ours, images, boxes, classes)
    floats = np.concatenate([images] * 2).astype("float32")
    labels = {"boxes": np.concatenate([boxes] * 2), "classes": np.concatenate([classes] * 2).astype("float32")}

    def their_step():
        start = time.perf_counter()
        theirs.fit(floats, labels, batch_size=batch, verbose=0, shuffle=False)
        return (time.perf_counter() - start) / 2

    def their_predict():
        start = time.perf_counter()
        theirs.predict(floats, batch_size=batch, verbose=0)
        return (time.perf_counter() - start) / 2

    report(f"YOLOv8-s, 320×320, predict, batch {batch}", alternate(predict, their_predict, rounds))
    report(f"YOLOv8-s, 320×320, step, batch {batch}", alternate(step, their_step, rounds))


def scoring(rounds, images=5000, classes=80, detections=100):
    """From boxes to the figures: ours, with a class's and VOC's and F1, and pycocotools from its own lists of dicts."""
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from visiontasks.evaluation.metrics.detection import Detection
    from visiontasks.sample import Sample

    rng, image = np.random.default_rng(0), np.zeros((400, 400, 3), np.uint8)
    samples, answers, truth, results = [], [], [], []
    for number in range(1, images + 1):
        corners = rng.uniform(0, 250, (7, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(4, 150, (7, 2))], axis=1).astype(np.float32)
        labels = rng.integers(0, classes, 7).astype(np.int32)
        places = rng.integers(0, 7, detections)
        found = np.sort((boxes[places] + rng.normal(0, 6, (detections, 4))).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        guesses = np.where(rng.random(detections) < 0.6, labels[places], rng.integers(0, classes, detections))
        scores = rng.random(detections).astype(np.float32)
        samples.append(Sample(image, boxes=boxes, classes=labels, id=str(number)))
        answers.append({"boxes": found.astype(np.float32), "classes": guesses.astype(np.int32), "scores": scores})
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True):
            sides = [box[2] - box[0], box[3] - box[1]]
            truth.append({"id": len(truth) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0})
            truth[-1] |= {"bbox": [*box[:2], *sides], "area": sides[0] * sides[1]}
        for box, label, score in zip(answers[-1]["boxes"].tolist(), guesses.tolist(), scores.tolist(), strict=True):
            results.append({"image_id": number, "category_id": label + 1, "score": score})
            results[-1]["bbox"] = [*box[:2], box[2] - box[0], box[3] - box[1]]
    figures = {}

    def ours():
        start = time.process_time()
        metric = Detection([str(label) for label in range(classes)])
        for sample, answer in zip(samples, answers, strict=True):
            metric.update(sample, answer)
        figures["ours"] = metric.result()["ap"]
        return time.process_time() - start

    def theirs():
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            known = COCO()
            known.dataset = {
                "images": [{"id": number} for number in range(1, images + 1)],
                "annotations": truth,
                "categories": [{"id": label + 1, "name": str(label)} for label in range(classes)],
            }
            known.createIndex()
            evaluation = COCOeval(known, known.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        figures["theirs"] = evaluation.stats[0]
        return time.process_time() - start

    report(f"scoring {images} images, processor time", alternate(ours, theirs, rounds))
    print(f"AP ours {figures['ours']:.12f}   theirs {figures['theirs']:.12f}")


def main():
    parts = {part.__name__: part for part in (heads, torchvision, memory, roi_align, keras_cv, scoring)}
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        raise SystemExit(__doc__)
    from visiontasks.training import devices

    devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads
    parts[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 5)


if __name__ == "__main__":
    main()
