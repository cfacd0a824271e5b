import collections
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

from visiontasks.data.batch import row_of
from visiontasks.data.derived import Named, Subset
from visiontasks.data.load import load_data
from visiontasks.data.pipeline import Loader
from visiontasks.data.sources.shapes import Shapes
from visiontasks.data.sources.source import Source
from visiontasks.errors import BadImage, DataError, RecipeError, UserError
from visiontasks.geometry import Placement
from visiontasks.sample import FIELDS, NO_OBJECT, Sample

AUGMENT = [
    {"HorizontalFlip": {"p": 0.5}},
    {"Affine": {"rotate": [-30, 30], "p": 0.8}},
    {"RandomBrightnessContrast": {"p": 0.5}},
    {"GaussNoise": {"p": 0.5}},
]


class Numbered(Source):
    """Images whose label is their number; some of them broken, one of them deadly."""

    def __init__(self, count=20, bad=(), deadly=None, broken=None, note=None):
        super().__init__()
        self.count, self.bad, self.deadly, self.broken, self.note = count, set(bad), deadly, broken, note
        self.fields = frozenset({"label", "mask"})
        self.names = {"label": tuple(map(str, range(count))), "mask": ("ground", "thing"), "tags": ("p", "q", "r")}

    def __len__(self):
        return self.count

    def describe(self, index):
        return f"image{index}"

    def __getitem__(self, index):
        if index in self.bad:
            raise BadImage(f"image{index}", "truncated")
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if index == self.broken:
            raise ZeroDivisionError("a mistake in a source")
        rng = np.random.default_rng(index)
        shape = 40 + index, 50
        mask = rng.integers(0, 2, shape).astype(np.int32)
        return Sample(rng.integers(0, 256, (*shape, 3), np.uint8), label=index, mask=mask, id=str(index))


class Huge(Numbered):
    """Images that are larger than the buffer of a pipe."""

    def __getitem__(self, index):
        return Sample(np.full((1000, 1000, 3), index, np.uint8), label=index, id=str(index))


class Scenes(Numbered):
    """Images with as many objects as their number."""

    def __init__(self, count=6):
        super().__init__(count)
        self.fields = frozenset({"boxes", "classes", "instance_masks", "keypoints"})
        self.names = {"classes": tuple(map(str, range(count))), "keypoints": ("head", "tail")}

    def __getitem__(self, index):
        corner = np.arange(index, dtype=np.float32)[:, None]
        return Sample(
            np.zeros((64, 64, 3), np.uint8),
            boxes=np.concatenate([corner, corner, 2 * corner + 10, 2 * corner + 12], axis=1),
            classes=np.arange(index),
            instance_masks=np.ones((index, 64, 64), np.uint8),
            keypoints=np.full((index, 2, 3), 2, np.float32),
            id=str(index),
        )


def training(source=None, **changes):
    settings = dict(fields=("label", "tags", "mask"), size=(32, 48), batch=4, augment=AUGMENT, seed=3, workers=2)
    return Loader(Numbered() if source is None else source, training=True, **{**settings, **changes})


def evaluation(source=None, **changes):
    settings = dict(fields=("label", "mask"), size=(32, 48), batch=4, workers=2)
    return Loader(Numbered() if source is None else source, **{**settings, **changes})


def batches(loader, epochs=1):
    return [batch for _ in range(epochs) for batch in loader]


def assert_equal(got, expected):
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


# shapes and what is absent


def test_batches_have_one_shape_and_the_types_of_the_fields():
    found = batches(training())
    assert len(found) == len(training()) == 5
    for batch in found:
        shapes = {name: (array.shape, str(array.dtype)) for name, array in batch.items()}
        assert shapes == {
            "image": ((4, 32, 48, 3), "uint8"),
            "label": ((4,), "int32"),
            "tags": ((4, 3), "float32"),
            "mask": ((4, 32, 48), "int32"),
        }
        assert (batch["tags"] == FIELDS["tags"].absent).all()


