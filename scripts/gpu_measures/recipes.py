"""Which recipes are measured, read from the shipped ones without Keras, and how they are made small for a CPU."""

import os
from pathlib import Path

from visiontasks import build
from visiontasks.recipe import reading

# a data set of the folder given, and the fields that it has; a recipe trains on the first that has all of its own
DATA = {
    "flowers": {"label"},
    "bccd": {"boxes", "classes", "tags"},
    "nuclei": {"mask", "boxes", "classes", "instance_masks"},
    "lsp": {"boxes", "classes", "keypoints"},
}
BLOOD_CELLS = (  # as in docs/benchmarks.md
    "data.size=[256,320]",
    "data.resize=stretch",
    "data.augment=[{HorizontalFlip: {p: 0.5}}, {VerticalFlip: {p: 0.5}}, "
    "{ColorJitter: {brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.05, p: 0.8}}]",
)
EPOCHS = {"yolo": 15, "ssd": 20, "rcnn": 10}  # of docs/benchmarks.md, on blood cells
# as small as a backbone with the levels C1 to C5 can be; a step of efficientnet_lite0 compiles for half a minute
SMALL = (
    "backbone.name=unet_encoder",
    "backbone.weights=null",
    "backbone.filters=4",
    "backbone.depth=6",
    "data.size=[64,64]",
    "data.workers=1",
)


def measured() -> dict[str, object]:
    """{name: recipe} of what trains on generated scenes from weights that need no download.

    Of several recipes for the same heads the first; those with one head first.
    """
    chosen = {}
    for name in reading.available():
        recipe = reading.read(name)
        train = recipe.data.train
        if not isinstance(train, dict) or train["source"] != "shapes" or recipe.backbone.get("weights") != "imagenet":
            continue
        heads = tuple(part["name"] for part in recipe.parts.values())
        chosen.setdefault((len(heads) > 1, heads, build.fields(recipe)), recipe)
    return {chosen[key].name: chosen[key] for key in sorted(chosen, key=lambda key: (key[0], chosen[key].name))}


def data_of(recipe) -> str | None:
    """The data set of `DATA` that a recipe is trained on; None if there is none."""
    fields = set(build.fields(recipe))
    return next((name for name, given in DATA.items() if fields <= given), None)


def folder(data: str) -> Path | None:
    """The folder of a data set; None where there is none."""
    root = os.environ.get("GPU_DATA")
    found = Path(root, data) if root else None
    return found if found and found.is_dir() else None


def overrides(recipe, data: str | None, tiny: bool) -> list[str]:
    """The words of `train` beside recipe and data."""
    words = []
    if data == "bccd" and "boxes" in build.fields(recipe):
        heads = (part["name"] for part in recipe.parts.values())
        words += [*BLOOD_CELLS, *(f"train.epochs={EPOCHS[head]}" for head in heads if head in EPOCHS)]
    if tiny:
        words += [*SMALL, "train.epochs=1"]
        words += ["data.batch=32"] if data else ["data.batch=2", "data.train.count=4", "data.val.count=2"]
        words += ["train.freeze=null"] if recipe.train.freeze else []
    return words
