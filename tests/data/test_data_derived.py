"""Named label sets, from a source's name for its set to batches; and sources with different classes, mixed."""

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from visiontasks import build
from visiontasks.data.batch import row_of
from visiontasks.data.derived import Mixed, Named, Subset
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data, load_source, load_sources
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.data.transforms import Augment
from visiontasks.errors import BadImage, DataError, RecipeError
from visiontasks.heads.yolo import YOLO
from visiontasks.recipe.reading import check as recipe_of
from visiontasks.sample import FIELDS, Sample

SHAPES = {"source": "shapes", "count": 6, "size": [64, 64]}


def coco(root, categories, boxes=((2, 3, 10, 12),), count=3, crowd=(), value=90):
    """A COCO file of `count` images, each with the boxes, of the categories in turn."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        write_image(root / f"{number}.png", np.full((32, 40, 3), value + number, np.uint8))
    annotations = [
        {
            "id": 100 * image + number,
            "image_id": image,
            "category_id": 1 + number % len(categories),
            "bbox": list(box),
            "iscrowd": int(number in crowd),
        }
        for image in range(count)
        for number, box in enumerate(boxes)
    ]
    data = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 32, "width": 40} for n in range(count)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(categories, 1)],
    }
    (root / "annotations.json").write_text(json.dumps(data))
    return {"source": "coco", "annotations": str(root / "annotations.json"), "images": str(root)}


def twice(sample, name="again"):
    """The Sample with all of its labels a second time, in a named set."""
    return sample.replace(sets={name: sample.labels})


def assert_same_labels(one, other):
    np.testing.assert_array_equal(one.image, other.image)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# transforms move all sets together


@pytest.mark.parametrize(
    "augment",
    [
        [],
        [{"HorizontalFlip": {"p": 1.0}}, {"Affine": {"rotate": [20, 20], "scale": [1.3, 1.3], "p": 1.0}}],
        [{"RandomSizedBBoxSafeCrop": {"height": 40, "width": 48, "p": 1.0}}],
        [{"ColorJitter": {"p": 1.0}}],
        ["SSDCrop"],
        [{"ZoomOut": {"p": 1.0}}, "ScaleJitter"],
        ["Mosaic"],
        [{"MixUp": {"p": 1.0}}],
        [{"CopyPaste": {"p": 1.0}}],
    ],
    ids=lambda augment: "-".join(one if isinstance(one, str) else next(iter(one)) for one in augment) or "place",
)
def test_a_named_set_moves_as_the_unnamed_one_does(augment):
    source = Shapes(4, size=(64, 80))
    augment = Augment(
        augment, (48, 56), "letterbox", {"": source.names["keypoints"], "again": source.names["keypoints"]}
    )
    for seed in range(3):
        alone = augment(source[0], np.random.default_rng(seed), lambda rng: source[1])
        only = augment(
            source[0].of(None).replace(sets={"again": source[0].labels}),
            np.random.default_rng(seed),
            lambda rng: source[1].of(None).replace(sets={"again": source[1].labels}),
        )
        both = augment(twice(source[0]), np.random.default_rng(seed), lambda rng: twice(source[1]))
        assert_same_labels(both.of(""), both.of("again"))
        assert_same_labels(alone, only.of("again"))
        assert only.boxes is only.mask is only.label is None
        if augment.augment != [{"CopyPaste": {"p": 1.0}}]:  # which draws the objects to paste from each set
            assert_same_labels(alone, both.of(""))


def test_masks_and_keypoints_of_several_sets_stay_apart():
    """Sets with other numbers of objects and keypoints, and an image whose sets have different kinds of labels."""
    image, mask = np.zeros((20, 30, 3), np.uint8), np.zeros((20, 30), np.int32)
    mask[:, :10] = 300  # more than 8 bits hold
    first = {"boxes": [[0, 0, 10, 20.0]], "classes": [0], "keypoints": np.float32([[[1, 2, 2], [8, 2, 2]]])}
    second = {"boxes": [[20, 0, 30, 20.0], [0, 0, 10, 10]], "classes": [1, 0], "mask": mask // 300}
    second["keypoints"] = np.float32([[[25, 3, 2]], [[0, 0, 0]]])
    second["instance_masks"] = np.stack([np.pad(np.ones((20, 10)), ((0, 0), (20, 0))), mask > 0]).astype(np.uint8)
    second["instance_masks"][1, 10:] = 0
    sample = Sample(image, mask=mask, sets={"a": first, "b": second, "c": {"label": 2}})
    points = {"a": ("left", "right"), "b": ("nose",)}
    moved = Augment([{"HorizontalFlip": {"p": 1.0}}], (20, 30), points=points)(sample, np.random.default_rng(0))
    assert moved.boxes is None and (moved.mask == mask[:, ::-1]).all()
    a, b = moved.sets["a"], moved.sets["b"]
    assert np.allclose(a.boxes, [[20, 0, 30, 20]]) and a.mask is None and a.instance_masks is None
    assert np.allclose(a.keypoints, [[[22, 2, 2], [29, 2, 2]]])  # left became right
    assert np.allclose(b.boxes, [[0, 0, 10, 20], [20, 0, 30, 10]]) and b.classes.tolist() == [1, 0]
    assert (b.mask == second["mask"][:, ::-1]).all()
    assert np.array_equal(b.instance_masks, second["instance_masks"][..., ::-1])
    assert np.allclose(b.keypoints, [[[5, 3, 2]], [[0, 0, 0]]])
    assert moved.sets["c"].label == 2 and moved.sets["c"].boxes is None


# batches


def test_a_batch_pads_each_set_and_gives_it_back():
    source = Named(Shapes(3, size=(64, 64)), "things")
    assert source.fields == {f"things/{name}" for name in Shapes.fields}
    assert source.names["things/mask"] == Shapes(1).names["mask"] and "mask" not in source.names
    loader = Loader(source, fields=sorted(source.fields), size=(48, 48), batch=4, max_objects=9, workers=0)
    plain = Loader(
        Shapes(3, size=(64, 64)), fields=sorted(Shapes.fields), size=(48, 48), batch=4, max_objects=9, workers=0
    )
    (batch,), (expected,) = loader, plain
    assert batch.keys() == {"image", *(f"things/{name}" for name in expected if name != "image")}
    for name in expected.keys() - {"image"}:
        np.testing.assert_array_equal(batch[f"things/{name}"], expected[name])
        assert batch[f"things/{name}"].dtype == expected[name].dtype
    for row in range(4):
        assert_same_labels(row_of(batch, row).of("things"), row_of(expected, row))
        assert row_of(batch, row).boxes is None
    assert [len(sample.sets["things"].boxes) for _, samples in loader.with_samples() for sample in samples] == [
        len(Shapes(3, size=(64, 64))[i].boxes) for i in range(3)
    ]


def test_a_batch_has_only_the_sets_that_it_is_asked_for():
    """Labels that no head learns from are not moved: they would be the largest cost."""
    source = Mixed([Named(Shapes(2, size=(64, 64)), "a"), Shapes(2, size=(64, 64), seed=1)])
    loader = Loader(source, fields=("a/boxes", "a/classes"), size=(32, 32), batch=4, workers=0)
    (batch,) = loader
    assert batch.keys() == {"image", "a/boxes", "a/classes", "a/known", "a/ignored"}
    assert batch["a/known"].any(axis=1).tolist() == [True, True, False, False]


# sources that name their sets, mixed


def test_two_sources_of_two_vocabularies_in_one_loader(tmp_path):
    cars = coco(tmp_path / "cars", ["car", "bus"], boxes=[(1, 2, 8, 9), (20, 4, 12, 12), (3, 3, 5, 5)], crowd=[2])
    train, val = load_data(
        {"train": [{**cars, "set": "vehicles"}, SHAPES], "val": [{**cars, "set": "vehicles"}]},
        fields=("vehicles/boxes", "vehicles/classes", "boxes", "classes", "mask"),
        size=(64, 64),
        batch=9,
        workers=0,
        augment=[{"HorizontalFlip": {"p": 1.0}}],
    )
    assert len(train.source) == 9 and len(val.source) == 3
    assert train.names["vehicles/classes"] == ("car", "bus") and train.names["classes"] == Shapes(1).names["classes"]
    (batch,) = train
    vehicles = batch["vehicles/known"].all(axis=1)
    assert vehicles.sum() == 3 and (batch["known"].all(axis=1) == ~vehicles).all()
    assert not batch["vehicles/known"][~vehicles].any() and not batch["known"][vehicles].any()
    assert (batch["vehicles/classes"][~vehicles] == -1).all() and (batch["mask"][vehicles] == 255).all()
    assert batch["vehicles/known"].shape == (9, 2) and batch["known"].shape == (9, 6)
    for row in np.flatnonzero(vehicles):
        order = np.argsort(batch["vehicles/classes"][row][:3] + 2 * batch["vehicles/ignored"][row][:3])
        assert batch["vehicles/classes"][row][:3][order].tolist() == [0, 1, 0]
        assert batch["vehicles/ignored"][row][:3][order].tolist() == [False, False, True]
        flipped = batch["vehicles/boxes"][row][:3][order]
        np.testing.assert_allclose(flipped[0], [64 - 9 * 1.6, 4, 64 - 1.6, 22], rtol=1e-5)


def test_several_images_of_a_transform_have_the_same_labels(tmp_path):
    """A mosaic of two data sets would lose the labels of both: what one does not annotate is not background."""
    cars = coco(tmp_path / "cars", ["car", "bus"], count=4)
    train, _ = load_data(
        [{**cars, "set": "vehicles"}, {**SHAPES, "count": 4}],
        fields=("vehicles/boxes", "vehicles/classes", "boxes", "classes"),
        batch=2,
        size=(64, 64),
        split=0.25,
        workers=0,
        augment=["Mosaic"],
    )
    assert len(train.source) == 6
    mixed = train.source
    assert [list(mixed.alike(i)) for i in (0, 5)] == [[0, 1, 2], [3, 4, 5]]
    part = Subset(mixed, [5, 0, 4])
    assert [list(part.alike(i)) for i in range(3)] == [[0, 2], [1], [0, 2]]
    Path(mixed.describe(2)).write_bytes(b"damaged")  # the next image is of the other data set
    for batch in itertools.chain(train, train, train):
        known = np.stack([batch["vehicles/known"].all(axis=1), batch["known"].all(axis=1)])
        assert (known.sum(axis=0) == 1).all()
    assert mixed.describe(2) in str(train.source.report)


def test_without_a_validation_set_each_source_is_split():
    train, val = load_sources([{**SHAPES, "set": "a"}, {**SHAPES, "count": 10, "seed": 1}], (), 0.5, 0)
    assert [len(part) for part in train.sources] == [len(part) for part in val.sources] == [3, 5]
    names = {source.describe(i) for source in (train, val) for i in range(len(source))}
    assert names == {f"shapes/0/{i}" for i in range(6)} | {f"shapes/1/{i}" for i in range(10)}


def test_classes_that_one_of_two_files_lacks_are_not_known_in_its_images(tmp_path):
    """COCO files with other categories in one set: neither lists what it does not annotate."""
    files = [coco(tmp_path / "a", ["cat", "dog"], count=2), coco(tmp_path / "b", ["dog", "emu"], count=2, value=200)]
    boxes = [(2, 3, 10, 12), (20, 3, 10, 12)]
    files[1] = coco(tmp_path / "b", ["dog", "emu"], boxes, count=2, value=200)
    for given in ({}, {"names": ["emu", "cat", "dog"]}):
        source = load_source([{**file, **given} for file in files], "train")
        names = source.names["classes"]
        assert names == tuple(given.get("names", ("cat", "dog", "emu")))
        (batch,) = Loader(source, fields=("boxes", "classes", "tags"), size=(32, 32), batch=4, workers=0)
        for row in range(4):
            listed = {"cat", "dog"} if row < 2 else {"dog", "emu"}
            assert {name for name, known in zip(names, batch["known"][row], strict=True) if known} == listed
            present = {names[number] for number in batch["classes"][row] if number >= 0}
            assert present == ({"cat"} if row < 2 else {"dog", "emu"})
            tags = dict(zip(names, batch["tags"][row], strict=True))
            assert tags == {name: 1 if name in present else 0 if name in listed else -1 for name in names}


@pytest.mark.parametrize("split", ["train", "val"])
def test_tables_that_list_no_classes_know_those_that_occur(tmp_path, split):
    """Unless they are given the names: then all of these were looked for."""
    tables = []
    for number, name in enumerate(("cat", "emu")):
        write_image(tmp_path / f"{number}.png", np.zeros((32, 40, 3), np.uint8))
        path = tmp_path / f"{name}.csv"
        path.write_text(f"file,xmin,ymin,xmax,ymax,class\n{number}.png,1,2,9,8,{name}\n")
        tables.append({"source": "boxes", "path": str(path)})
    names = {"train": None, "val": dict.fromkeys(("classes", "tags", "label"), ("emu", "dog", "cat"))}[split]
    source = load_source(tables, split, names, names and {"classes"})
    cat, emu = (dict(zip(source.names["classes"], source[n].known, strict=True)) for n in range(2))
    assert cat == {"cat": True} | dict.fromkeys(source.names["classes"][:-1] if names else ("emu",), False)
    assert emu["emu"] and not emu["cat"]
    assert dict(zip(source.names["tags"], source[0].tags, strict=True))["emu"] == -1
    given = load_source([{**table, "names": ["cat", "emu"]} for table in tables], "train")
    assert given[0].known is None and given[0].tags.tolist() == [1, 0]


def table(root, name, classes, **arguments):
    """A table of boxes, one of each class, in one image."""
    write_image(root / f"{name}.png", np.full((64, 64, 3), len(name), np.uint8))
    rows = "".join(f"{name}.png,1,2,9,8,{one}\n" for one in classes)
    (root / f"{name}.csv").write_text(f"file,xmin,ymin,xmax,ymax,class\n{rows}")
    return {"source": "boxes", "path": str(root / f"{name}.csv"), **arguments}


def masks(root):
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    write_image(root / "images/0.png", np.zeros((64, 64, 3), np.uint8))
    cv2.imwrite(str(root / "masks/0.png"), np.zeros((64, 64), np.uint8))
    return {"source": "masks", "images": str(root / "images"), "masks": str(root / "masks"), "names": ["ground"]}


@pytest.mark.parametrize("label_set", [None, "a"])
@pytest.mark.parametrize("listed", [False, True])
def test_what_a_validation_set_knows_depends_on_the_training_set_alone(tmp_path, listed, label_set):
    """In training and in `evaluate`, as one source or a list, in a named set or not: the names and what is known."""
    given = {"set": label_set} if label_set else {}
    both, cats, emus, again = (
        table(tmp_path, name, classes, **given)
        for name, classes in (("both", ["cat", "emu"]), ("c", ["cat"]), ("e", ["emu"]), ("more", ["emu", "cat"]))
    )
    other = {**cats, "set": "b"} if label_set else {**cats, "set": "a"}
    val = table(tmp_path, "validation", ["emu"], **given)
    field = f"{label_set}/known" if label_set else "known"
    for train, known in (
        (both, True),
        ([both], True),
        ([both, other], True),
        ([both, masks(tmp_path)], True),
        ([both, {**again, "names": ["cat", "emu"]}], True),
        ([cats, emus], False),
    ):
        plain = {"backbone": {"name": "lenet5"}, "head": {"name": "yolo", "levels": ["C2"], "learns": label_set}}
        data = {"train": train, "val": [val] if listed else val, "size": [64, 64], "batch": 1, "workers": 0}
        recipe = recipe_of({**plain, "data": data})
        head = YOLO(("cat", "emu"), levels=["C2"], learns=label_set)
        for loader in (build.loaders(recipe)[1], build.validation(recipe, [head])):
            batch = next(iter(loader))
            assert batch[field].tolist() == [[known, True]], train
            assert batch[field.replace("known", "classes")][0, 0] == 1
    # as a Source too
    trained, scored = load_sources({"train": load_source([cats, emus], "train"), "val": val}, (), 0.2, 0)
    assert trained.partial == scored.partial == {field.replace("known", name) for name in ("classes", "tags")}
    named = {**val, "names": ["cat", "emu"]}
    assert load_sources({"train": [cats, emus], "val": [named] if listed else named}, (), 0.2, 0)[1].partial == set()
    if label_set:  # a head without `learns` takes the only set
        recipe = recipe_of({**plain, "head": {**plain["head"], "learns": None}, "data": data})
        batch = next(iter(build.validation(recipe, [YOLO(("cat", "emu"), levels=["C2"])])))
        assert batch[field].tolist() == [[False, True]]


def test_tags_of_one_table_are_not_labeled_in_the_other(tmp_path):
    tables = []
    for number, tags in enumerate(("red;round", "round;soft")):
        write_image(tmp_path / f"{number}.png", np.zeros((32, 40, 3), np.uint8))
        (tmp_path / f"{number}.csv").write_text(f"file,tags\n{number}.png,{tags}\n")
        tables.append({"source": "csv", "path": str(tmp_path / f"{number}.csv")})
    source = load_source(tables, "train")
    assert source.names["tags"] == ("red", "round", "soft")
    assert [source[n].tags.tolist() for n in range(2)] == [[1, 1, -1], [-1, 1, 1]]


def test_what_a_source_skips_is_in_the_mixed_one_s_report(tmp_path):
    cars = coco(tmp_path / "cars", ["car"], boxes=[(2, 3, 10, 12), (2, 3, 0, 12)])
    source = load_source([{**cars, "set": "vehicles"}, SHAPES], "train")
    assert source.report.count("box without extent, skipped") == 3
    (tmp_path / "cars/1.png").write_bytes(b"broken")
    loader = Loader(source, fields=("vehicles/boxes", "vehicles/classes"), size=(32, 32), batch=9, workers=1)
    with pytest.raises(BadImage):
        source[1]
    assert sum(len(samples) for _, samples in loader.with_samples()) == 8
    assert any(note.skipped and "1.png" in note.name for note in source.report.fresh())


class Noted(Shapes):
    """Notes each image that it reads."""

    def __getitem__(self, index):
        self.report.noted("read", self.describe(index))
        return super().__getitem__(index)


def test_mixtures_of_mixtures_share_a_report():
    source = Mixed([Mixed([Named(Noted(2), "a")]), Noted(2, seed=1)])
    assert [source[i].sets.keys() for i in (0, 2)] == [{"a"}, set()]
    assert source.report.count("read") == 2


def test_the_sets_of_a_split_mixture_share_a_report():
    train, val = load_sources([Noted(4, size=(32, 32)), Noted(4, size=(32, 32), seed=1)], (), 0.5, 0)
    for loader in (Loader(part, fields=("label",), size=(32, 32), batch=2, workers=0) for part in (train, val)):
        list(loader)
    assert train.report.count("read") == val.report.count("read") == 8


def test_worker_processes_read_mixed_sources(tmp_path):
    cars = coco(tmp_path / "cars", ["car"], boxes=[(2, 3, 10, 12), (2, 3, 0, 12)])
    source = load_source([{**cars, "set": "vehicles"}, SHAPES], "train")
    settings = dict(fields=("vehicles/boxes", "vehicles/classes", "mask"), size=(32, 32), batch=5)
    loader = Loader(source, workers=1, worker_kind="processes", **settings)
    for one, other in zip(loader, Loader(source, workers=0, **settings), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    loader.close()


def test_results_are_those_of_the_named_source(tmp_path):
    source = load_source({**coco(tmp_path / "cars", ["car", "bus"]), "set": "vehicles"}, "train")
    detections = {"boxes": np.float32([[1, 2, 4, 6]]), "scores": np.float32([0.5]), "classes": np.int32([1])}
    result = {"image_id": 0, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}
    assert source.results(source[0].of("vehicles"), detections) == [result]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({**SHAPES, "set": ""}, r"train\.set: expected a name without /, got ''"),
        ({**SHAPES, "set": "a/b"}, r"train\.set: expected a name without /, got 'a/b'"),
        ({**SHAPES, "set": 3}, r"train\.set: .* got 3"),
        ([], "train: expected .* got \\[\\]"),
        ([SHAPES, {**SHAPES, "cuont": 3}], r"train\[1\]\.cuont: .*count"),
        ([SHAPES, {"count": 3}], r"train\[1\]: expected"),
    ],
)
def test_what_is_no_source_is_an_error_with_its_place(data, text):
    with pytest.raises(RecipeError, match=text):
        load_source(data, "train")


def test_sources_of_one_set_have_the_same_names():
    other = Shapes(2)
    other.names = {**other.names, "mask": ("sky", "sea")}
    with pytest.raises(DataError, match="'mask'.*sea.*set=NAME"):
        Mixed([Shapes(2), other])
    mixed = Mixed([Shapes(2), Named(other, "b")])
    with pytest.raises(DataError, match="set: expected a source whose label sets have no name"):
        Named(mixed, "c")
    assert mixed.names["b/mask"] == ("sky", "sea")
    with pytest.raises(IndexError):
        mixed[4]
    with pytest.raises(RecipeError, match="a Sample has no field 'b/boxs'"):
        Loader(mixed, fields=("b/boxs",))