def test_evaluation_keeps_order_and_pixels_and_pads_the_last_batch():
    loader = evaluation(Numbered(10))
    found = list(loader.with_samples())
    assert len(found) == len(loader) == 3
    samples = [sample for _, some in found for sample in some]
    assert [sample.label for sample in samples] == list(range(10))
    for batch, some in found:
        for row, sample in enumerate(some):
            np.testing.assert_array_equal(sample.image, Numbered()[sample.label].image)
            placement = Placement(sample.image.shape[:2], (32, 48))
            assert loader.placement(sample) == placement
            np.testing.assert_array_equal(batch["image"][row], placement.place_image(sample.image))
            np.testing.assert_array_equal(batch["mask"][row], placement.place_mask(sample.mask))
            assert batch["label"][row] == sample.label
    last, some = found[-1]
    assert len(some) == 2 and last["image"].shape == (4, 32, 48, 3)
    assert not last["image"][2:].any() and (last["label"][2:] == -1).all() and (last["mask"][2:] == 255).all()
    assert_equal(batches(loader), [batch for batch, _ in found])


def test_objects_are_padded_and_the_largest_stay():
    fields = ("boxes", "classes", "instance_masks", "keypoints")
    source = Scenes(6)
    (batch,) = evaluation(source, fields=fields, batch=6, size=(64, 64), max_objects=4, mask_size=7)
    assert batch["boxes"].shape == (6, 4, 4) and batch["instance_masks"].shape == (6, 4, 7, 7)
    assert batch["keypoints"].shape == (6, 4, 2, 3)
    for row in range(6):
        kept = list(range(row))[-4:]  # the last are the largest
        padding = [NO_OBJECT] * (4 - len(kept))
        assert batch["classes"][row].tolist() == kept + padding
        # a class of which an object was left out is not known in that image
        assert batch["known"][row].tolist() == [number in kept or number >= row for number in range(6)]
        np.testing.assert_allclose(batch["boxes"][row, : len(kept)], source[row].boxes[kept])
        assert not batch["boxes"][row, len(kept) :].any() and not batch["keypoints"][row, len(kept) :].any()
    what = "more than 4 objects (max_objects): the smallest left out, their classes not known there"
    assert source.report.count(what) == 1


class Counted(Scenes):
    """As Scenes, where the objects of an image are counted without reading it; those of large numbers are fewer."""

    def __getitem__(self, index):
        return super().__getitem__(min(index, 5))

    def describe(self, index):
        return str(index)

    def object_count(self, index, label_set=""):
        return 0 if label_set else index


def test_batches_have_room_for_the_objects_of_every_image():
    source = Counted(120)
    loader = evaluation(source, fields=("classes",), batch=1, workers=0)
    assert next(iter(loader))["classes"].shape == (1, 119)
    assert source.report.count("more than 100 objects: a batch has room for 119") == 19
    assert next(iter(evaluation(Scenes(2), fields=("classes",), batch=1)))["classes"].shape == (1, 100)
    fixed, what = Counted(6), "more than 3 objects (max_objects): the smallest left out, their classes not known there"
    evaluation(fixed, fields=("classes",), max_objects=3, batch=6)
    assert fixed.report.count(what) == 2
    fixed = Counted(6)
    loader = evaluation(Named(Subset(fixed, [5, 3]), "x"), fields=("x/classes",), batch=2, max_objects=3)
    assert fixed.report.count(what) == 1  # before an image is read
    next(iter(loader))
    assert fixed.report.count(what) == 1
    assert not evaluation(Counted(120), fields=("label",)).source.report


def test_both_loaders_have_room_for_as_many_objects(capsys):
    both = Counted(103)
    train, val = load_data((Subset(both, range(3)), both), batch=1, fields=("classes",), workers=0)
    assert next(iter(train))["classes"].shape == next(iter(val))["classes"].shape == (1, 102)
    assert capsys.readouterr().out == ""


class Crowded(Counted):
    """Images of as many small objects of one class."""

    def __init__(self, count=8, objects=60):
        super().__init__(count)
        self.objects, self.names = objects, {"classes": ("cell",)}
        self.fields = frozenset({"boxes", "classes"})

    def __getitem__(self, index):
        corner = np.stack(np.unravel_index(np.arange(self.objects), (8, 8)), axis=1).astype(np.float32) * 8
        boxes, classes = np.concatenate([corner, corner + 6], axis=1), np.zeros(self.objects, int)
        return Sample(np.zeros((64, 64, 3), np.uint8), boxes=boxes, classes=classes, id=str(index))

    def object_count(self, index, label_set=""):
        return self.objects


