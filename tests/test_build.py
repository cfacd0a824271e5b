"""Recipe → data, model: what their meeting decides."""

import pytest

from visiontasks import build
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
