"""Reads recipes: YAML by OmegaConf, checked against the schema, as frozen dataclasses."""

import dataclasses
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from visiontasks.data.text import read_text
from visiontasks.data.yaml_file import read_yaml
from visiontasks.errors import RecipeError, UserError, near
from visiontasks.recipe.schema import Recipe, TrainRecipe, nested_schema
from visiontasks.registry.catalog import PACKAGE, check_value, parts

_MOST_REFERENCES = 20  # ten references to ten references … are as long as ten to the power of their depth
# beside the package in a checkout, inside it in a wheel
RECIPES = PACKAGE / "recipes" if (PACKAGE / "recipes").is_dir() else PACKAGE.parent / "recipes"


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
        data: {"train": {…}, "val": {…}} to use instead of the recipe's.

    Raises:
        RecipeError: no such recipe, no YAML, an unknown key (with the nearest name), or an invalid value.
    """
    path = Path(recipe) if str(recipe).endswith((".yaml", ".yml")) else RECIPES / f"{recipe}.yaml"
    if not path.is_file():
        raise RecipeError(
            f"recipe: there is no {str(recipe)!r}. {near(str(recipe), available())} Or a path to a .yaml."
        )
    try:
        config = _load(path)
        if data is not None:
            config = OmegaConf.merge({"data": {}}, config)
            if OmegaConf.is_dict(config.data):
                config.data.train, config.data.val = data["train"], data.get("val")
        whole = config.get("train") is None or OmegaConf.is_dict(config.train)
        for part in ("optimizer", "schedule"):  # so that an override of one of its arguments finds a whole part
            if whole and OmegaConf.select(config, f"train.{part}") is None:
                OmegaConf.update(config, f"train.{part}", getattr(TrainRecipe(), part), force_add=True)
        for override in overrides:
            key, sign, value = override.partition("=")
            if not sign or not key.strip("[]."):
                raise RecipeError(f"{override!r}: expected key=value, such as train.epochs=5.")
            before = _sources(config, "train")
            _override(config, key, value)
            if data is None and key in ("data.train", "data.train.source"):
                _drop_validation(config, before)
        plain = OmegaConf.to_container(config, resolve=True)
    except UserError:
        raise
    except (OmegaConfBaseException, YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"recipe {path}: {error}") from error
    return check({**plain, "name": path.stem})


def _load(path):
    """A recipe's file as OmegaConf has it; one whose aliases or references grow without end is not taken."""
    try:
        plain = read_yaml(path, "a recipe in YAML", None)
    except UserError as error:
        raise RecipeError(f"recipe: {error}") from error
    if not isinstance(plain, dict):
        raise RecipeError(f"recipe: {path} has no keys; expected backbone, head and data.")
    text = read_text(path, "a recipe")
    if (count := text.count("${")) > _MOST_REFERENCES:
        raise RecipeError(
            f"recipe: expected at most {_MOST_REFERENCES} references ${{…}} in {path}, got {count}; write the values."
        )
    return OmegaConf.create(text)


def read_data(splits: dict, overrides: list[str] | tuple[str, ...] = ()) -> dict:
    """{"train": {…}, "val": {…}} without a recipe, with overrides such as data.train.values=[0,255] merged in.

    Raises:
        RecipeError: another key, or no YAML.
    """
    if not overrides:
        return splits
    try:
        config = OmegaConf.create({"data": splits})
        for override in overrides:
            key, sign, value = override.partition("=")
            if not sign or not key.startswith(("data.train.", "data.val.")):
                raise RecipeError(f"{override!r}: without recipe=, expected data.train.KEY=… or data.val.KEY=….")
            _override(config, key, value)
        return OmegaConf.to_container(config.data, resolve=True)
    except UserError:
        raise
    except (OmegaConfBaseException, YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"data: {error}") from error


def _override(config, key, value):
    parsed = OmegaConf.from_dotlist([f"{key}={value}"])
    section, _, name = key.rpartition(".")
    if name in ("name", "source") and OmegaConf.is_dict(OmegaConf.select(config, section)):
        # another part: drop the old part's arguments, except those that all parts share
        old = OmegaConf.select(config, section)
        if old.get(name) != OmegaConf.select(parsed, key):
            taken = _arguments_of(section, OmegaConf.select(parsed, key))
            kept = {k: v for k, v in old.items() if k in ("weights", "learning_rate", "seed") and k in taken}
            OmegaConf.update(config, section, {**kept, name: OmegaConf.select(parsed, key)}, merge=False)
            return
    if key in ("head", "heads"):
        config.pop("heads" if key == "head" else "head", None)
    if key == "train.epochs" and OmegaConf.is_dict(config.get("train")) and "steps" in config.train:
        config.train.pop("steps")  # a later key replaces an earlier one
    merge = key not in ("data.train", "data.val", "head", "heads", "backbone")
    OmegaConf.update(config, key, OmegaConf.select(parsed, key), merge=merge, force_add=True)


def _sources(config, split) -> set[str]:
    """The names of the sources of a split, as they are written."""
    found = OmegaConf.select(config, f"data.{split}")
    entries = found if OmegaConf.is_list(found) else [found]
    return {str(entry.get("source")) for entry in entries if OmegaConf.is_dict(entry)}


def _drop_validation(config, before):
    """Drop the validation set that the recipe had with its own training set, if that is of other sources now."""
    own = _sources(config, "val")
    if own and own <= before and not own & _sources(config, "train"):
        config.data.val = None


def _arguments_of(section, name) -> set[str]:
    """The arguments of a part by name; empty if there is none, which is checked later."""
    if section == "train.optimizer":
        return {"learning_rate"}
    folder = {"backbone": "backbones", "data.train": "data/sources", "data.val": "data/sources"}.get(section, "heads")
    part = parts(folder).get(name) if isinstance(name, str) else None
    return {a.name for a in part.arguments} if part else set()


def check(plain: dict) -> Recipe:
    """A Recipe from plain values, with every key and bound checked.

    Raises:
        RecipeError: see `read`.
    """
    recipe = _build(Recipe, plain, "")
    if (recipe.head is None) == (recipe.heads is None):
        raise RecipeError("head: expected either head: {name: …} or heads: {NAME: {name: …}, …}, one of the two.")
    if not recipe.parts:
        raise RecipeError("heads: expected at least one head.")
    if recipe.data.sizes and recipe.train.devices == "all":
        raise RecipeError("data.sizes: several GPUs take images of one size; leave it out, or train.devices=gpu.")
    if unknown := recipe.train.loss_weights.keys() - recipe.parts.keys():
        raise RecipeError(f"train.loss_weights: {sorted(unknown)} name no head. {near(min(unknown), recipe.parts)}")
    return recipe


def _build(schema, plain, where):
    known = {f.name: f for f in dataclasses.fields(schema)}
    for key in plain:
        if key not in known:
            shown = [name for name, f in known.items() if not f.metadata.get("hidden")]
            raise RecipeError(f"{where}{key}: unknown key. {near(str(key), shown)}")
    for name, f in known.items():
        if name not in plain and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise RecipeError(f"{where}{name}: missing; {f.metadata['doc']}.")
    return schema(**{name: _value(known[name], value, f"{where}{name}") for name, value in plain.items()})


def _value(f, value, path):
    nested = nested_schema(f)
    if nested is None:
        check_value(path, f.type, value)
    elif isinstance(value, dict):
        return _build(nested, value, f"{path}.")
    elif value is not None or nested is f.type:
        keys = ", ".join(inner.name for inner in dataclasses.fields(nested))
        raise RecipeError(f"{path}: expected keys below it ({keys}), got {value!r}.")
    return value
