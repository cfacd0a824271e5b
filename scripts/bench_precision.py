"""Training steps in float32 and mixed_bfloat16, timed as `train.precision=auto` times them on a CPU with bfloat16.

    python scripts/bench_precision.py [ROUNDS] [key=value …]

A row for each recipe: the least of all rounds, which precision is faster, and whether the recipe's own training is long
enough for auto to time it. Words with = go to all recipes.
"""

import sys

from visiontasks import build, precision

SMALL = ["data.size=[128,128]", "data.batch=8"]
TIMED = {
    "resnet50": ["classify", "backbone.name=resnet50", "backbone.weights=null", *SMALL],
    "vgg16": ["classify", "backbone.name=vgg16", "backbone.weights=null", *SMALL],
    "efficientnet_lite0": ["classify", *SMALL],
    "unet_seg": ["unet_seg"],
    "yolo_det": ["yolo_det"],
    "yolo_det, csp_darknet_n": ["yolo_det", "backbone.name=csp_darknet_n", "backbone.weights=null"],
}


def main():
    rounds = int(next((word for word in sys.argv[1:] if "=" not in word), 1))
    overrides = [word for word in sys.argv[1:] if "=" in word]
    print("| recipe | image size, batch | float32 | mixed_bfloat16 | ratio | faster | timed by auto |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for label, (name, *words) in TIMED.items():
        recipe, _ = build.recipe(name, [*words, *overrides])
        loader, _ = build.loaders(recipe)
        taken = [precision.step_seconds(recipe, loader) for _ in range(rounds)]
        least = {policy: min(one[policy] for one in taken) for policy in precision.POLICIES}
        a, b = least.values()
        size = "×".join(map(str, recipe.data.size))
        timed = "yes" if precision.pays(recipe, loader) else "no, too short"
        row = label, f"{size}, {recipe.data.batch}", f"{a:.3f} s", f"{b:.3f} s", f"{b / a:.2f}"
        print("|", " | ".join((*row, precision.faster(least)[0], timed)), "|", flush=True)


if __name__ == "__main__":
    main()
