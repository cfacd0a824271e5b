"""The schema of a recipe: every key with its type, default, bounds and what it means."""

import dataclasses
import types
from dataclasses import field

from omegaconf import OmegaConf


def _key(doc, default=dataclasses.MISSING, *, choices=(), above=None, below=None):
    limits = {"doc": doc, "choices": choices, "above": above, "below": below}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=limits)
    return field(default=default, metadata=limits)


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """What to learn from, and how pictures become batches."""

    train: dict | None = _key("the training part: {source: NAME, its arguments}", None)
    val: dict | None = _key("the validation part; without one, a share of the training part", None)
    size: list[int] = _key("[height, width] that the network sees", [256, 256])
    sizes: list = _key("several sizes to train at, [[height, width], …], one a batch; validation is at data.size", [])
    batch: int = _key("pictures a step", 8, above=0)
    augment: list = _key(
        "transforms by name, albumentations' and those below, in order: [{HorizontalFlip: {p: 0.5}}, …]", []
    )
    resize: str = _key("how a picture fits the size", "stretch", choices=("stretch", "letterbox", "crop"))
    max_objects: int = _key("objects a picture has room for, the largest; the others count as background", 100, above=0)
    split: float = _key("share kept for validation where there is no val part", 0.2, above=0, below=1)
    workers: int | None = _key(
        "threads or processes that read pictures; null = one a core, at most 8; 0 = none, in the training thread",
        None,
        above=-1,
    )
    worker_kind: str = _key("what the workers are", "threads", choices=("threads", "processes"))


@dataclasses.dataclass(frozen=True)
class FreezeRecipe:
    """Transfer learning in two stages: the heads alone, then everything, or all behind a level of the backbone."""

    epochs: int = _key("epochs with the backbone fixed, its batch norms in inference mode; 0 = none", above=-1)
    factor: float = _key("learning-rate factor of the backbone once it trains", 0.1, above=0)
    batch_norm: bool = _key("keep the backbone's batch norms fixed to the end", False)
    level: str | None = _key("keep the backbone up to this level, such as C2, fixed to the end", None)


@dataclasses.dataclass(frozen=True)
class TrainRecipe:
    """How to learn."""

    epochs: int = _key("passes over the training part", 20, above=0)
    steps: int | None = _key("updates, instead of epochs: rounded up to whole epochs, at most 100", None, above=0)
    optimizer: dict = _key("any Keras optimizer: {name: NAME, its arguments}", {"name": "adamw", "learning_rate": 1e-3})
    schedule: dict = _key("learning rate over time: cosine, step or constant", {"name": "cosine", "warmup_epochs": 1})
    precision: str = _key(
        "auto = mixed_bfloat16 or mixed_float16 on a GPU, float32 on a CPU",
        "auto",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit: str | bool = _key("XLA compilation; auto = on for a GPU, off for TensorFlow on a CPU", "auto")
    devices: str = _key(
        "all = every GPU of this machine by MirroredStrategy", "auto", choices=("auto", "cpu", "gpu", "all")
    )
    freeze: FreezeRecipe | None = _key("transfer learning: first the heads alone, then everything", None)
    layer_decay: float | None = _key(
        "factor of the rate from each level of the backbone to the one nearer to the picture", None, above=0, below=1
    )
    loss_weights: dict = _key("factor of each head's loss: {HEAD: number}", {})
    clip_norm: float | None = _key(
        "largest global norm of the gradients; with freeze or layer_decay, of those at each rate", None, above=0
    )
    ema: float | None = _key(
        "momentum of the moving average of the weights, which is what is saved", None, above=0, below=1
    )
    early_stopping: int | None = _key("stop after so many epochs without a better score", None, above=0)


@dataclasses.dataclass(frozen=True)
class RunRecipe:
    """Where results go, and the seed of everything random."""

    dir: str = _key("folder of the runs; each goes to dir/RECIPE/TIME", "runs")
    seed: int = _key("seed of weights, order and augmentation", 0, above=-1)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe. `head` is one part, or `heads` several by name; exactly one of the two is given."""

    backbone: dict = _key("{name: NAME, its arguments}")
    head: dict | None = _key("{name: NAME, its arguments}", None)
    heads: dict | None = _key("several heads: {HEAD: {name: NAME, its arguments}, …}", None)
    weights: str | None = _key(
        "of backbone and head together: coco (torchvision's detectors), or a PyTorch file with torchvision's names",
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
    kinds = f.type.__args__ if isinstance(f.type, types.UnionType) else (f.type,)
    return next((kind for kind in kinds if dataclasses.is_dataclass(kind)), None)


def annotation_of(f: dataclasses.Field) -> str:
    """A field's type as it is written."""
    return f.type.__name__ if isinstance(f.type, type) and not hasattr(f.type, "__origin__") else str(f.type)


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
        rows.append((f"{where}{f.name}", annotation_of(f), default, f.metadata["doc"]))
    return rows