@pytest.mark.parametrize(
    ("augment", "room"),
    [([], 100), ([{"Mosaic": {}}], 240), (["MixUp", "CopyPaste"], 240), ([{"HorizontalFlip": {"p": 0.5}}], 100)],
)
def test_batches_have_room_for_the_objects_of_images_that_are_joined(augment, room):
    source = Crowded()
    settings = dict(fields=("boxes", "classes"), size=(64, 64), batch=4, augment=augment)
    (batch, *_) = loader = batches(training(source, workers=0, **settings))
    assert batch["classes"].shape == (4, room) and all(one["known"].all() for one in loader)
    assert not source.report
    train, val = load_data((source, Crowded()), workers=0, **settings)
    assert next(iter(train))["classes"].shape == next(iter(val))["classes"].shape == (4, room)
    # evaluation joins none
    assert next(iter(evaluation(source, fields=("classes",), workers=0)))["classes"].shape == (4, 100)


def test_a_mosaic_of_too_many_objects_keeps_the_largest_and_is_counted_as_what_it_is():
    source, what = Crowded(objects=30), "joined by augmentation with others to more than 31 objects (max_objects): "
    settings = dict(fields=("boxes", "classes"), size=(64, 64), batch=4, max_objects=31, workers=0)
    (batch, *_) = batches(training(source, augment=[{"Mosaic": {"scale": [0.5, 0.6]}}], **settings))
    full = ~batch["known"][:, 0]
    assert full.any() and (batch["classes"][full] == 0).all()
    what += "the smallest left out, their classes not known there"
    assert [(one, skipped) for one, _, skipped in source.report.items()] == [(what, True)]


def test_room_of_rare_crowds_is_for_most_draws():
    few = Counted(10)
    few.object_count = lambda index, label_set="": 90 if index == 0 else 1
    many = Subset(few, [0, *range(1, 10)] + [1] * 990)
    loader = training(many, fields=("classes",), augment=["Mosaic"], workers=0)
    assert loader._shapes.max_objects == 100


class Partial(Scenes):
    """As Scenes; every other object is ignored, class 0 is not known, and image 1 is not labeled with boxes."""

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        if index == 1:
            return Sample(sample.image, id=sample.id)
        known = np.arange(self.count) > 0
        return sample.replace(ignored=np.arange(index) % 2 == 1, known=known, areas=np.full(index, 7.0))

    def read(self, index, fields):
        self.asked = fields
        return self[index]


def test_an_image_without_objects_differs_from_one_without_labels():
    (batch,) = evaluation(Partial(3), fields=("classes",), batch=4, max_objects=2)
    assert batch["classes"].tolist() == [[NO_OBJECT] * 2, [NO_OBJECT] * 2, [0, 1], [NO_OBJECT] * 2]
    assert batch["known"].tolist() == [[False, True, True], [False] * 3, [False, True, True], [False] * 3]
    assert batch["ignored"].tolist() == [[False, False], [False, False], [False, True], [False, False]]


@pytest.mark.parametrize("make", [training, evaluation])
def test_ignored_regions_keep_their_class_and_leave_room_to_objects(make):
    source = Partial(6)
    fields = ("boxes", "classes", "instance_masks", "keypoints")
    loader = make(source, fields=fields, batch=6, size=(64, 64), max_objects=3, workers=0)
    (batch,) = loader
    assert batch.keys() == {"image", *fields, "known", "ignored"} and source.asked == fields
    assert batch["known"].dtype == batch["ignored"].dtype == bool
    rows = zip(batch["classes"].tolist(), batch["ignored"].tolist(), batch["known"].tolist(), strict=True)
    found = {
        (tuple(c for c in classes if c >= 0), tuple(c for c, i in zip(classes, ignored, strict=True) if i)): known
        for classes, ignored, known in rows
    }
    if make is evaluation:
        # objects 0, 2, 4 before regions 1, 3; of these the largest; what is left out is not known
        assert found.keys() == {((), ()), ((0, 1), (1,)), ((0, 1, 2), (1,)), ((0, 2, 3), (3,)), ((0, 2, 4), ())}
        assert found[(0, 2, 3), (3,)] == [False, False, True, True, True, True]
        assert found[(0, 2, 4), ()] == [False, False, True, False, True, True]
    else:
        assert any(ignored for _, ignored in found)
        assert all(c % 2 == (c in ignored) for classes, ignored in found for c in classes)


