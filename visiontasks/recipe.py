"""Recipes: YAML read by OmegaConf, checked against the dataclasses below, handed on as plain frozen dataclasses."""

import dataclasses
import types
from dataclasses import field
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from visiontasks.catalog import PACKAGE, fits, near, parts
from visiontasks.errors import RecipeError

# beside the package in a checkout, inside it in a wheel
RECIPES = PACKAGE / "recipes" if (PACKAGE / "recipes").is_dir() else PACKAGE.parent / "recipes"


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


def available() -> dict[str, str]:
    """The shipped recipes: {name: its first comment line}."""
    return {path.stem: comment(path)[0] for path in sorted(RECIPES.glob("*.yaml"))}


def comment(path: Path) -> list[str]:
    """The lines of a recipe file's first comment, without the sign."""
    lines = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return lines or [""]


def read(recipe: str, overrides: list[str] | tuple[str, ...] = (), data: dict | None = None) -> Recipe:
    """A recipe by name or path, with `key=value` overrides merged in.

    Args:
        recipe: a shipped recipe's name, or the path of a YAML file.
        overrides: "train.epochs=5" and the like; the values are YAML.
        data: {"train": {…}, "val": {…}} to take in place of the recipe's own parts.

    Raises:
        RecipeError: no such recipe, not YAML, an unknown key (with the near name), a wrong type, a value out of bounds.
    """
    path = Path(recipe) if str(recipe).endswith((".yaml", ".yml")) else RECIPES / f"{recipe}.yaml"
    if not path.is_file():
        raise RecipeError(
            f"recipe: there is no {str(recipe)!r}. {near(str(recipe), available())} Or a path to a .yaml."
        )
    try:
        config = OmegaConf.load(path)
        if not isinstance(OmegaConf.to_container(config), dict):
            raise RecipeError(f"recipe: {path} holds no keys; expected backbone, head and data.")
        if data is not None:
            config = OmegaConf.merge({"data": {}}, config)
            config.data.train, config.data.val = data["train"], data.get("val")
        for part in ("optimizer", "schedule"):  # so that an override of one of its arguments finds a whole part
            if OmegaConf.select(config, f"train.{part}") is None:
                OmegaConf.update(config, f"train.{part}", getattr(TrainRecipe(), part), force_add=True)
        for override in overrides:
            key, sign, value = override.partition("=")
            if not sign or not key:
                raise RecipeError(f"{override!r}: expected key=value, such as train.epochs=5.")
            _override(config, key, value)
        plain = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, YAMLError) as error:
        raise RecipeError(f"recipe {path}: {error}") from error
    return check({**plain, "name": path.stem})


def _override(config, key, value):
    parsed = OmegaConf.from_dotlist([f"{key}={value}"])
    section, _, name = key.rpartition(".")
    if name in ("name", "source") and OmegaConf.select(config, section) is not None:
        # another part: the arguments of the one before would not fit, but those that any part has stay
        old = OmegaConf.select(config, section)
        if old.get(name) != OmegaConf.select(parsed, key):
            taken = _arguments_of(section, OmegaConf.select(parsed, key))
            kept = {k: v for k, v in old.items() if k in ("weights", "learning_rate", "seed") and k in taken}
            OmegaConf.update(config, section, {**kept, name: OmegaConf.select(parsed, key)}, merge=False)
            return
    if key in ("head", "heads"):
        config.pop("heads" if key == "head" else "head", None)
    if key == "train.epochs" and "steps" in (config.get("train") or {}):
        config.train.pop("steps")  # said later, said instead
    merge = key not in ("data.train", "data.val", "head", "heads", "backbone")
    OmegaConf.update(config, key, OmegaConf.select(parsed, key), merge=merge, force_add=True)


def _arguments_of(section, name) -> set[str]:
    """What the part of that name takes; nothing where there is none: the check says so."""
    if section == "train.optimizer":
        return {"learning_rate"}
    folder = {"backbone": "backbones", "data.train": "data/sources", "data.val": "data/sources"}.get(section, "heads")
    part = parts(folder).get(name)
    return {a.name for a in part.arguments} if part else set()


