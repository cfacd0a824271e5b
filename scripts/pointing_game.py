"""The pointing game of a run's validation images, beside random maps and a Gaussian in the middle.

    python scripts/pointing_game.py RUN [HOW …]

A target is a class that an image has, as a box or in its mask; a map hits if it is highest inside of that class's boxes
or pixels (Zhang et al. 2016, section 4.1, without a margin). HOW is gradcam (the default), gradcam++, occlusion, ….
"""

import sys

import keras
import numpy as np

from visiontasks import api, build
from visiontasks.explain.__main__ import map_of
from visiontasks.explain.believing import boxes_region, centered, pointing_game
from visiontasks.explain.masking import random_masks
from visiontasks.explain.scoring import Explained
from visiontasks.training.run_directory import RunDirectory


def targets(batch, row, classes):
    """(class, its region, bool (H, W)) of each class that an image has; the first class of a mask is background."""
    size = batch["image"].shape[1:3]
    for number in range(classes):
        if "mask" in batch:
            region = batch["mask"][row] == number
            if number and region.any():
                yield number, region
        elif (batch["classes"][row] == number).any():
            yield number, boxes_region(batch["boxes"][row][batch["classes"][row] == number], size)


def main():
    run, hows = RunDirectory.find(sys.argv[1]), sys.argv[2:] or ["gradcam"]
    recipe, _ = build.recipe(str(run.recipe), known=True)
    model = api.load_model(run.checkpoint, compile=False)
    loader = build.validation(recipe, model.heads.values())
    (head,), rng = model.heads.values(), np.random.default_rng(0)
    hits = {name: [] for name in (*hows, "random", "Gaussian", "area of the region")}
    for batch in loader:
        batch = {key: np.asarray(keras.ops.convert_to_numpy(value)) for key, value in batch.items()}
        for row, image in enumerate(batch["image"]):
            for number, region in targets(batch, row, len(head.classes)):
                one = Explained(model, image[None], number)
                for how in hows:
                    hits[how].append(pointing_game(map_of(one, how)[0], region))
                (random,) = random_masks(1, region.shape, 7, 0.5, rng)
                # of equal highest pixels a random one
                random = random + 1e-6 * rng.random(region.shape)
                hits["random"].append(pointing_game(random, region))
                hits["Gaussian"].append(pointing_game(centered(region.shape) + 1e-6 * rng.random(region.shape), region))
                hits["area of the region"].append(region.mean())
    for name, values in hits.items():
        print(f"{name}: {np.mean(values):.3f} of {len(values)} targets")


if __name__ == "__main__":
    main()
