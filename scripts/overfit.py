"""Can a head overfit a few images? The first question to ask of a new one, on real data.

    python scripts/overfit.py DATA HEAD [HEAD …] [images=8] [size=256] [steps=400] [backbone=efficientnet_lite0] \
        [rate=1e-3] [head.ARGUMENT=VALUE …]

Trains each head on the first images of DATA that have objects, without augmentation, and prints COCO's scores on them
every 50 steps, of keypoints or masks where the head predicts them, until AP50 reaches 0.95 or the steps are spent; then
the objects that it does not find. A head that looks at one object alone gets as many objects.
"""

import sys
import time

from visiontasks.training import devices

devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads

import keras  # noqa: E402
import numpy as np  # noqa: E402
import yaml  # noqa: E402

import visiontasks as vt  # noqa: E402
from visiontasks import api  # noqa: E402
from visiontasks.ops import numpy_boxes  # noqa: E402
from visiontasks.registry import catalog  # noqa: E402
from visiontasks.registry.catalog import tasks_of  # noqa: E402

GOAL, EVERY = 0.95, 50


def read_images(folder, count, size, fields=("classes", "boxes"), resize="letterbox"):
    """(batch of arrays, the samples, their placements, names by field) of the first images with objects."""
    _, loader = vt.load_data(folder, fields=fields, size=(size, size), batch=1, resize=resize)
    arrays, samples, placements = [], [], []
    for batch, found in loader.with_samples():
        if found and (batch["classes"][0] >= 0).any():
            arrays.append(batch)
            samples.append(found[0])
            placements.append(loader.placement(found[0]))
        if len(samples) == count:
            break
    batch = {key: np.concatenate([one[key] for one in arrays]) for key in arrays[0]}
    return batch, samples, placements, loader.names


def missed(batch, answers, names):
    """A line for each object that no box of its class overlaps by half: its size in pixels as the network sees it."""
    for row, classes in enumerate(batch["classes"]):
        found = answers["valid"][row]
        overlaps = numpy_boxes.iou(batch["boxes"][row], answers["boxes"][row][found])
        overlaps = np.where(classes[:, None] == answers["classes"][row][found], overlaps, 0.0)
        for place in np.flatnonzero((classes >= 0) & (overlaps.max(axis=1, initial=0.0) < 0.5)):
            box = batch["boxes"][row][place]
            width, height = box[2:] - box[:2]
            yield f"image {row}: {names[classes[place]]}, {width:.0f}×{height:.0f} pixels"


def learn(name, arguments, backbone, batch, samples, placements, names, steps, rate):
    """Train one head; its last scores."""
    keras.utils.set_random_seed(0)
    shape = batch["image"].shape[1:]
    weights = "imagenet" if backbone.startswith("efficientnet_lite") else None
    network = api.backbone(backbone, input_shape=shape, weights=weights)
    part = catalog.find("heads", name)
    known = {"skeleton": names["keypoints"]} if "keypoints" in part.fields({}) else {}
    model = vt.VisionModel(network, part.load()(names["classes"], **known, **arguments))
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.05)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=10.0))
    (task,) = tasks_of(model).values()
    started, figures = time.monotonic(), {}
    for done in range(EVERY, steps + 1, EVERY):
        loss = model.fit(batch, batch_size=len(samples), epochs=EVERY, shuffle=False, verbose=0).history["loss"][-1]
        answers, metric = model.predict(batch["image"], verbose=0), task.metric()
        for row, (sample, placement) in enumerate(zip(samples, placements, strict=True)):
            metric.update(sample, task.restore({key: value[row] for key, value in answers.items()}, placement))
        figures = metric.result()
        of = next((kind for kind in ("keypoint_", "mask_") if f"{kind}ap50" in figures), "")
        ap50, ap = figures[f"{of}ap50"], figures[f"{of}ap"]
        minutes = (time.monotonic() - started) / 60
        print(f"{name:12} {done:5} steps  loss {loss:.4f}  {of}AP50 {ap50:.4f}  {of}AP {ap:.4f}  ", end="")
        print(*(f"{key} {figures[key]:.4f} " for key in ("pck", "pck_box") if key in figures), end="")
        print(f"{minutes:.1f} minutes", flush=True)
        if ap50 >= GOAL:
            break
    for line in missed(batch, answers, names["classes"]) if "boxes" in answers else ():
        print(f"{name:12} not found: {line}", flush=True)
    return figures


def main():
    words = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    plain = [word for word in sys.argv[1:] if "=" not in word]
    if len(plain) < 2:
        raise SystemExit(__doc__)
    folder, *heads = plain
    arguments = {k.removeprefix("head."): yaml.safe_load(v) for k, v in words.items() if k.startswith("head.")}
    backbone, steps, rate = (
        words.get("backbone", "efficientnet_lite0"),
        words.get("steps", 400),
        words.get("rate", 1e-3),
    )
    for name in heads:
        part, count, size = catalog.find("heads", name), int(words.get("images", 8)), int(words.get("size", 256))
        found = read_images(folder, count, size, part.fields({}), "object" if part.alone else "letterbox")
        batch, samples, _, names = found
        counts = f"{int((batch['classes'] >= 0).sum())} objects, {len(names['classes'])} classes"
        print(f"{len(samples)} images, {counts}", flush=True)
        learn(name, arguments, backbone, *found, int(steps), float(rate))


if __name__ == "__main__":
    main()
