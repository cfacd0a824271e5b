"""A small run of training whose files are changed, weights of other frameworks, and the commands that read them."""

import functools
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from fuzzing import data_sets, recipes

RUN = "runs/a/b"


class Run(NamedTuple):
    """A run's files {path: content}, and {path: form} of those to change."""

    files: dict[str, bytes]
    targets: dict[str, str]


@functools.cache
def bases() -> dict[str, Run]:
    """A run with both checkpoints, one with its best alone, and a recipe that begins with weights in a file."""
    trained = _trained()
    files = {f"{RUN}/{name}": content for name, content in trained.items()}
    files |= {f"images/{name}.png": data_sets.encoded(data_sets.image(n)) for n, name in enumerate("ab")}
    best, last = f"{RUN}/checkpoints/best.keras", f"{RUN}/checkpoints/last.keras"
    alone = {path: content for path, content in files.items() if path != last}
    described = {f"{RUN}/recipe.yaml": "yaml", f"{RUN}/summary.json": "json"}
    return {
        "best": Run(alone, {best: "zip"}),
        "bytes": Run(alone, {best: "bytes"}),
        "both": Run(files, {best: "zip", last: "zip", **described}),
        "safetensors": _weights("w.safetensors", _safetensors()),
        "torch": _weights("w.pth", _torch()),
    }


def _trained() -> dict[str, bytes]:
    """The files of a run, trained in a process of its own: this one must start no threads."""
    with tempfile.TemporaryDirectory() as folder:
        recipe = yaml.safe_load(recipes.bases()["several"].files["recipe.yaml"])
        recipe["train"] = {"epochs": 1}
        Path(folder, "r.yaml").write_text(yaml.safe_dump(recipe))
        process = os.fork()
        if not process:
            code = 1
            try:
                os.chdir(folder)
                os.dup2(os.open("printed", os.O_WRONLY | os.O_CREAT), 1)
                from visiontasks.train import train

                code = train(["recipe=r.yaml"])
            finally:
                os._exit(code)
        _, status = os.waitpid(process, 0)
        assert status == 0, "the run to be changed was not trained"
        (run,) = Path(folder).glob("runs/*/*")
        names = ("recipe.yaml", "summary.json", "data.json", "metrics.csv")
        names += ("checkpoints/best.keras", "checkpoints/last.keras")
        return {name: (run / name).read_bytes() for name in names}


def _weights(name, content) -> Run:
    backbone = {"name": "resnet18", "weights": name}
    recipe = data_sets.recipe({"name": "classifier", "classes": 2})
    files = {"recipe.yaml": yaml.safe_dump({**recipe, "backbone": backbone}).encode(), name: content}
    return Run(files, {name: "zip" if name.endswith(".pth") else "bytes"})


def _tensors():
    return {"conv1.weight": np.zeros((64, 3, 7, 7), np.float32), "bn1.weight": np.ones(64, np.float32)}


def _safetensors() -> bytes:
    from safetensors.numpy import save

    return save(_tensors())


def _torch() -> bytes:
    """An archive as torch.save writes it, with one tensor."""
    storage = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    storage += b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQK\x00K\x02K\x02\x86K\x02K\x01\x86\x89}tR"
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}X\x06\x00\x00\x00weight" + storage + b"s.")
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/data/0", np.zeros(4, np.float32).tobytes())
        archive.writestr("archive/version", b"3\n")
    return written.getvalue()


def call(base: str, whole: bool):
    """`predict` and, if `whole`, `evaluate` with the run; or the model of a recipe that begins with a weight file."""
    from visiontasks import cli
    from visiontasks.evaluate import main as evaluate
    from visiontasks.predict import main as predict

    if base in ("safetensors", "torch"):
        cli.run(_build, ["recipe=recipe.yaml"], str)
    try:
        predict(["run=runs", "source=images", "batch=1"])
    except SystemExit as ended:
        if ended.code or not whole:
            raise
    evaluate([f"run={RUN}", "out=out"])


def _build(_) -> int:
    from visiontasks import build, cli

    recipe, _ = build.recipe("recipe.yaml")
    cli.start_keras()
    build.model(recipe)
    return 0
