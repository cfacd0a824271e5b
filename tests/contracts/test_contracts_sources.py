"""What every source must do. A new one gives, in EXAMPLES, how to write a small data set that it reads."""

import pickle

import numpy as np
import pytest

from visiontasks import catalog
from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.pipeline import Loader
from visiontasks.errors import DataError
from visiontasks.sample import FIELDS, VOID

# test_data_tfds.py prepares a set of its own, with TensorFlow; digits has the pictures it has: test_data_digits.py
ELSEWHERE = {"tfds", "digits"}


def write(path, height=20, width=24, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def folder(root):
    for number, name in enumerate(("cat/a.png", "cat/b é.jpg", "dog/a.png", "dog/deep/c.png")):
        write(root / name, 20 + number, seed=number)
    return {"root": str(root)}


def masks(root):
    for number in range(4):
        write(root / f"images/{number}.png", seed=number)
        mask = np.full((20, 24), number % 3)
        mask[0, 0] = VOID
        (root / "masks").mkdir(exist_ok=True)
        write_image(root / f"masks/{number}.png", mask.astype(np.uint8))
    return {"images": str(root / "images"), "masks": str(root / "masks")}


def csv(root):
    for number in range(4):
        write(root / f"{number}.png", seed=number)
    (root / "tags.csv").write_text("file,tags\n0.png,red;round\n1.png,\n2.png,red\n3.png,round\n")
    return {"path": str(root / "tags.csv")}


def pictures(root):
    for number in range(4):
        write(root / f"{number}.png", seed=number)
    return {"files": str(root)}


EXAMPLES = {"folder": folder, "masks": masks, "csv": csv, "pictures": pictures, "shapes": lambda root: {"count": 4}}
NAMES = sorted(catalog.parts("data/sources").keys() - ELSEWHERE)


@pytest.fixture
def made(name, tmp_path):
    part = catalog.find("data/sources", name)
    assert name in EXAMPLES, f"{name}: add to EXAMPLES a function that writes a small data set and returns arguments"
    arguments = EXAMPLES[name](tmp_path)
    catalog.check_arguments(part, arguments, name)  # a recipe could say them
    return part.load()(**arguments)


def equal(a, b):
    for field in ("image", *FIELDS):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert (a.id, a.path) == (b.id, b.path)


@pytest.mark.parametrize("name", NAMES)
def test_samples_carry_what_the_source_declares(made, name):
    assert len(made) == 4
    for index in range(len(made)):
        sample = made[index]
        carried = {field for field in FIELDS if getattr(sample, field) is not None}
        assert carried == made.fields
        for field in carried & {"label", "classes", "mask"}:
            values = np.ravel(getattr(sample, field))
            assert values.min() >= 0 and values[values != VOID].max(initial=0) < len(made.names[field])
        if "tags" in carried:
            assert len(sample.tags) == len(made.names["tags"])
        if "keypoints" in carried:
            assert sample.keypoints.shape[1] == len(made.names["keypoints"])


@pytest.mark.parametrize("name", NAMES)
def test_reading_again_and_in_another_process_gives_the_same(made, name):
    copy = pickle.loads(pickle.dumps(made))
    assert copy.names == made.names and len(copy) == len(made)
    for index in range(len(made)):
        equal(made[index], made[index])
        equal(made[index], copy[index])


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_has_a_description_of_its_own(made, name):
    assert len({made.describe(index) for index in range(len(made))}) == len(made)
    with pytest.raises(IndexError):
        made[len(made)]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_its_layout_is_recognised(made, name, tmp_path):
    if made.LAYOUT is None:
        assert type(made).recognise(tmp_path) is None
        return
    parts, _ = detect(tmp_path, wanted=made.fields)
    assert parts["train"]["source"] == name
    again = catalog.find("data/sources", name).load()(**{k: v for k, v in parts["train"].items() if k != "source"})
    assert [again.describe(i) for i in range(len(again))] == [made.describe(i) for i in range(len(made))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_a_loader_makes_batches_of_it(made, name, training):
    loader = Loader(made, fields=tuple(made.fields), size=(32, 40), batch=2, training=training, workers=0)
    batches = list(loader)
    assert len(batches) == 2
    for batch in batches:
        assert batch["image"].shape == (2, 32, 40, 3) and batch.keys() == {"image", *made.fields}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_an_error_that_names_it(name, tmp_path):
    places = [a.name for a in catalog.find("data/sources", name).arguments if a.annotation == "str"]
    if not places:
        pytest.skip("reads no files")
    with pytest.raises(DataError, match="gone"):
        catalog.find("data/sources", name).load()(**{place: str(tmp_path / "gone") for place in places})
