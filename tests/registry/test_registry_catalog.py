"""The catalog: what parts there are and what they take, read off their files as Python would see it, without Keras."""

import importlib
import re
import subprocess
import sys

import pytest

from visiontasks.arguments import Checked, check
from visiontasks.errors import RecipeError
from visiontasks.registry import catalog, syntax

THREE_LINES = """from visiontasks.heads.rcnn import RCNN
class SilhouetteRCNN(RCNN):
    fields = (*RCNN.fields, "instance_masks")
"""
WITH_ARGUMENTS = '''"""A head whose needs depend on its arguments."""
from visiontasks.arguments import Count
from visiontasks.heads.rcnn import RCNN

class PoseRCNN(RCNN):
    """Boxes, and what else is asked for."""

    fields_with = {"points": ("keypoints",), "mask": ("instance_masks",)}

    def __init__(self, classes, points: Count | None = None, mask: bool = True, **kwargs):
        super().__init__(classes, bins=5, **kwargs)
'''


@pytest.fixture
def heads(tmp_path, monkeypatch):
    """A folder more of heads, found as the package's own are."""
    import visiontasks.heads

    (tmp_path / "silhouette_rcnn.py").write_text(THREE_LINES)
    (tmp_path / "pose_rcnn.py").write_text(WITH_ARGUMENTS)
    monkeypatch.setattr(visiontasks.heads, "__path__", [*visiontasks.heads.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    catalog.parts.cache_clear()
    yield tmp_path
    catalog.parts.cache_clear()
    for name in ("silhouette_rcnn", "pose_rcnn"):
        syntax.module.cache_clear()
        sys.modules.pop(f"visiontasks.heads.{name}", None)


def test_a_head_of_three_lines_is_a_part_like_its_base(heads):
    part, base = catalog.find("heads", "silhouette_rcnn"), catalog.find("heads", "rcnn")
    assert part.arguments == base.arguments and part.task({}) == "detection" and part.any_size
    assert part.fields({}) == (*base.fields({}), "instance_masks")
    with pytest.raises(RecipeError, match=r"^head.overlap: expected a share from 0 to below 1, got 2\.$"):
        catalog.check_arguments(part, {"overlap": 2}, "head")


def test_what_a_head_needs_and_takes_follows_its_arguments(heads):
    part = catalog.find("heads", "pose_rcnn")
    assert part.fields({}) == ("classes", "boxes", "instance_masks")
    assert part.fields({"points": 17, "mask": False}) == ("classes", "boxes", "keypoints")
    assert part.fields({"mask": False, "learns": "people"}) == ("people/classes", "people/boxes")
    names = [a.name for a in part.arguments]
    assert names[:3] == ["classes", "points", "mask"] and {"filters", "learns"} <= set(names)
    assert [a.name for a in part.arguments if a.shared] == ["classes", "learns"]  # stated by the contract, for all
    assert "bins" not in names and "name" not in names  # filled in by the class; in a recipe the part's own


def test_such_heads_work_in_a_recipe_in_help_and_through_saving(heads, tmp_path):
    import fakes
    import keras
    import numpy as np
    from families import NARROW

    from visiontasks import build, help
    from visiontasks.model import VisionModel
    from visiontasks.recipe.reading import check as recipe_of

    plain = {"backbone": {"name": "unet_encoder"}, "head": {"name": "silhouette_rcnn", "classes": 2}}
    plain |= {"data": {"train": {"source": "shapes"}}}
    recipe = recipe_of(plain)
    build.check(recipe)
    assert build.fields(recipe) == ("classes", "boxes", "instance_masks")
    assert "silhouette_rcnn" in help.page("heads")
    assert re.search(r"proposal_candidates +a whole number of at least 1; default 1000", help.page("silhouette_rcnn"))
    for name, arguments in (("silhouette_rcnn", {}), ("pose_rcnn", {"points": 17})):
        part = catalog.find("heads", name)
        small = {key: value for key, value in NARROW["rcnn"].items() if key in {a.name for a in part.arguments}}
        head = part.load()(fakes.CLASSES, **{**small, **arguments})
        assert (head.name, head.fields) == (name, part.fields(arguments))
        model = VisionModel(fakes.backbone((32, 32)), head)
        model.save(tmp_path / "m.keras")
        again = keras.saving.load_model(tmp_path / "m.keras")
        (loaded,) = again.heads.values()
        assert type(loaded) is type(head) and loaded.get_config() == head.get_config()
        images = fakes.images()["image"]
        before, after = (m.predict(images, verbose=0) for m in (model, again))
        for key in before:
            np.testing.assert_array_equal(before[key], after[key])


def test_such_a_head_takes_the_class_names_of_the_set_that_it_learns_from(heads, tmp_path):
    """Boxes alone are in the set without a name; boxes with masks in another: data and names are the latter's."""
    import numpy as np
    from families import NARROW

    from visiontasks import build
    from visiontasks.data.images import write_image
    from visiontasks.recipe.reading import check as recipe_of

    write_image(tmp_path / "0.png", np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax,class\n0.png,1,2,9,8,cell\n")
    both = [
        {"source": "boxes", "path": str(tmp_path / "boxes.csv")},
        {"source": "shapes", "count": 4, "size": [64, 64], "set": "b"},
    ]
    small = {key: value for key, value in NARROW["rcnn"].items() if key != "anchor_samples"}
    plain = {"backbone": {"name": "unet_encoder", "filters": 8}, "head": {"name": "silhouette_rcnn", **small}}
    recipe = recipe_of({**plain, "data": {"train": both, "val": both, "size": [64, 64], "batch": 2}})
    train, _ = build.loaders(recipe)
    assert train.fields == ("b/classes", "b/boxes", "b/instance_masks")
    model = build.model(recipe, train)
    (head,) = model.heads.values()
    assert head.classes == train.source.names["b/classes"] != train.source.names["classes"] == ("cell",)
    assert build.validation(recipe, [head]).fields == train.fields


@pytest.mark.parametrize("folder", catalog.FOLDERS)
def test_signatures_are_what_python_sees(folder):
    import inspect

    for name, part in catalog.parts(folder).items():
        if name == "hub":
            continue
        made = getattr(importlib.import_module(part.module), part.symbol)
        stated = inspect.signature(made).parameters
        for argument in part.arguments:
            if argument.name in stated:  # the others are handed on to a base
                default = stated[argument.name].default
                assert argument.default == (syntax.REQUIRED if default is inspect.Parameter.empty else default)
                assert argument.type == arguments_type(stated[argument.name].annotation)
        missing = {n for n, p in stated.items() if p.kind is p.POSITIONAL_OR_KEYWORD} - {a.name for a in part.arguments}
        assert missing <= {"name", *([next(iter(stated))] if part.variant is not None else [])}, (name, missing)


def arguments_type(annotation):
    import inspect
    from typing import Any

    from visiontasks.arguments import describe

    return describe(Any if annotation is inspect.Parameter.empty else annotation)


@pytest.mark.parametrize("folder", [*catalog.FOLDERS, "training/schedules"])
def test_every_default_fits_its_own_annotation(folder):
    parts = catalog.functions(folder) if folder == "training/schedules" else catalog.parts(folder)
    for part in parts.values():
        for argument in part.arguments:
            if argument.default is not syntax.REQUIRED:
                check(f"{part.name}.{argument.name}", argument.annotation, argument.default)


@pytest.mark.parametrize(
    ("symbol", "given"),
    [
        ("RetinaNet", {"score_threshold": 5}),
        ("RetinaNet", {"alpha": -3}),
        ("RetinaNet", {"levels": ["conv1"]}),
        ("Classifier", {"pooling": "average"}),
        ("Classifier", {"hidden": [0]}),
        ("UNet", {"loss": {"dyce": 1.0}}),
        ("YOLO", {"bins": 1}),
        ("YOLO", {"variant": "small"}),
        ("YOLOV1", {"filters": []}),
        ("SSD", {"extra": ["half", "third"]}),
        ("RCNN", {"learns": 3}),
    ],
)
def test_a_value_out_of_bounds_has_one_text_in_a_recipe_and_from_python(symbol, given):
    from visiontasks import heads

    part = next(part for part in catalog.parts("heads").values() if part.symbol == symbol)
    ((key, _),) = given.items()
    with pytest.raises(ValueError, match=f"^{key}: expected") as python:
        getattr(heads, symbol)(3, **given)
    with pytest.raises(RecipeError) as recipe:
        catalog.check_arguments(part, {"classes": 3, **given}, "head")
    assert str(recipe.value) == f"head.{python.value}" and "\n" not in str(python.value)


@pytest.mark.parametrize(
    ("folder", "name", "given"),
    [
        ("backbones", "resnet18", {"drop_connect": 1.0}),
        ("backbones", "resnet18", {"input_shape": [32, 32, 1]}),
        ("backbones", "resnet18", {"norm": "batchh"}),
        ("backbones", "unet_encoder", {"depth": 11}),
        ("data/augment", "mosaic", {"scale": [0.5, 0.4]}),
        ("data/augment", "copy_paste", {"p": 1.5}),
        ("data/sources", "shapes", {"count": "many"}),
    ],
)
def test_so_have_backbones_transforms_and_sources(folder, name, given):
    part, ((key, _),) = catalog.find(folder, name), given.items()
    with pytest.raises(ValueError, match=f"^{key}: expected") as python:
        part.load()(**given)
    with pytest.raises(RecipeError) as recipe:
        catalog.check_arguments(part, given, "here")
    assert str(recipe.value) == f"here.{python.value}"


def test_reading_a_file_imports_no_framework(tmp_path):
    code = (
        "import sys; from visiontasks.registry import catalog\n"
        "for folder in catalog.FOLDERS: [[a.type for a in p.arguments] for p in catalog.parts(folder).values()]\n"
        "catalog.optimizer('adamw'); catalog.functions('training/schedules')\n"
        "print([m for m in ('keras', 'tensorflow', 'numpy', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_expressions_are_evaluated_where_they_stand():
    file = syntax.Module(
        "visiontasks.x",
        "import math\nimport numpy as np\nfrom typing import Literal\n"
        "from visiontasks.layers.normalization import Norm\nfrom visiontasks.layers import csp\n"
        "A = 2\nB = A * math.pi\nclass C:\n    at = (A, 1)\n    later: int = 3\n"
        "class D(C, np.Thing):\n    more = (*C.at, 5)\n"
        "def f(a: Norm, b: csp.Variant = 'n', c=B, d: np.ndarray = np.zeros(3), e: 'list' = None): ...\n",
    )
    assert file["B"] == 2 * 3.141592653589793
    assert file["D"].more == (2, 1, 5) and file["D"].at == (2, 1) and file["D"].later == 3
    a, b, c, d, e = file.signature(file.nodes["f"])
    assert a.type == "one of batch, group, layer, instance, frozen_batch" and a.default is syntax.REQUIRED
    assert (b.type, b.default) == ("one of n, s, m, l, x", "n") and c.default == file["B"]
    assert (d.type, d.default) == ("anything", "np.zeros(3)")
    with pytest.raises(AttributeError, match="D has no task"):
        _ = file["D"].task


def test_an_optimizer_takes_what_its_defaults_are_like():
    part = catalog.optimizer("sgd")
    for given in (
        {"learning_rate": 0},
        {"learning_rate": -1.0},
        {"learning_rate": float("nan")},
        {"learning_rate": [1e-3]},
        {"learning_rate": "fast"},
        {"momentum": "much"},
        {"nesterov": 1},
        {"weight_decay": -1},
    ):
        with pytest.raises(RecipeError, match=rf"^train.optimizer.{next(iter(given))}: expected "):
            catalog.check_arguments(part, given, "train.optimizer")
    catalog.check_arguments(part, {"learning_rate": 1, "momentum": 0.9, "weight_decay": None}, "train.optimizer")


def test_checked_classes_alone_are_offered():
    """Every class of a folder is one whose constructor checks itself, so that no part is left out by an oversight."""
    for folder in ("heads", "data/sources", "data/augment"):
        assert all(issubclass(part.load(), Checked) for part in catalog.parts(folder).values())
