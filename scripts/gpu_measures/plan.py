"""What is measured, in the order of its worth: what would be missed most comes first."""

import dataclasses

from gpu_measures import recipes, table
from gpu_measures.running import Measurement

FLOAT32, BFLOAT16, FLOAT16 = PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
FIRST = ("unet_seg", "yolo_det", "classify", "faster_rcnn")  # one of each kind of task
SEEDS = range(table.SEEDS)  # of float32; their scores' spread is what half precision is judged by
# of peers.py, which imports Keras; the first two come before the rest
PEERS = ("resnet50", "ssd300_vgg16", "retinanet_resnet50_fpn", "fasterrcnn_resnet50_fpn")
PEERS += ("keras/the same layers", "keras/ResNet50", "timm/resnet50")


def measurements(tiny: bool = False, kinds=()) -> list[Measurement]:
    """All measurements, of all kinds or some.

    Args:
        tiny: small ones, for a CPU.
        kinds: modules of this folder; by default all.
    """
    made = recipes.measured()
    made = {name: made[name] for name in sorted(made, key=lambda name: name not in FIRST)}
    others = [name for name in made if name not in FIRST]
    trained = trainings(made, tiny)
    trained_first = [one for one in trained if one.arguments["recipe"] in FIRST[::2] and one.arguments["data"]]
    blocks = [
        [Measurement("machine", {}, 120, 5)],
        [step(name, precision) for precision in PRECISIONS for name in FIRST],
        [peer(name, BFLOAT16) for name in PEERS[:2]],
        [largest(FIRST[0], BFLOAT16)],
        trained_first,
        [step(name, precision) for precision in PRECISIONS for name in others],
        [peer(name, BFLOAT16) for name in PEERS[2:]],
        [feeding(name) for name in made],
        [one for one in trained if one not in trained_first],
        [largest(name, BFLOAT16) for name in made if name != FIRST[0]],
        [peer(name, FLOAT32) for name in PEERS] if not tiny else [],
        [largest(name, precision) for precision in (FLOAT32, FLOAT16) for name in made] if not tiny else [],
    ]
    chosen = [one for block in blocks for one in block if not kinds or one.kind in (*kinds, "machine")]
    # of small ones the times say nothing, so they need not be alone
    return [
        dataclasses.replace(one, arguments={**one.arguments, "tiny": tiny}, alone=one.alone and not tiny)
        for one in chosen
    ]


def step(recipe, precision):
    return Measurement("steps", {"recipe": recipe, "precision": precision}, 300, 30, alone=False)


def largest(recipe, precision):
    return Measurement("largest", {"recipe": recipe, "precision": precision}, 300, 45)


def peer(name, precision):
    return Measurement("peers", {"peer": name, "precision": precision}, 300, 60)


def feeding(recipe):
    return Measurement("feeding", {"recipe": recipe, "precision": BFLOAT16}, 180, 30)


def trainings(made, tiny) -> list[Measurement]:
    """The same recipe in each precision from one seed, then float32 from two more; real data before generated scenes.

    Of the small ones each data set has one recipe, each recipe one data set, and one recipe the other seeds.
    """
    rows, seen = [], set()
    for real in (True, False):
        for name, recipe in made.items():
            data = recipes.data_of(recipe) if real else None
            if real and data is None or tiny and {name, data} & seen:
                continue
            runs = [(precision, SEEDS[0]) for precision in PRECISIONS]
            runs += [(FLOAT32, seed) for seed in SEEDS[1:] if not (tiny and seen)]
            seen |= {name} | ({data} if real else set())
            for precision, seed in runs:
                arguments = {"recipe": name, "data": data, "precision": precision, "seed": seed}
                rows.append(Measurement("trainings", arguments, 900, 60, alone=False))
    return rows
