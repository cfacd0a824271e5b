"""Small recipes with every kind of head and most keys, and the commands that read them."""

import functools
from pathlib import Path
from typing import NamedTuple

import yaml

_TINY = {
    "backbone": {"name": "unet_encoder", "filters": 4, "depth": 3},
    "data": {
        "train": {"source": "shapes", "count": 8, "size": [32, 32]},
        "val": {"source": "shapes", "count": 4, "size": [32, 32], "seed": 1},
        "size": [32, 32],
        "batch": 2,
        "augment": [{"HorizontalFlip": {"p": 0.5}}, {"RandomBrightnessContrast": {"p": 0.5, "brightness_limit": 0.2}}],
    },
    "train": {
        "epochs": 2,
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1e-4},
        "schedule": {"name": "cosine", "warmup_epochs": 0.5},
    },
    "run": {"dir": "runs", "seed": 0},
}
_HEADS = {
    "unet": {"name": "unet", "filters": [8, 4], "loss": {"cross_entropy": 1.0, "dice": 1.0}},
    "classifier": {"name": "classifier", "dropout": 0.1, "label_smoothing": 0.1},
    "retinanet": {"name": "retinanet", "filters": 8, "levels": ["C1", "C2"]},
    "yolo": {"name": "yolo", "variant": "n"},
    "pose_heatmap": {"name": "pose_heatmap", "filters": 8},
}
_MORE = {
    "freeze": {"epochs": 1, "factor": 0.1},
    "layer_decay": 0.8,
    "clip_norm": 1.0,
    "ema": 0.9,
    "early_stopping": 3,
    "precision": "float32",
    "jit": False,
    "devices": "cpu",
    "save_minutes": 1,
}


class Recipe(NamedTuple):
    """A recipe: {path: content} of its files, and {path: form} of those to change."""

    files: dict[str, bytes]
    targets: dict[str, str]


@functools.cache
def bases() -> dict[str, Recipe]:
    """{name: Recipe}."""
    made = {name: _recipe({**_TINY, "head": head}) for name, head in _HEADS.items()}
    figures = {"source": "shapes", "scene": "figures", "count": 8, "size": [32, 32], "objects": [1, 2]}
    data = {**_TINY["data"], "train": figures, "val": {**figures, "seed": 1}, "resize": "object", "augment": []}
    made["pose_heatmap"] = _recipe({**_TINY, "head": _HEADS["pose_heatmap"], "data": data})
    several = {"regions": _HEADS["unet"], "subject": _HEADS["classifier"], "tags": {"name": "tagger"}}
    train = {**_TINY["train"], **_MORE, "loss_weights": {"subject": 0.5}}
    made["several"] = _recipe({**_TINY, "heads": several, "train": train})
    mixed = {**_TINY["data"], "train": [_TINY["data"]["train"], {**_TINY["data"]["train"], "seed": 3}]}
    mixed |= {"sizes": [[32, 32], [64, 64]], "workers": 0, "resize": "letterbox", "max_objects": 9, "split": 0.5}
    made["mixed"] = _recipe({**_TINY, "head": _HEADS["unet"], "data": mixed})
    made["words"] = Recipe({**made["unet"].files, "words": "\n".join(_WORDS).encode()}, {"words": "rows"})
    return made


def _recipe(plain) -> Recipe:
    written = yaml.safe_dump(plain, sort_keys=False).encode()
    return Recipe({"recipe.yaml": written, "words": b""}, {"recipe.yaml": "yaml"})


_WORDS = (
    *("train.epochs=2", "data.size=[32, 64]", "train.optimizer.learning_rate=1e-4", "data.train.count=6"),
    *("backbone.filters=8", "head.filters=[4, 4]", "data.augment=[{HorizontalFlip: {p: 0.5}}]", "run.seed=3"),
    *("head={name: unet, filters: [8, 4]}", "train.freeze={epochs: 1}", "data.batch=2", "backbone.name=unet_encoder"),
)


def call(keras: bool):
    """`train dry_run=true`, or `check recipe=`, which builds no network; with the overrides in the file words."""
    from visiontasks.check import main as check
    from visiontasks.train import main as train

    overrides = Path("words").read_text("utf-8", "replace").splitlines()
    words = ["recipe=recipe.yaml", *(word for word in overrides if not word.startswith(("-", "resume", "out")))]
    if keras:
        train([*words, "dry_run=true"])
    check([*words, "charts=false"])