def test_ignored_objects_and_areas_stay_in_the_samples_for_scoring():
    loader = evaluation(Partial(6), fields=("boxes", "classes"), batch=6, size=(64, 64))
    ((_, samples),) = loader.with_samples()
    assert samples[4].ignored.tolist() == [False, True, False, True]
    assert samples[4].areas.tolist() == [7] * 4 and len(samples[4].boxes) == 4


@pytest.mark.parametrize("fields", [("boxes", "classes"), ("boxes", "keypoints"), ("boxes",), ("classes",)])
def test_a_row_shows_its_objects_again_without_the_filling(fields):
    source = Scenes(6)
    (batch,) = evaluation(source, fields=fields, batch=8, size=(64, 64), max_objects=7)
    for row in range(6):
        found = row_of(batch, row)
        np.testing.assert_array_equal(found.image, source[row].image)
        for field in fields:
            if "boxes" in fields:
                np.testing.assert_allclose(getattr(found, field), getattr(source[row], field))
    assert ("boxes" in fields) == (found.boxes is not None) and found.tags is None


def test_a_row_that_nobody_labeled_shows_no_labels():
    batch = next(iter(evaluation(Partial(3), fields=("boxes", "classes"), batch=4, max_objects=2)))
    assert [row_of(batch, row).boxes is None for row in range(4)] == [False, True, False, True]
    assert len(row_of(batch, 0).boxes) == 0 and row_of(batch, 2).classes.tolist() == [0, 1]
    assert row_of(batch, 2).ignored.tolist() == [False, True] and row_of(batch, 2).known.tolist() == [False, True, True]


# the same images for any number of workers


