"""Recipe → data, model: what their meeting decides."""

import numpy as np
import pytest

from visiontasks import build
from visiontasks.check import check
from visiontasks.data.images import write_image
from visiontasks.errors import RecipeError
from visiontasks.heads.classifier import Classifier
from visiontasks.recipe.reading import check as recipe_of


def recipe(**head):
    data = {"source": "shapes", "count": 4, "size": [32, 32]}
    return recipe_of(
        {
            "backbone": {"name": "lenet5"},
            "head": {"name": "classifier", **head},
            "data": {"train": data, "val": data, "size": [32, 32], "batch": 2, "workers": 0},
        }
    )


@pytest.mark.parametrize("said", ["nothing", "number", "names"])
def test_a_head_has_the_data_s_class_names(said):
    train, _ = build.loaders(recipe())
    names = train.names["label"]
    classes = {"nothing": {}, "number": {"classes": len(names)}, "names": {"classes": list(names)}}[said]
    model = build.model(recipe(**classes), train)
    (head,) = model.heads.values()
    assert head.classes == names and not names[0].isdigit()
    assert build.validation(recipe(**classes), [head]).names["label"] == names


def test_a_head_is_scored_by_masks_if_the_data_have_them():
    made, _ = build.recipe("anomaly", ["head.learns=parts"])
    assert build.fields(made) == build.fields(made, {"parts/label", "mask"}) == ("parts/label",)
    assert build.fields(made, {"parts/label", "parts/mask"}) == ("parts/label", "parts/mask")
    plain, _ = build.recipe("anomaly")
    assert build.fields(plain, {"label", "mask", "boxes"}) == ("label", "mask")


def test_the_best_checkpoint_is_chosen_by_heads_that_learn_by_gradients(tmp_path):
    for name in ("train/good/0.png", "train/good/1.png", "test/good/0.png", "test/hole/0.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(tmp_path / name, np.full((12, 16, 3), len(name), np.uint8))
    said = {name: build.recipe(name, data=str(tmp_path))[1] for name in ("anomaly", "classify")}
    assert all("its test set used for validation" in text for text in said.values())
    assert [name for name, text in said.items() if "best checkpoint" in text] == ["classify"]


class Six(Classifier):
    """Gives its base the number of its classes itself."""

    def __init__(self, **kwargs):
        super().__init__(6, **kwargs)


@pytest.mark.parametrize("made", [Six, lambda: Classifier(6)])
def test_a_head_with_a_number_of_classes_takes_data_of_as_many(made):
    names = build.validation(recipe(), [made()]).names["label"]
    assert len(names) == 6


@pytest.mark.parametrize("wrong", ["order", "number", "names"])
def test_other_classes_than_the_data_s_are_an_error(wrong):
    """In another order than the data's each image would teach another class."""
    train, _ = build.loaders(recipe())
    names = train.names["label"]
    classes = {"order": list(names[::-1]), "number": len(names) + 1, "names": [f"my {name}" for name in names]}[wrong]
    with pytest.raises(
        RecipeError, match=rf"head\.classes: expected the data's {len(names)} classes, in this order: \['{names[0]}'"
    ):
        build.model(recipe(classes=classes), train)


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((32, 32), value, np.uint8))


def image_and_masks(root, splits, *masks):
    """Images, and masks of the values 0 and 255, in folders of splits; "" is none."""
    for split in splits:
        for number in range(2):
            write(root / split / f"images/{split}{number}.png", 10 * number)
            for one in masks:
                write(root / split / one / f"{split}{number}.png", 255 * number)


def read_as(root, *overrides, name="unet_seg"):
    """(the two parts of the data, the sentence)."""
    made, said = build.recipe(name, overrides, str(root))
    return made.data.train, made.data.val, said


def test_how_masks_are_read_serves_both_sets_of_a_folder(tmp_path):
    image_and_masks(tmp_path, ("train", "val"), "masks")
    made, said = build.recipe("unet_seg", ["data.train.values=[0,255]", "data.train.names=[sky,cell]"], str(tmp_path))
    train, val = build.sources(made)
    assert train.names == val.names == {"mask": ("sky", "cell")} and "Note" not in said
    assert {int(val[number].mask.max()) for number in range(2)} == {0, 1}


