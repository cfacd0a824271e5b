"""The house: imports run down the floors, without circles; the data layer knows no Keras. Read off the AST."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "visiontasks"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    1: {"errors", "arguments", "sample", "geometry", "recipe", "ops", "signals", "taps"},
    2: {"data", "heads", "backbones", "losses", "layers", "weights", "drawing"},
    3: {"model", "model_arrays", "model_export", "model_sizes", "inference", "evaluation", "training"},
    4: {"build", "api"},
    5: {"cli", "help", "train", "evaluate", "predict", "__main__", "__init__"},
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
# who may see whom on floor 2: everything else there keeps apart
NEIGHBOURS = {
    ("heads", "losses"),
    ("heads", "layers"),
    ("backbones", "layers"),
    ("backbones", "weights"),
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


def own(path):
    """The rooms of this package that a file imports."""
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "visiontasks" and len(parts) > 1 and parts[1] in FLOOR:
            yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_down_the_floors(path):
    here = room(path)
    assert here in FLOOR, f"{here}: which floor is it on?"
    for there in own(path):
        if there == here:
            continue
        down = FLOOR[there] < FLOOR[here]
        beside = FLOOR[there] == FLOOR[here] and (FLOOR[here] != 2 or (here, there) in NEIGHBOURS)
        assert down or beside, f"{path}: {here} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]})"


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


@pytest.mark.parametrize(
    "path",
    [
        p
        for p in FILES
        if room(p)
        in {"data", "evaluation", "inference", "drawing", "sample", "geometry", "recipe", "arguments", "errors"}
    ],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
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
