"""The pointing game of a run's validation images, beside random maps and a Gaussian in the middle.

    python scripts/pointing_game.py RUN [HOW …]

A target is a class that an image has, as a box or in its mask; a map hits if it is highest inside of that class's boxes
or pixels (Zhang et al. 2016, section 4.1). The paper allows 15 pixels beside them, in images of about 375×500, so the
second figure has a margin of 4% of the shorter axis. HOW is gradcam (the default), gradcam++, occlusion, …; with
a level as in hirescam:C3; pooled is Grad-CAM for every kind of prediction.
"""

import sys

import cv2
import keras
import numpy as np

from visiontasks import api, build
from visiontasks.explain.__main__ import map_of
from visiontasks.explain.believing import boxes_region, centered, pointing_game
from visiontasks.explain.cam import cam_of
from visiontasks.explain.masking import random_masks
from visiontasks.explain.scoring import Explained
from visiontasks.training.run_directory import RunDirectory

MARGIN = 15 / 375


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


def widened(region):
    """A region and what lies less than the margin beside it."""
    reach = max(1, round(MARGIN * min(region.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    return cv2.dilate(region.astype(np.uint8), disc).astype(bool)


def of(explained, how):
    name, _, tap = how.partition(":")
    return (cam_of(explained, tap or None, local=False) if name == "pooled" else map_of(explained, name, tap or None))[
        0
    ]


def main():
    run, hows = RunDirectory.find(sys.argv[1]), sys.argv[2:] or ["gradcam"]
    recipe, _ = build.recipe(str(run.recipe), known=True)
    model = api.load_model(run.checkpoint, compile=False)
    loader = build.validation(recipe, model.heads.values())
    (head,), rng = model.heads.values(), np.random.default_rng(0)
    found = {name: [] for name in (*hows, "random", "Gaussian", "area of the region")}
    for batch in loader:
        batch = {key: np.asarray(keras.ops.convert_to_numpy(value)) for key, value in batch.items()}
        for row, image in enumerate(batch["image"]):
            for number, region in targets(batch, row, len(head.classes)):
                one, regions = Explained(model, image[None], number), (region, widened(region))
                maps = {how: of(one, how) for how in hows}
                (maps["random"],) = random_masks(1, region.shape, 7, 0.5, rng)
                maps["Gaussian"] = centered(region.shape)
                for name in ("random", "Gaussian"):  # of equal highest pixels a random one
                    maps[name] = maps[name] + 1e-6 * rng.random(region.shape)
                for name, values in maps.items():
                    found[name].append([pointing_game(values, inside) for inside in regions])
                found["area of the region"].append([inside.mean() for inside in regions])
    for name, values in found.items():
        exact, near = np.mean(values, axis=0)
        print(f"{name}: {exact:.3f} of {len(values)} targets, {near:.3f} with a margin")


if __name__ == "__main__":
    main()