def test_a_folder_that_each_set_has_for_itself_is_changed_in_one_and_that_is_said(tmp_path):
    image_and_masks(tmp_path, ("train", "val"), "masks", "masks_b")
    other = tmp_path / "train/masks_b"
    train, val, said = read_as(tmp_path, f"data.train.masks={other}")
    assert train["masks"] == str(other) and val["masks"] == str(tmp_path / "val/masks")
    assert said.endswith(
        f"Note: the validation set keeps masks={tmp_path / 'val/masks'}: data.train.masks changes the training set "
        "alone (data.val.masks= changes it)."
    )
    mine = tmp_path / "val/masks_b"
    train, val, said = read_as(tmp_path, f"data.val.masks={mine}", f"data.train.masks={other}")
    assert (train["masks"], val["masks"]) == (str(other), str(mine)) and "Note" not in said


def test_a_folder_that_both_sets_have_is_changed_in_both(tmp_path):
    image_and_masks(tmp_path, ("",), "masks", "masks_b")
    for split, number in (("train", 0), ("val", 1)):
        (tmp_path / f"{split}.txt").write_text(f"{number}\n")
    other = tmp_path / "masks_b"
    train, val, said = read_as(tmp_path, f"data.train.masks={other}")
    assert train["masks"] == val["masks"] == str(other)
    assert said.endswith("Note: data.train.masks changes the validation set too.")
    assert train["list"] != val["list"]
    train, val, said = read_as(tmp_path, f"data.train.list={tmp_path / 'other.txt'}")
    assert val["list"] == str(tmp_path / "val.txt") and f"keeps list={tmp_path / 'val.txt'}" in said
    # without a validation set a share of the training set is one
    (tmp_path / "val.txt").unlink()
    train, val, said = read_as(tmp_path, f"data.train.masks={other}")
    assert train["masks"] == str(other) and val is None and "Note" not in said


def test_tables_of_splits_share_the_folder_of_images(tmp_path):
    for number in range(4):
        write(tmp_path / f"images/{number}.png")
        write(tmp_path / f"smaller/{number}.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.csv").write_text("id,label\n0,a\n1,b\n2,a\n3,b\n")
    train, val, said = read_as(tmp_path, f"data.train.root={tmp_path / 'smaller'}", name="classify")
    assert train["root"] == val["root"] == str(tmp_path / "smaller") and "data.train.root" in said
    train, val, said = read_as(tmp_path, f"data.train.path={tmp_path / 'val.csv'}", name="classify")
    assert val["path"] == str(tmp_path / "val.csv") and "data.train.path changes the training set alone" in said
    train, val, said = read_as(tmp_path, "data.train.columns=[label]", name="classify")
    assert build.sources(build.recipe("classify", ["data.train.columns=[label]"], str(tmp_path))[0])
    assert "Note" not in said


@pytest.mark.parametrize("whole", [True, False])
def test_another_source_leaves_the_validation_set_of_the_folder_out(tmp_path, whole):
    image_and_masks(tmp_path, ("train", "val"), "masks")
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            write(tmp_path / f"classes/{split}/{name}/a.png")
    root = tmp_path / "classes/train"
    changes = [f"data.train={{source: folder, root: {root}}}"]
    changes = changes if whole else ["data.train.source=folder", f"data.train.root={root}"]
    train, val, said = read_as(tmp_path, *changes, name="classify")
    assert train == {"source": "folder", "root": str(root)} and val is None
    assert "the validation set found with it is left out" in said
    own = tmp_path / "classes/val"
    train, val, said = read_as(tmp_path, *changes, f"data.val={{source: folder, root: {own}}}", name="classify")
    assert val == {"source": "folder", "root": str(own)} and "left out" not in said


def test_check_says_it_too(tmp_path):
    image_and_masks(tmp_path, ("train", "val"), "masks", "masks_b")
    changes = (f"data.train.masks={tmp_path / 'train/masks_b'}", "data.train.values=[0,255]")
    assert "the validation set keeps masks=" in check(tmp_path, None, *changes).reading
    assert "the validation set keeps masks=" in check(tmp_path, "unet_seg", *changes).reading