def test_each_epoch_has_another_order_and_every_image_at_most_once():
    loader = training(Numbered(22))
    orders = [[int(label) for batch in loader for label in batch["label"]] for _ in range(3)]
    assert all(len(order) == len(set(order)) == 20 for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert loader.epoch == 3


def test_an_epoch_depends_on_seed_and_number_alone():
    expected = batches(training(workers=0), epochs=3)
    resumed = training()
    resumed.epoch = 2
    assert_equal(batches(resumed), expected[10:])
    resumed.epoch = 1  # and back again
    assert_equal(batches(resumed), expected[5:10])
    other = batches(training(seed=4, workers=0))
    assert any((one["image"] != two["image"]).any() for one, two in zip(other, expected, strict=False))


def test_an_iteration_left_early_changes_nothing():
    expected = batches(training(workers=0), epochs=2)
    loader = training()
    for steps in (2, 1, 3):  # Keras peeks at two batches before it trains
        list(itertools.islice(loader, steps))
        assert loader.epoch == 0
    assert_equal(batches(loader, epochs=2), expected)


@pytest.mark.parametrize(("workers", "kind"), [(1, "threads"), (3, "threads"), (1, "processes"), (2, "processes")])
def test_workers_change_no_pixel(workers, kind):
    bad = {3, 4, 19}
    expected = batches(training(Numbered(bad=bad), workers=0), epochs=2)
    source = Numbered(bad=bad)
    loader = training(source, workers=workers, worker_kind=kind)
    list(itertools.islice(loader, 2))
    assert_equal(batches(loader, epochs=2), expected)
    assert [(what, len(names), skipped) for what, names, skipped in source.report.items()] == [
        ("truncated, skipped", 3, True)
    ]
    loader.close()
    assert_equal(batches(loader), batches(training(Numbered(bad=bad), workers=0), epochs=3)[10:])


@pytest.mark.parametrize(("workers", "kind"), [(3, "threads"), (2, "processes")])
def test_workers_change_no_pixel_of_combined_images(workers, kind):
    settings = dict(
        fields=("boxes", "classes"),
        size=(64, 64),
        augment=[{"Mosaic": {"epochs": 2}}, {"HorizontalFlip": {"p": 0.5}}, {"MixUp": {}}, {"CopyPaste": {}}],
    )
    drawn = Shapes(count=17, size=(50, 60))
    expected = batches(training(drawn, workers=0, **settings), epochs=3)
    loader = training(drawn, workers=workers, worker_kind=kind, **settings)
    assert_equal(batches(loader, epochs=3), expected)
    loader.epoch = 1  # the epochs of mosaics are counted from the seed, not from what ran before
    assert_equal(batches(loader), expected[4:8])
    loader.close()


def test_further_images_are_other_readable_ones():
    source = Numbered(6, bad={2, 4})
    assemble = training(source, fields=("mask",), augment=["Mosaic"], workers=0)._assemble(keep=False)
    notes, seen = [], set()
    for seed in range(60):
        seen.add(int(assemble._another(3, notes, np.random.default_rng(seed)).id))
    # 3 stands in for 2, which cannot be read
    assert seen == {0, 1, 3, 5} and {note.name for note in notes} == {"image2", "image4"}
    (single,) = training(Numbered(1), fields=("mask",), augment=["Mosaic"], workers=0, batch=1)
    assert single["mask"].shape == (1, 32, 48)


def test_masks_are_read_for_pasting_and_stay_out_of_the_batch():
    source = Partial(6)
    settings = dict(fields=("boxes", "classes"), batch=5, size=(64, 64), workers=0)
    (batch,) = training(source, augment=["CopyPaste"], **settings)
    assert source.asked == ("boxes", "classes", "instance_masks")
    assert batch.keys() == {"image", "boxes", "classes", "known", "ignored"}
    (batch,) = training(source, augment=["Mosaic"], **settings)
    assert source.asked == ("boxes", "classes")


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_batches_of_several_sizes(kind):
    sizes, augment = [[32, 48], [64, 80]], ["Mosaic", {"RandomResizedCrop": {}}]
    settings = dict(sizes=sizes, augment=augment, fields=("mask",))
    expected = batches(training(workers=0, **settings), epochs=2)
    found = [batch["image"].shape[1:3] for batch in expected]
    assert set(found[:2]) == set(found[2:4]) == {(32, 48), (64, 80)} and len(found) == 10
    assert all(batch["mask"].shape == batch["image"].shape[:3] for batch in expected)
    loader = training(workers=1, worker_kind=kind, **settings)
    assert_equal(batches(loader, epochs=2), expected)
    loader.close()
    # validation is at one size
    assert next(iter(evaluation(sizes=sizes)))["image"].shape == (4, 32, 48, 3)


def test_processes_live_through_epochs_and_give_samples():

    loader = training(worker_kind="processes", workers=1)
    next(iter(loader))
    first = {process.pid for process in multiprocessing.active_children()}
    batches(loader, epochs=3)
    assert {process.pid for process in multiprocessing.active_children()} == first
    loader.close()
    assert not {process.pid for process in multiprocessing.active_children()} & first
    found = [some for _, some in evaluation(Numbered(6), worker_kind="processes", workers=1).with_samples()]
    assert [sample.label for some in found for sample in some] == list(range(6))


# images that cannot be read, workers that die


def test_training_takes_the_next_readable_image():
    order = [int(label) for batch in training(workers=0) for label in batch["label"]]
    following = {3: 5, 4: 5, 19: 0}
    loader = training(Numbered(bad=following))
    found = [int(label) for batch in loader for label in batch["label"]]
    assert found == [following.get(number, number) for number in order]
    names = [name for step in range(len(loader)) for name in loader.names_of(0, step)]
    assert names == [f"image{number}" for number in found]


def test_evaluation_leaves_an_unreadable_image_out():
    source = Numbered(10, bad={2, 5})
    loader = evaluation(source)
    found = list(loader.with_samples())
    assert [sample.label for _, some in found for sample in some] == [0, 1, 3, 4, 6, 7, 8, 9]
    assert found[0][0]["label"].tolist() == [0, 1, 3, -1]
    assert str(source.report) == "2 × truncated, skipped: image2, image5"
    assert loader.names_of(0, 1) == ["image4", "image6", "image7"]


@pytest.mark.parametrize("make", [training, evaluation])
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_only_unreadable_images_are_an_error(make, kind):
    loader = make(Numbered(6, bad=range(6)), worker_kind=kind, workers=1)
    with pytest.raises(DataError, match="none of the 6 images can be read .*truncated"):
        batches(loader)


def test_item_67_a_dead_worker_process_is_an_error_and_no_hang():
    loader = training(Numbered(deadly=7), worker_kind="processes")
    with pytest.raises(UserError, match=r"^workers: a worker process died \(signal 9\)") as caught:
        batches(loader, epochs=2)
    assert loader.error is caught.value  # TensorFlow raises an error of its own instead


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="Linux's")
def test_worker_processes_end_with_a_parent_that_is_killed(tmp_path):
    """Though their queues are full, so that they wait for somebody who takes a batch."""
    parent = multiprocessing.get_context("spawn").Process(target=wait_with_workers, args=(tmp_path / "workers",))
    parent.start()
    while not (tmp_path / "workers").exists():
        assert parent.is_alive()
        time.sleep(0.1)
    numbers = [int(number) for number in (tmp_path / "workers").read_text().split()]
    assert numbers and all(map(lives, numbers))
    parent.kill()
    parent.join()
    for _ in range(600):
        if not any(map(lives, numbers)):
            return
        time.sleep(0.1)
    for number in filter(lives, numbers):
        os.kill(number, signal.SIGKILL)
    pytest.fail("they outlived their parent")


