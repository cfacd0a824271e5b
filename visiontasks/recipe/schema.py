"""The schema of a recipe: every key with its type and bounds, its default, and what it means."""

import contextlib
import dataclasses
import re
from dataclasses import field
from typing import Annotated, Literal, get_args

from omegaconf import OmegaConf
from pydantic import AfterValidator, Field

from visiontasks.arguments import (
    Bits,
    Count,
    Level,
    NonNegative,
    OpenShare,
    Positive,
    Seed,
    Side,
    Whole,
    between,
    describe,
)
from visiontasks.errors import UserError

MOST_WORKERS = 256


def _key(doc, default=dataclasses.MISSING):
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata={"doc": doc})
    return field(default=default, metadata={"doc": doc})


def _part(key):
    """The type of a selectable part: a dict whose `key` is a text."""

    def named(part):
        if not isinstance(part.get(key), str):
            raise ValueError(f"no {key}")
        return part

    return Annotated[dict, AfterValidator(named), Field(description=f"{{{key}: NAME, its arguments}}")]


HeadName = Annotated[str, Field(min_length=1, description="name")]
Named, Source = _part("name"), _part("source")
Sources = Annotated[list[Source], Field(min_length=1, description="a list of these")]
Size = Annotated[tuple[Side, Side], Field(description="[height, width] of 1 to 65536 pixels")]


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """What to learn from, and how images become batches."""

    train: Source | Sources | None = _key(
        "the training set: {source: NAME, its arguments}, or a list of them, whose images are mixed; "
        "set: NAME beside them names the label set, for heads whose `learns` is that name",
        None,
    )
    val: Source | Sources | None = _key("the validation set, as train; without one, a share of the training set", None)
    size: Size = _key("[height, width] that the network sees", [256, 256])
    sizes: list[Size] = _key(
        "several sizes to train at, [[height, width], …], one size per batch; validation is at data.size", []
    )
    batch: Count = _key("images per step", 8)
    augment: list = _key(
        "transforms by name, albumentations' and those below, in order: [{HorizontalFlip: {p: 0.5}}, …]", []
    )
    resize: Literal["stretch", "letterbox", "crop", "object"] = _key(
        "how an image fits the size; object: each object with keypoints fills it alone, for pose_heatmap", "stretch"
    )
    max_objects: Count | None = _key(
        "maximum objects per image; beyond it the smallest are left out, and those classes are not known in it; null = "
        "room for those of every image, and of those that augment joins, at least 100",
        None,
    )
    mask_size: between(1, 1024, int) = _key("rows and columns of an instance mask, as it lies in its object's box", 112)
    split: OpenShare = _key("share kept for validation where there is no validation set", 0.2)
    workers: between(0, MOST_WORKERS, int) | None = _key(
        "threads or processes that read images; null = one per core, at most 8; 0 = none, in the training thread", None
    )
    bits: Bits | None = _key(
        "of images of 16 bits, how many hold values, such as 12: they are divided by 2 ** (bits - 8); null = what the "
        "data need",
        None,
    )
    worker_kind: Literal["threads", "processes"] = _key("what the workers are", "threads")


@dataclasses.dataclass(frozen=True)
class FreezeRecipe:
    """Transfer learning in two stages: only the heads, then everything, or what follows a level of the backbone."""

    epochs: Whole = _key("epochs with the backbone fixed, its batch norms in inference mode; 0 = none")
    factor: Positive = _key("learning-rate factor of the backbone once it trains", 0.1)
    batch_norm: bool = _key("keep the backbone's batch norms fixed to the end", False)
    level: Level | None = _key("keep the backbone up to this level, such as C2, fixed to the end", None)


