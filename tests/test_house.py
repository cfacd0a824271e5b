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
    {"help", "standard_streams"},
    {"api", "dry_run", "memory_advice", "precision", "runs"},
    {"initializing", "run_files", "step_memory"},
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
    "standard_streams",
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


# what writes a file, however it is called; `open` and the like with a mode that writes come to these
WRITERS = {"write_text", "write_bytes", "imwrite", "savefig", "save", "savez", "savez_compressed", "tofile", "to_csv"}
WRITERS |= {
    "dump",
    "touch",
    "VideoWriter",
    "create_file_writer",
    "save_weights",
    "symlink_to",
    "export",
    "extract",
    "print_png",
}
# of tempfile, where they are given a folder: what a kill leaves there has no name that anything removes
TEMPORARY = {"mkdtemp", "mkstemp", "TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile"}
MODULES = {("os", "replace"), ("os", "rename"), ("shutil", "copy"), ("shutil", "copyfile"), ("shutil", "copytree")}
MODULES |= {("shutil", "move")}
# the others write to a path that `writing` has given them
DIRECT = {
    "writing.py": "the one that does it",
    "training/generations.py:_write": "to the path of replace_atomically",
    "training/metrics_log.py:_write": "to the path of replace_atomically",
    "retrieval/features.py:save": "to the path that its caller gives: of replace_atomically in the command",
    "evaluation/results.py:__init__": "Records write piece by piece to writing.temporary_of",
    "evaluation/results.py:_finish_what_is_there": "the same file",
    "train.py:_load_weights": "to the folder of writing.temporary_folder",
    "data/video.py:__init__": "encoders write frame by frame to writing.temporary_of",
    "training/events.py:_scalars": "TensorBoard's format: each record has its checksum, and readers stop at a torn one",
    "training/run_directory.py:create": "an empty mark in a folder that has just been made",
    "training/run_directory.py:hold": "the lock, which is empty",
    "model.py:export": "Keras's: a folder at a path that the caller gives, and no command's result",
}


def writes(tree):
    """(name of the function, line) of each call that writes a file, but for those to replace_atomically's path."""

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Call):
            owner = getattr(getattr(node.func, "value", None), "id", "")
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "replace_atomically":
                return
            own = owner == "writing" or isinstance(node.func, ast.Name)  # those of writing.py have these names too
            modes = [
                a.value for a in [*node.args[:2], *(k.value for k in node.keywords)] if isinstance(a, ast.Constant)
            ]
            opens = name in ("open", "ZipFile", "fdopen") and any(
                re.fullmatch("[rwaxbt+]*[wax+][bt]*", str(m)) for m in modes
            )
            used = name in WRITERS and not own and (node.args or name == "touch")
            used = used or name in TEMPORARY and any(k.arg == "dir" for k in node.keywords)
            if opens or used or (owner, name) in MODULES:
                yield function, node.lineno
        for child in ast.iter_child_nodes(node):
            yield from visit(child, function)

    return visit(tree, "")


def test_files_are_written_in_one_place():
    """Whole or not at all: see writing.py."""
    found = {}
    for path in FILES:
        inside = path.relative_to(PACKAGE).as_posix()
        for function, line in writes(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(inside if inside in DIRECT else f"{inside}:{function}", line)
    assert not found.keys() - DIRECT.keys(), {key: line for key, line in found.items() if key not in DIRECT}
    assert not DIRECT.keys() - found.keys(), "no exception any more"


@pytest.mark.parametrize(
    "code",
    [
        "open(p, 'w')",
        "p.open('ab')",
        "p.write_text(t)",
        "np.save(p, a)",
        "json.dump(v, f)",
        "shutil.copy(a, b)",
        "p.touch()",
    ]
    + ["open(p, mode='x')", "figure.savefig(p)", "cv2.imwrite(p, a)", "os.replace(a, b)", "ZipFile(p, 'w')"]
    + ["archive.extract(n, p)", "tempfile.TemporaryDirectory(dir=p)"],
)
def test_a_call_that_writes_is_seen(code):
    assert [*writes(ast.parse(f"def f():\n    {code}"))] == [("f", 2)]
    assert not [*writes(ast.parse(f"replace_atomically(p, lambda path: {code})"))]


@pytest.mark.parametrize(
    "code",
    ["open(p)", "open(p, 'rb')", "a.copy()", "text.replace('a', 'w')", "state.save(wait=True)", "mkdtemp(prefix=n)"],
)
def test_a_call_that_does_not_write_is_none(code):
    assert not [*writes(ast.parse(code))]
