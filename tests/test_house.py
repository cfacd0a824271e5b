"""The house: imports run down the floors, without circles; the data layer knows no Keras. Read off the AST."""

import ast
import re
from pathlib import Path

import pytest

from visiontasks.recipe import schema
from visiontasks.registry import catalog

PACKAGE = Path(__file__).resolve().parents[1] / "visiontasks"
FILES = sorted(PACKAGE.rglob("*.py"))

# from the top down: a room imports only those below it; rooms on one floor keep apart
HOUSE = [
    {"__main__", "__init__"},
    {"check", "train", "evaluate", "predict", "embed"},
    {"cli"},
    {"help"},
    {"api", "precision", "runs"},
    {"initializing", "run_files"},
    {"build"},
    {"recipe"},
    {"training"},
    {"evaluation"},
    {"retrieval"},
    {"inference"},
    {"explain"},
    {"drawing"},
    {"model_loading", "model_transfer"},
    {"model"},
    {"model_statistics"},
    {"model_arrays", "model_export", "model_folding", "model_sizes"},
    {"model_validation"},
    {"heads", "backbones"},
    {"losses", "layers"},
    {"weights"},
    {"data"},
    {"ops"},
    {"registry", "preprocess", "signals", "keras_backend"},
    {"geometry", "taps"},
    {"sample", "arguments", "writing"},
    {"errors", "instance_masks", "skeleton"},
    {"mask_shapes"},
    {"run_lengths"},
    {"polygons"},
]
DEPTH = {room: depth for depth, rooms in enumerate(HOUSE) for room in rooms}
# of these, only the pairs below see each other
APART = {"drawing", "heads", "backbones", "losses", "layers", "weights", "data"}
NEIGHBORS = {("heads", "losses"), ("heads", "layers"), ("backbones", "layers"), ("backbones", "weights")}
NETWORK = {"model", "model_arrays", "model_export", "model_folding", "model_sizes", "model_statistics"}
NETWORK |= {"model_validation"}
HOST = {"data", "evaluation", "inference", "drawing", "recipe", "registry", "preprocess", "keras_backend"}
HOST |= {
    "writing",
    "sample",
    "geometry",
    "arguments",
    "errors",
    "instance_masks",
    "mask_shapes",
    "polygons",
    "run_lengths",
    "skeleton",
}
FRAMEWORKS = {"keras", "tensorflow", "jax", "torch", "keras_hub", "keras_cv"}


def room(path):
    inside = path.relative_to(PACKAGE)
    # a folder's __main__ is a command, wherever it lies
    return inside.parts[0] if len(inside.parts) > 1 and inside.stem != "__main__" else inside.stem


def imported(path, top_level_only=False):
    """Dotted names that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            if node.module.split(".")[0] == "visiontasks":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(path):
    """The rooms of this package that a file imports."""
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "visiontasks" and len(parts) > 1 and parts[1] in DEPTH:
            yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_the_floors(path):
    here = room(path)
    assert here in DEPTH, f"{here}: which floor is it on?"
    for other in {*rooms_of(path)} - {here}:
        assert DEPTH[other] > DEPTH[here], f"{path}: {here} imports {other}, which is not below it"
        assert other != "data" or here not in NETWORK, f"{path}: {here} imports data; only build sees both"
        assert not {here, other} <= APART or (here, other) in NEIGHBORS, f"{path}: {here} imports {other}"


def test_no_circles():
    edges = {}
    modules = {".".join(("visiontasks", *p.relative_to(PACKAGE).with_suffix("").parts)): p for p in FILES}
    for module, path in modules.items():
        edges[module] = {name for name in imported(path, top_level_only=True) if name in modules}
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " → ".join([*open_[open_.index(module) :], module])
        if module not in done:
            open_.append(module)
            for other in edges[module]:
                visit(other)
            done.add(open_.pop())

    for module in modules:
        visit(module)


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in HOST], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_host_side_imports_no_framework(path):
    assert not {name.split(".")[0] for name in imported(path)} & FRAMEWORKS


@pytest.mark.parametrize("path", [p for p in FILES if room(p) in {"heads", "losses", "layers"}], ids=lambda p: p.stem)
def test_heads_losses_and_layers_know_keras_alone(path):
    assert not {name.split(".")[0] for name in imported(path)} & (FRAMEWORKS - {"keras"})
    assert "import numpy" not in path.read_text(encoding="utf-8")


def test_there_is_no_utils():
    assert not [p for p in FILES if p.stem in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_every_file_says_what_it_knows(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if tree.body:
        assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_") and node.name != "main":
            assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


def _recipe_words():
    """The keys of a recipe with their sections, and the parts' arguments with the keys of the parts."""
    words = {key for key, *_ in schema.documented_keys() if "." in key}
    for section, folder in (("backbone", "backbones"), ("head", "heads"), ("train", "data/sources")):
        words |= {f"{section}.{a.name}" for part in catalog.parts(folder).values() for a in part.arguments}
    return words | {"backbone.name", "head.name", "train.source", "val.source"}


RECIPE_WORDS = _recipe_words()


@pytest.mark.parametrize(
    "path", [p for p in FILES if DEPTH[room(p)] > DEPTH["recipe"]], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_rooms_below_the_recipe_say_none_of_its_paths(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docstrings]
    words = {word for text in texts if isinstance(text, str) for word in re.findall(r"\b[a-z]+\.[a-z_]+", text)}
    assert not words & RECIPE_WORDS


@pytest.mark.parametrize(
    "path", [p for p in FILES if DEPTH[room(p)] > DEPTH["recipe"]], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_errors_of_lower_rooms_carry_their_argument_apart_from_the_text(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UserError", "DataError", "RecipeError"):
            start = ast.unparse(node.args[0])
            assert not re.match(r"""f?["'][a-z_]+(\.\w+)?: """, start), f"{path}:{node.lineno}: {start}"