@dataclasses.dataclass(frozen=True)
class TrainRecipe:
    """How to learn."""

    epochs: Count = _key("passes over the training set", 20)
    steps: Count | None = _key("updates, instead of epochs: rounded up to whole epochs, at most 100", None)
    optimizer: Named = _key(
        "any Keras optimizer: {name: NAME, its arguments}", {"name": "adamw", "learning_rate": 1e-3}
    )
    schedule: Named = _key("learning rate over time: cosine, step or constant", {"name": "cosine", "warmup_epochs": 1})
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = _key(
        "auto = mixed_bfloat16 or mixed_float16 on a GPU, float32 on a CPU; a long training on a CPU with avx512_bf16 "
        "and no AMX takes the faster of float32 and mixed_bfloat16, timed on three steps each: with TensorFlow, from "
        "8000 images of 224² for each core",
        "auto",
    )
    jit: Literal["auto"] | bool = _key("XLA compilation; auto = on for a GPU, off for TensorFlow on a CPU", "auto")
    devices: Literal["auto", "cpu", "gpu", "all"] = _key("all = every GPU of this machine by MirroredStrategy", "auto")
    deterministic: bool = _key(
        "the same bits each time on a GPU too, at the cost of speed; a CPU gives them anyway", False
    )
    freeze: FreezeRecipe | None = _key("transfer learning: first the heads alone, then everything", None)
    layer_decay: OpenShare | None = _key(
        "factor of the rate from each level of the backbone to the one nearer to the image", None
    )
    loss_weights: dict[str, NonNegative] = _key("factor of each head's loss: {HEAD: number}", {})
    clip_norm: Positive | None = _key(
        "largest global norm of the gradients; with freeze or layer_decay, of those at each rate", None
    )
    ema: OpenShare | None = _key("momentum of the moving average of the weights, which is what is saved", None)
    early_stopping: Count | None = _key("stop after this many epochs without a better score", None)
    save_minutes: NonNegative = _key(
        "minutes between saved states, from which `train resume=RUN` goes on; one is saved at the end of an epoch too "
        "where that takes less than 1% of the time",
        10,
    )
    on_nan: Literal["stop", "rollback"] = _key(
        "at a loss or weights of NaN or infinity: stop, with an error that names the images; or rollback: go back to "
        "the last saved state, leave that batch out and halve the learning rate, up to 3 times before an epoch ends "
        "and 6 times in all; a state is then saved at the start and at each epoch's end too",
        "stop",
    )
    stop_file: str | None = _key(
        "a file that stops training as SIGTERM does, as soon as it exists: a scheduler's notice; it is looked for at "
        "most once a second, and must be gone before training goes on",
        None,
    )


@dataclasses.dataclass(frozen=True)
class RunRecipe:
    """Where results go, and the seed of everything random."""

    dir: str = _key("folder of the runs; each goes to dir/RECIPE/TIME", "runs")
    seed: Seed = _key("seed of weights, order and augmentation", 0)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe. `head` is one part, or `heads` several by name; exactly one of the two is given."""

    backbone: Named = _key("{name: NAME, its arguments}")
    head: Named | None = _key("{name: NAME, its arguments}", None)
    heads: dict[HeadName, Named] | None = _key("several heads: {HEAD: {name: NAME, its arguments}, …}", None)
    weights: str | None = _key(
        "of backbone and head together: coco (torchvision's detectors), or a PyTorch file with torchvision's names",
        None,
    )
    init: str | None = _key(
        "trained weights that a run starts from instead of pretrained ones: a run's folder, one with several runs, or "
        "a .keras file; heads with other classes are re-initialized",
        None,
    )
    data: DataRecipe = field(default_factory=DataRecipe)
    train: TrainRecipe = field(default_factory=TrainRecipe)
    run: RunRecipe = field(default_factory=RunRecipe)
    name: str = field(default="recipe", metadata={"hidden": True})  # the file's, not a key

    @property
    def parts(self) -> dict[str, dict]:
        """The heads by name, one or several."""
        return self.heads if self.heads is not None else {self.head["name"]: self.head}

    def to_yaml(self) -> str:
        """The resolved recipe, as it can be read back."""
        plain = {key: value for key, value in dataclasses.asdict(self).items() if value is not None and key != "name"}
        return OmegaConf.to_yaml(OmegaConf.create(plain))

    def replace(self, **changes) -> "Recipe":
        return dataclasses.replace(self, **changes)


def nested_schema(f: dataclasses.Field):
    """The dataclass that a field holds, or None."""
    kinds = (kind for kind in (f.type, *get_args(f.type)) if isinstance(kind, type))
    return next(filter(dataclasses.is_dataclass, kinds), None)


def documented_keys(schema=Recipe, where: str = "") -> list[tuple[str, str, object, str]]:
    """Every key of a recipe: (dotted name, type, default or None, what it is), for `--help`."""
    rows = []
    for f in dataclasses.fields(schema):
        nested = nested_schema(f)
        if f.metadata.get("hidden"):
            continue
        if nested is not None:
            rows += documented_keys(nested, f"{where}{f.name}.")
            continue
        default = f.default if f.default is not dataclasses.MISSING else None
        if f.default_factory is not dataclasses.MISSING:
            default = f.default_factory()
        rows.append((f"{where}{f.name}", describe(f.type), default, f.metadata["doc"]))
    return rows


@contextlib.contextmanager
def recipe_paths():
    """Put a recipe's path before the argument of a lower room's UserError: `batch` becomes `data.batch`."""
    try:
        yield
    except UserError as error:
        name = re.match(r"\w*", error.argument or "")[0]
        for section in (DataRecipe, TrainRecipe, RunRecipe):
            if name in (field.name for field in dataclasses.fields(section)):
                error.argument = f"{section.__name__.removesuffix('Recipe').lower()}.{error.argument}"
                break
        raise
