"""What every source must do. A new one gives, in EXAMPLES, how to write a small data set that it reads."""

import concurrent.futures
import hashlib
import json
import pickle

import forked
import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.pipeline import Loader
from visiontasks.errors import DataError
from visiontasks.evaluation.results import results_folder
from visiontasks.registry import catalog
from visiontasks.sample import FIELDS, SCORING_FIELDS, UNLABELED, VOID

# test_data_tfds.py prepares a set of its own, with TensorFlow; digits has the images it has: test_data_digits.py
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


def listed(root):
    for number in range(5):
        write(root / f"{number}.png", seed=number)
    (root / "train.txt").write_text("0.png cat\n1.png dog\n2.png dog\n3.png cat\n")
    (root / "test.txt").write_text("4.png cat\n")
    return {"list": str(root / "train.txt"), "images": str(root)}


def images(root):
    for number in range(4):
        write(root / f"{number}.png", seed=number)
    return {"files": str(root)}


def boxes(root):
    for number in range(4):
        write(root / f"{number}.png", seed=number)
    (root / "boxes.csv").write_text(
        "file,xmin,ymin,xmax,ymax,class\n0.png,1,2,9,8,cat\n0.png,3,2,9,8,dog\n1.png,,,,,\n2.png,0,0,24,20,dog\n3.png,1,1,2,3,cat\n"
    )
    return {"path": str(root / "boxes.csv")}


def coco(root):
    annotations = [
        {"image_id": 0, "category_id": 7, "bbox": [1, 2, 9, 8], "segmentation": [[1, 2, 10, 2, 10, 10]], "area": 36},
        {"image_id": 2, "category_id": 3, "bbox": [0, 0, 24, 20], "segmentation": [[0, 0, 24, 0, 0, 20]]},
        {"image_id": 3, "category_id": 3, "iscrowd": 1, "segmentation": {"size": [20, 24], "counts": [40, 60, 380]}},
    ]
    annotations[1].update(keypoints=[3, 4, 2, 0, 0, 0], area=200)
    for number, entry in enumerate(annotations):
        entry["id"] = number
    for number in range(4):
        write(root / f"images/train/{number}.png", seed=number)
    data = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 24} for n in range(4)],
        "annotations": annotations,
        "categories": [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog", "keypoints": ["nose", "tail"]}],
    }
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(data))
    return {"annotations": str(root / "annotations/instances_train.json")}


def voc(root):
    (root / "Annotations").mkdir()
    (root / "ImageSets/Main").mkdir(parents=True)
    for number in range(4):
        write(root / f"JPEGImages/{number}.jpg", seed=number)
        box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
        found = f"<object><name>{'dog' if number else 'cat'}</name>{box}</object>" if number != 2 else ""
        size = "<size><width>24</width><height>20</height><depth>3</depth></size>"
        (root / f"Annotations/{number}.xml").write_text(f"<annotation>{size}{found}</annotation>")
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\n3\n")
    return {"root": str(root), "split": "train"}


def yolo(root):
    rows = ["0 0.5 0.5 0.2 0.4\n1 0.1 0.1 0.2 0.2\n", "1 0.5 0.5 1 1\n", "", "0 0.3 0.3 0.1 0.1\n"]
    (root / "labels/train").mkdir(parents=True)
    for number, text in enumerate(rows):
        write(root / f"images/train/{number}.jpg", seed=number)
        (root / f"labels/train/{number}.txt").write_text(text)
    (root / "data.yaml").write_text("train: images/train\nnc: 2\nnames: [cat, dog]\n")
    return {"data": str(root / "data.yaml")}


def points(root):
    lines = ["scorer,,,me,me,me,me", "bodyparts,,,snout,snout,leftear,leftear", "coords,,,x,y,x,y"]
    for number, cells in enumerate(("3.5,4,9,12", ",,,", "1,2,,", "NaN,NaN,20,18.25")):
        write(root / f"labeled-data/video/{number}.png", seed=number)
        lines.append(f"labeled-data,video,{number}.png,{cells}")
    (root / "labeled-data/video/CollectedData_me.csv").write_text("\n".join(lines))
    return {"path": str(root)}


def labelme(root):
    for number in range(4):
        write(root / f"{number}.jpg", seed=number)
        shapes = [{"label": "cat", "shape_type": "polygon", "points": [[1, 2], [9, 2], [9, 12]]}] * (number > 0)
        shapes += [{"label": "dog", "shape_type": "rectangle", "points": [[20, 18], [3, 4]]}] * (number > 1)
        data = {"shapes": shapes, "imagePath": f"{number}.jpg", "imageHeight": 20, "imageWidth": 24}
        (root / f"{number}.json").write_text(json.dumps(data))
    return {"root": str(root)}


def instances(root):
    for number in range(4):
        write(root / f"images/{number}.png", seed=number)
        mask = np.zeros((20, 24), np.uint16)
        mask[2:9, 3 : 5 + number], mask[12:18, 4:20] = 300, 2 * (number > 0)
        (root / "instances").mkdir(exist_ok=True)
        write_image(root / f"instances/{number}.png", mask)
    return {"images": str(root / "images"), "masks": str(root / "instances")}


def mvtec(root):
    for number in range(4):
        write(root / f"train/good/{number}.png", seed=number)
    write(root / "test/good/0.png", seed=4)
    write(root / "test/crack/0.png", seed=5)
    (root / "ground_truth/crack").mkdir(parents=True)
    write_image(root / "ground_truth/crack/0_mask.png", np.uint8(255 * np.eye(20, 24)))
    return {"root": str(root)}