def wait_with_workers(path):
    """Be a training whose worker processes have nothing to do; their numbers are in a file."""
    loader = training(worker_kind="processes", workers=2)
    next(iter(loader))
    time.sleep(1)  # in which they fill their queues
    whole = path.with_suffix(".part")
    whole.write_text(" ".join(str(one.pid) for one in multiprocessing.active_children()))
    whole.rename(path)
    time.sleep(600)


def lives(number):
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_item_67_a_worker_process_that_is_killed_while_it_writes_is_an_error_and_no_hang(monkeypatch):
    """Half of a batch is then in the pipe, and the other half never comes."""
    monkeypatch.setattr("visiontasks.data.stream._CLOSING_SECONDS", 1)
    loader = evaluation(Huge(24), fields=("label",), batch=4, worker_kind="processes", workers=1)
    found = loader.with_samples()
    next(found)
    worker = max(multiprocessing.active_children(), key=lambda one: one.pid)
    worker.join(3)  # it writes until the pipe is full
    worker.kill()
    with pytest.raises(UserError, match=r"^workers: a worker process died \(signal 9\)"):
        list(found)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_mistake_in_a_source_arrives_as_itself(kind):
    with pytest.raises(ZeroDivisionError, match="a mistake in a source"):
        batches(training(Numbered(broken=7), worker_kind=kind, workers=1))


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_transform_that_fails_arrives_as_a_recipe_error(kind):
    augment = [{"RandomCrop": {"height": 45, "width": 45}}]  # the images are 40 to 59 pixels high
    with pytest.raises(RecipeError, match="RandomCrop|[Cc]rop"):
        batches(training(augment=augment, worker_kind=kind, workers=1))


# what is refused


def test_item_35_the_names_of_keypoints_say_what_a_flip_does():
    given = dict(fields=("boxes", "keypoints"), augment=[{"HorizontalFlip": {"p": 1.0}}], size=(64, 64))
    names = {"keypoints": ("left hip", "hip of the right")}
    with pytest.raises(RecipeError, match="expected 'right hip' beside 'left hip'"):
        training(Scenes(), **given, names=names)
    names["keypoints"] = ("left hip", "right hip")
    (batch,) = batches(training(Scenes(5), **given, names=names, batch=5))
    (plain,) = batches(training(Scenes(5), **given, batch=5))
    np.testing.assert_array_equal(batch["keypoints"], plain["keypoints"][:, :, ::-1])


def test_a_batch_larger_than_the_data_names_both_numbers():
    with pytest.raises(DataError, match=r"batch of 21 .* 20 training images"):
        training(batch=21)
    assert len(batches(evaluation(batch=21))) == 1


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"fields": ["lable"]}, RecipeError, "'label'"),
        ({"fields": ["keypoints"]}, DataError, "keypoints"),
        ({"worker_kind": "thread"}, RecipeError, "'threads'"),
        ({"resize": "stretched"}, RecipeError, "'stretch'"),
        ({"workers": -1}, RecipeError, "^workers: "),
        ({"batch": 0}, RecipeError, "^batch: "),
        ({"size": (0, 32)}, RecipeError, "^size: "),
        ({"augment": ["Blurr"]}, RecipeError, "'Blur'"),
        ({"sizes": [(32, 32), (64, 32)]}, RecipeError, "a different width"),
        ({"sizes": [(32, 32), (64, 64)], "batch": 20}, RecipeError, "two batches per epoch"),
    ],
)
def test_wrong_arguments_are_named(changes, error, words):
    with pytest.raises(error, match=words):
        training(**changes)


def test_no_images_at_all():
    with pytest.raises(DataError, match="at least one image"):
        evaluation(Numbered(0))
    with pytest.raises(ValueError, match="training=False"):
        training().with_samples()


