"""Pose: seconds of a training step and of decoding of each head, beside torchvision, and of assembling many people.

python scripts/bench_pose.py heads [ROUNDS]         every head of keypoints on efficientnet_lite0
python scripts/bench_pose.py torchvision [ROUNDS]   Keypoint R-CNN beside torchvision's keypointrcnn_resnet50_fpn
python scripts/bench_pose.py assembling [ROUNDS]    OpenPose's and PersonLab's people from perfect maps
"""

import statistics
import sys
import time

import bench_detection
import numpy as np
import rivals

BATCH, SIZE = 2, (320, 416)
PEOPLE = (1, 10, 50)


def heads(rounds):
    import keras

    import visiontasks as vt
    from visiontasks.registry import catalog

    size = (256, 256)
    images, boxes, classes = rivals.scenes(4, *size, 4)
    print(f"efficientnet_lite0, {size}, batch 4, {keras.backend.backend()}")
    for name in sorted(catalog.parts("heads")):
        part = catalog.find("heads", name)
        if part.task({}) != "pose":
            continue
        backbone = vt.backbone("efficientnet_lite0", weights=None, input_shape=(*size, 3))
        model = vt.VisionModel(backbone, part.load()(1))
        model.compile(keras.optimizers.SGD(rivals.RATE), jit_compile=False)
        step, predict = bench_detection.timers(model, images, boxes, 0 * classes)
        taken = [(step(), predict()) for _ in range(rounds + 1)]
        a, b = (statistics.median(times) for times in zip(*taken[1:], strict=True))
        size_of = f"{model.count_params() / 1e6:.1f} M parameters"
        print(f"{name:14} step {a:.3f} s   predict to people {b:.3f} s   {size_of}", flush=True)


def torchvision(rounds):
    name = "keypointrcnn_resnet50_fpn"
    with bench_detection.beside(rivals.Settings(name, SIZE, BATCH)) as (rival, model):
        step, predict = bench_detection.timers(model, *rivals.scenes(BATCH, *SIZE))
        pairs = rivals.alternate(predict, rival.predict, rounds)
        bench_detection.report(f"{name}, predict, batch {BATCH}", pairs)
        pairs = rivals.alternate(step, lambda: rival.step(bench_detection.STEPS), rounds)
        bench_detection.report(f"{name}, step, batch {BATCH}", pairs)
        bench_detection.print_peaks(rival)


def figures(count, size):
    """float32 (1, count, 13, 3): the keypoints of drawn figures, all of them labeled, spread over an image."""
    from visiontasks.data.bodies import Body

    rng, people = np.random.default_rng(0), []
    for _ in range(count):
        body = Body(rng, behind=False)
        joints = (body.shoulders, body.elbows, body.wrists, body.hips, body.knees, body.ankles)
        joints = np.concatenate([[body.nose], *joints])
        points = np.stack([joints.real, joints.imag], axis=1)
        points = (points - points.min(axis=0)) * rng.uniform(0.15, 0.3) * size[0]
        points += rng.uniform(0, 1, 2) * (np.array(size[::-1]) - points.max(axis=0))
        people.append(np.pad(points, ((0, 0), (0, 1)), constant_values=2))
    return np.float32(people)[None]


def assembling(rounds, size=(512, 512), stride=8):
    """Decoding beyond the network, from the maps that a perfect one gives: in the graph, and on the host."""
    import tensorflow as tf
    from keras import ops

    from visiontasks.data.figures import SKELETON
    from visiontasks.heads.openpose import OpenPose
    from visiontasks.heads.personlab import PersonLab
    from visiontasks.inference.assembling import people_of
    from visiontasks.ops import offset_fields

    cells = tuple(length // stride for length in size)
    for count in PEOPLE:
        points = figures(count, size)
        boxes = np.concatenate([points[..., :2].min(axis=2), points[..., :2].max(axis=2)], axis=-1)
        targets = {"keypoints": points, "boxes": boxes, "classes": np.zeros((1, count), np.int32)}
        limbs = OpenPose(1, skeleton=SKELETON, people=64)
        limbs.stride = stride
        maps, *_ = limbs.truth(targets, cells)
        outputs = {name: [value] for name, value in maps.items()}
        decode = tf.function(lambda outputs, limbs=limbs: limbs.decode(outputs))
        trees = PersonLab(1, skeleton=SKELETON, people=64, radius=12.0)
        trees.stride, place = stride, {"stride": stride}
        discs, owners = offset_fields.discs(points, cells, radius=12.0, **place)
        fields = {
            "heat": 20.0 * discs - 10.0,
            "short": offset_fields.short_offsets(points, owners, **place),
            "mid": offset_fields.mid_offsets(points, owners, trees.edges, **place)[0],
            "size": ops.convert_to_tensor([size], "float32"),
        }
        walk = tf.function(lambda fields, trees=trees: trees.decode(fields))
        peaks, found = decode(outputs), {}

        def host(peaks=peaks, found=found):
            found["openpose"] = len(
                people_of(peaks["peaks"][0].numpy(), peaks["limb_scores"][0].numpy(), SKELETON)["scores"]
            )

        def graph(walk=walk, fields=fields, found=found):
            found["personlab"] = int(walk(fields)["valid"].numpy().sum())

        runs = {
            "openpose, peaks and limb scores in the graph": lambda decode=decode, outputs=outputs: decode(outputs),
            "openpose, assembling on the host": host,
            "personlab, all in the graph": graph,
        }
        for what, run in runs.items():
            taken = []
            for _ in range(rounds + 1):  # the first traces
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
            print(f"{count:3} people, {size}, stride {stride}: {what}: {1e3 * statistics.median(taken[1:]):.1f} ms")
        print(f"{count:3} people, found: {found}", flush=True)


def main():
    parts = {part.__name__: part for part in (heads, torchvision, assembling)}
    if len(sys.argv) < 2 or sys.argv[1] not in parts:
        raise SystemExit(__doc__)
    from visiontasks.training import devices

    devices.suit_few_cores()  # as the train command does, before TensorFlow starts its threads
    parts[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 5)


if __name__ == "__main__":
    main()