EXAMPLES = {
    "mvtec": mvtec,
    "folder": folder,
    "masks": masks,
    "csv": csv,
    "listed": listed,
    "boxes": boxes,
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "points": points,
    "labelme": labelme,
    "instances": instances,
    "images": images,
    "shapes": lambda root: {"count": 4},
    "defects": lambda root: {"count": 4},
}
NAMES = sorted(catalog.parts("data/sources").keys() - ELSEWHERE)


@pytest.fixture
def made(name, tmp_path):
    part = catalog.find("data/sources", name)
    assert name in EXAMPLES, f"{name}: add to EXAMPLES a function that writes a small data set and returns arguments"
    arguments = EXAMPLES[name](tmp_path)
    catalog.check_arguments(part, arguments, name)  # a recipe could say them
    return part.load()(**arguments)


def equal(a, b):
    for field in ("image", *FIELDS, *SCORING_FIELDS):
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field))
    assert (a.id, a.path) == (b.id, b.path)


@pytest.mark.parametrize("name", NAMES)
def test_samples_carry_what_the_source_declares(made, name):
    assert len(made) == 4
    for index in range(len(made)):
        sample = made[index]
        carried = {field for field in FIELDS if getattr(sample, field) is not None}
        assert carried - {"known", "ignored"} == made.fields
        for field in carried & {"label", "classes", "mask"}:
            values = np.ravel(getattr(sample, field))
            # an image that shows no object, or nothing but ignored regions, has no label, but is labeled with boxes
            ignored = np.zeros(0, bool) if sample.ignored is None else sample.ignored
            nothing = "boxes" in carried and len(sample.boxes) == ignored.sum()
            least = UNLABELED if field == "label" and nothing else 0
            assert values.min(initial=VOID) >= least and values[values != VOID].max(initial=0) < len(made.names[field])
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
        assert type(made).recognize(tmp_path) is None
        return
    parts, _ = detect(tmp_path, wanted=made.fields)
    assert parts["train"]["source"] == name
    again = catalog.find("data/sources", name).load()(**{k: v for k, v in parts["train"].items() if k != "source"})
    assert [again.describe(i) for i in range(len(again))] == [made.describe(i) for i in range(len(made))]


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - {"shapes", "defects"}))
def test_results_within_a_data_set_are_never_read_as_data(name, tmp_path):
    """Training, predicting and evaluating in the folder of the data itself, then all of it a second time."""
    make, arguments = catalog.find("data/sources", name).load(), EXAMPLES[name](tmp_path)
    made = make(**arguments)
    detected = detect(tmp_path, made.fields) if made.LAYOUT else None
    for results, files in {
        "runs/unet_seg/2026": ["recipe.yaml", "metrics.csv", "evaluation.json", "predictions/worst_00_a.jpg"],
        "predictions": ["predictions.json", "a.png", "b_mask.png"],
        "evaluations/imagenet": ["evaluation.json", "coco_results.json", "confusion.png", "predictions/worst_00_a.jpg"],
    }.items():
        folder = results_folder(str(tmp_path / results), tmp_path)
        for file in files:
            write(folder / file) if file.endswith((".png", ".jpg")) else (folder / file).write_text("{}")
    if detected:
        assert detect(tmp_path, made.fields) == detected
    again = make(**arguments)
    assert [again.describe(i) for i in range(len(again))] == [made.describe(i) for i in range(len(made))]
    assert again.names == made.names


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("training", [False, True])
def test_a_loader_makes_batches_of_it(made, name, training):
    loader = Loader(made, fields=tuple(made.fields), size=(32, 40), batch=2, training=training, workers=0)
    batches = list(loader)
    assert len(batches) == 2
    for batch in batches:
        assert batch["image"].shape == (2, 32, 40, 3) and batch.keys() - {"known", "ignored"} == {"image", *made.fields}


TURNED = [{"Affine": {"rotate": [-20, 20], "p": 0.7}}, {"RandomBrightnessContrast": {"p": 0.5}}]


def digests(source, workers):
    """A hash of each batch of two epochs of augmented images."""
    loading = {"size": (32, 40), "batch": 2, "training": True, "augment": TURNED, "seed": 3, "mask_size": 28}
    loader = Loader(source, fields=tuple(sorted(source.fields)), workers=workers, **loading)
    found = []
    for _ in range(2):
        for batch in loader:
            content = [
                f"{key} {batch[key].dtype} {batch[key].shape}".encode() + batch[key].tobytes() for key in sorted(batch)
            ]
            found.append(hashlib.sha256(b"".join(content)).hexdigest())
    loader.close()
    return found


def digests_of_all(places):
    """{name: `digests`} of sources that are opened anew, by threads."""
    return {
        name: digests(catalog.find("data/sources", name).load()(**arguments), workers=2)
        for name, arguments in places.items()
    }


def test_the_same_bits_by_any_workers_and_in_another_process(tmp_path):
    """Two epochs of every source, augmented: read twice, by the caller and by threads, and under another hash seed."""
    places = {name: EXAMPLES[name](tmp_path / name) for name in NAMES if not (tmp_path / name).mkdir()}
    found = {}
    for name, arguments in places.items():
        made = catalog.find("data/sources", name).load()(**arguments)
        found[name] = digests(made, workers=0)
        assert len(set(found[name])) == 4 and digests(made, workers=3) == found[name] == digests(made, workers=0), name
    with concurrent.futures.ProcessPoolExecutor(1, forked.context()) as pool:
        assert pool.submit(digests_of_all, places).result() == found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_is_an_error_that_names_it(name, tmp_path):
    places = [a.name for a in catalog.find("data/sources", name).arguments if a.annotation is str]
    if not places:
        pytest.skip("reads no files")
    with pytest.raises(DataError, match="gone"):
        catalog.find("data/sources", name).load()(**{place: str(tmp_path / "gone") for place in places})