def check(plain: dict) -> Recipe:
    """A Recipe out of plain values, every key and bound checked.

    Raises:
        RecipeError: see `read`.
    """
    recipe = _build(Recipe, plain, "")
    if (recipe.head is None) == (recipe.heads is None):
        raise RecipeError("head: expected either head: {name: …} or heads: {NAME: {name: …}, …}, one of the two.")
    for where, part in {"backbone": recipe.backbone, **_named_parts(recipe)}.items():
        if not isinstance(part, dict) or not isinstance(part.get("name"), str):
            raise RecipeError(f"{where}: expected {{name: NAME, its arguments}}, got {part!r}.")
    for where, size in (("size", recipe.data.size), *(("sizes", size) for size in recipe.data.sizes)):
        size = size if isinstance(size, list) else [size]
        if len(size) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size):
            raise RecipeError(f"data.{where}: expected [height, width] in pixels, got {size!r}.")
    if recipe.data.sizes and recipe.train.devices == "all":
        raise RecipeError("data.sizes: several GPUs take pictures of one size; leave it out, or train.devices=gpu.")
    for where, part in (("data.train", recipe.data.train), ("data.val", recipe.data.val)):
        if part is not None and not isinstance(part.get("source"), str):
            raise RecipeError(f"{where}: expected {{source: NAME, its arguments}}, got {part!r}.")
    for where, part in (("train.optimizer", recipe.train.optimizer), ("train.schedule", recipe.train.schedule)):
        if not isinstance(part.get("name"), str):
            raise RecipeError(f"{where}: expected {{name: NAME, its arguments}}, got {part!r}.")
    if recipe.train.jit not in ("auto", True, False):
        raise RecipeError(f"train.jit: expected auto, true or false; got {recipe.train.jit!r}.")
    for name, value in recipe.train.loss_weights.items():
        if not fits(value, "float"):
            raise RecipeError(f"train.loss_weights.{name}: expected a number, got {value!r}.")
    if unknown := recipe.train.loss_weights.keys() - recipe.parts.keys():
        raise RecipeError(f"train.loss_weights: {sorted(unknown)} name no head. {near(min(unknown), recipe.parts)}")
    return recipe


def _named_parts(recipe):
    if recipe.head is not None:
        return {"head": recipe.head}
    if not recipe.heads:
        raise RecipeError("heads: expected at least one head.")
    return {f"heads.{name}": part for name, part in recipe.heads.items()}


def _build(schema, plain, where):
    known = {f.name: f for f in dataclasses.fields(schema)}
    for key in plain:
        if key not in known:
            shown = [name for name, f in known.items() if not f.metadata.get("hidden")]
            raise RecipeError(f"{where}{key}: unknown key. {near(str(key), shown)}")
    values = {}
    for name, f in known.items():
        path = f"{where}{name}"
        if name not in plain:
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                raise RecipeError(f"{path}: missing; {f.metadata['doc']}.")
            continue
        values[name] = _value(f, plain[name], path)
    return schema(**values)


def _value(f, value, path):
    nested = nested_schema(f)
    if nested is not None and isinstance(value, dict):
        return _build(nested, value, f"{path}.")
    annotation = annotation_of(f)
    if nested is not None and (value is not None or nested is f.type):
        keys = ", ".join(inner.name for inner in dataclasses.fields(nested))
        raise RecipeError(f"{path}: expected keys below it ({keys}), got {value!r}.")
    if not fits(value, annotation) and nested is None:
        choices = f.metadata.get("choices")
        listed = f" Choices: {', '.join(choices)}." if choices else ""
        raise RecipeError(f"{path}: expected {annotation}, got {value!r} ({type(value).__name__}).{listed}")
    limits = f.metadata
    if limits.get("choices") and value not in limits["choices"]:
        raise RecipeError(f"{path}: got {value!r}. {near(str(value), limits['choices'])}")
    if value is not None and limits.get("above") is not None and not value > limits["above"]:
        raise RecipeError(f"{path}: expected more than {limits['above']}, got {value!r}.")
    if value is not None and limits.get("below") is not None and not value < limits["below"]:
        raise RecipeError(f"{path}: expected less than {limits['below']}, got {value!r}.")
    return value


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