def numbers(loader, ahead):
    """Batches of a repeating loader as a backend reads them that makes so many ahead; named by their labels."""
    waiting = collections.deque()
    for batch in loader:
        waiting.append(tuple(batch["label"].tolist()))
        if len(waiting) > ahead:
            yield waiting.popleft()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("ahead", [0, 1, 4, 9])
def test_a_repeating_loader_goes_on_however_far_a_backend_reads_ahead(steps, ahead):
    """As training tells it at each epoch's end and beginning where it is."""
    expected = []
    for epoch in range(5):
        once = training(Numbered(4 * steps), batch=4)
        once.epoch = epoch
        expected += [tuple(batch["label"].tolist()) for batch in once]
    loader, found = training(Numbered(4 * steps), batch=4), []
    loader.repeat, read = True, None
    for epoch in range(5):
        loader.epoch, loader.step = epoch, 0
        read = read or numbers(loader, ahead)
        found += itertools.islice(read, steps)
        loader.epoch, loader.step = epoch + 1, 0
    loader.close()
    assert found == expected and len({*map(frozenset, found)}) > (steps > 1)


# Keras


def test_keras_fits_and_evaluates_on_loaders():
    import keras

    class Mean(keras.Model):
        """Learns one number; counts what it is shown."""

        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, batch):
            return self.dense(keras.ops.mean(keras.ops.cast(batch["image"], "float32") / 255, axis=(1, 2)))

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            known = keras.ops.cast(x["label"] >= 0, "float32")
            error = y_pred[:, 0] - keras.ops.cast(x["label"], "float32")
            return keras.ops.sum(known * error**2) / keras.ops.sum(known)

    epochs, shown = [], []
    train, val = training(), evaluation(Numbered(10))

    class Count(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            epochs.append(train.epoch)

        def on_train_batch_end(self, batch, logs=None):
            shown.append(batch)

    model = Mean()
    model.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    history = model.fit(train, validation_data=val, epochs=3, verbose=0, callbacks=[Count()]).history
    assert epochs == [0, 1, 2] and train.epoch == 3
    assert shown == list(range(5)) * 3
    assert history["val_loss"][-1] < history["val_loss"][0]
    weights = [float(keras.ops.sum(model.dense.kernel)), float(model.dense.bias[0])]
    labels = [batch["label"] for batch in val]
    images = [batch["image"].mean(axis=(1, 2)) / 255 for batch in val]
    predictions = [image @ np.asarray(model.dense.kernel)[:, 0] + weights[1] for image in images]
    losses = [np.mean((a - t)[t >= 0] ** 2) for a, t in zip(predictions, labels, strict=True)]
    rows = np.array([len(t) for t in labels])
    found = model.evaluate(val, verbose=0)
    np.testing.assert_allclose(found, np.sum(losses * rows) / rows.sum(), rtol=1e-3)


def test_the_data_layer_loads_no_framework():
    code = (
        "import sys, visiontasks.data.load; "
        "print([m for m in ('keras', 'tensorflow', 'torch', 'albumentations') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# load_data


@pytest.fixture
def class_folders(tmp_path):
    rng = np.random.default_rng(0)
    for name, count in (("cat", 6), ("dog", 9)):
        (tmp_path / name).mkdir()
        for number in range(count):
            image = rng.integers(0, 256, (20, 30, 3), np.uint8)
            cv2.imwrite(str(tmp_path / name / f"{number}.png"), image)
    return tmp_path


def described(loader):
    return {loader.source.describe(index) for index in range(len(loader.source))}


def test_load_data_says_what_it_read_a_folder_as(class_folders, capsys):
    load_data(class_folders, batch=1, workers=0)
    assert capsys.readouterr().out == f"{class_folders}: read as folder, without a validation set.\n"


def test_a_folder_is_split_by_the_seed(class_folders):
    train, val = load_data(class_folders, size=(16, 16), batch=2, split=0.4, seed=1)
    assert train.fields == val.fields == ("label",) and train.names["label"] == ("cat", "dog")
    assert len(described(train)) == 9 and len(described(val)) == 6 and not described(train) & described(val)
    again, _ = load_data(class_folders, size=(16, 16), batch=2, split=0.4, seed=1)
    other, _ = load_data(class_folders, size=(16, 16), batch=2, split=0.4, seed=2)
    assert described(again) == described(train) != described(other)
    assert train.training and not val.training
    assert sum((batch["label"] >= 0).sum() for batch in val) == 6


def test_a_part_without_some_class_counts_like_the_training_part(class_folders, tmp_path_factory):
    part = tmp_path_factory.mktemp("val")
    (class_folders / "dog").rename(part / "dog")
    (class_folders / "dog").mkdir()
    cv2.imwrite(str(class_folders / "dog" / "one.png"), np.zeros((20, 20, 3), np.uint8))
    data = {
        "train": {"source": "folder", "root": str(class_folders)},
        "val": {"source": "folder", "root": str(part)},
    }
    train, val = load_data(data, size=(16, 16), batch=2)
    assert val.names == train.names
    assert {sample.label for _, some in val.with_samples() for sample in some} == {1}


def test_parts_of_different_classes_are_refused():
    class Other(Numbered):
        def __init__(self):
            super().__init__(4)
            self.names = {**self.names, "label": ("a", "b", "c", "d")}

    with pytest.raises(DataError, match=r"val: its classes for 'label'"):
        load_data((Numbered(4), Other()), fields=("label",), batch=2)


def test_load_data_takes_sources_and_names_what_is_wrong():
    train, val = load_data(Numbered(10), batch=2, split=0.3)
    assert len(train.source) == 7 and len(val.source) == 3 and train.fields == ("label", "mask")
    for data, words in (
        ({"train": {"source": "foldr", "root": "x"}}, "'folder'"),
        ({"train": {"source": "folder", "rot": "x"}}, "'root'"),
        ({"train": {"root": "x"}}, "^train: "),
        ({"val": Numbered()}, "expected a folder"),
    ):
        with pytest.raises(RecipeError, match=words):
            load_data(data)
    with pytest.raises(RecipeError, match="^split: "):
        load_data(Numbered(), split=1.0)
    with pytest.raises(DataError, match="at least 2 images"):
        load_data(Numbered(1))


def test_an_image_in_both_splits_is_noted(class_folders, tmp_path_factory):
    part = tmp_path_factory.mktemp("val")
    (part / "cat").mkdir()
    (part / "cat" / "copy.png").write_bytes((class_folders / "cat" / "0.png").read_bytes())
    parts = {"train": {"source": "folder", "root": str(class_folders)}, "val": {"source": "folder", "root": str(part)}}
    _, val = load_data(parts, batch=2)
    assert "training set" in str(val.source.report) and "copy.png" in str(val.source.report)


def test_a_class_folder_whose_name_is_no_unicode_is_named(class_folders):
    next(class_folders.rglob("*.*")).parent.rename(class_folders / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"names: expected names of \w+ in Unicode, got 'caf\\udce9'; rename it"):
        load_data(class_folders, fields=("label",), size=(8, 8), batch=1)


@pytest.mark.parametrize("count", [2, 4])
def test_the_shares_of_all_processes_are_the_batch_of_one(count):
    """The same images in the same order with the same augmentation, in which an image may join others."""
    augment = [*AUGMENT, {"MixUp": {"p": 0.5}}]
    common = dict(fields=("mask",), size=(32, 48), batch=4, training=True, augment=augment)
    whole = Loader(Numbered(bad={3}), **common, workers=0)
    parts = [Loader(Numbered(bad={3}), **common, workers=index % 3, share=(index, count)) for index in range(count)]
    assert {len(one) for one in (whole, *parts)} == {5} and parts[1].names_of(1, 2) == whole.names_of(1, 2)
    for _ in range(2):
        for batch, *shares in zip(whole, *parts, strict=True):
            assert {len(share["image"]) for share in shares} == {4 // count}
            for field, array in batch.items():
                np.testing.assert_array_equal(np.concatenate([share[field] for share in shares]), array)
    [one.close() for one in parts]


def test_a_batch_that_processes_cannot_share_is_an_error():
    with pytest.raises(RecipeError, match="^batch: 4 images cannot be shared evenly by 3 processes"):
        Loader(Numbered(), fields=("label",), batch=4, training=True, share=(0, 3))


def test_processes_validate_batches_in_turns_and_the_first_one_reads_all():
    data = {"train": Numbered(18), "val": Numbered(18)}
    common = dict(fields=("label",), size=(32, 32), batch=4, workers=0)
    _, whole = load_data(data, **common)
    vals = [load_data(data, **common, share=(index, 2))[1] for index in (0, 1)]
    whole, first, second = ([batch["label"].tolist() for batch in one] for one in (whole, *vals))
    assert first == whole and second == [whole[1], whole[3], whole[4]] and len(vals[1]) == 3
