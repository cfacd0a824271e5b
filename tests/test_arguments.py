"""Arguments: one check by the annotations, in words, for functions and constructors; and what one was given."""

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import Field

from visiontasks import arguments
from visiontasks.arguments import Checked, Classes, Count, Share, check, checked, describe, fields_of
from visiontasks.errors import UserError
from visiontasks.registry import catalog


@pytest.mark.parametrize(
    ("annotation", "value", "taken"),
    [
        (float, 3, 3.0),
        (Share, np.float32(0.5), 0.5),
        (Share, 0, 0.0),
        (Count, np.int64(4), 4),
        (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
        (Sequence[str], ["a"], ("a",)),
        (list[list[int]], ((1,), []), ((1,), ())),
        (str, Path("a/b"), str(Path("a/b"))),
        (Literal["auto"] | bool, True, True),
        (Classes, ["a", "b"], ("a", "b")),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (arguments.pair(0, 1), [0.5, 0.5], (0.5, 0.5)),
        (arguments.InputShape, [None, 8, 3], (None, 8, 3)),
        (Any, "anything", "anything"),
    ],
)
def test_what_fits_is_taken_as_the_annotation_says(annotation, value, taken):
    came = check("x", annotation, value)
    assert came == taken and type(came) is type(taken)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "5", "a whole number"),
        (int, 5.0, "a whole number"),
        (int, True, "a whole number"),
        (float, True, "a number"),
        (float, math.nan, "a number"),
        (float, math.inf, "a number"),
        (bool, 1, "true or false"),
        (str, 3, "a text"),
        (Count, 0, "a whole number of at least 1"),
        (Share, 1, "a share from 0 to below 1"),
        (Share, -0.1, "a share from 0 to below 1"),
        (arguments.OpenShare, 0.0, "a share above 0 and below 1"),
        (arguments.Positive, 0.0, "a number above 0"),
        (arguments.between(2, 5), 6, "a number from 2 to 5"),
        (Annotated[int, Field(le=3)], 4, "a whole number of at most 3"),
        (Literal["n", "s"], "x", "one of n, s"),
        (Literal["auto"] | bool, 1, "auto, true or false"),
        (tuple[Count, ...] | None, [1, 0], "a list of whole numbers of at least 1 or null"),
        (tuple[Literal["n", "s"], ...], ["x"], "a list, each one of n, s"),
        (tuple[Literal["n", "s"], ...], "n", "a list, each one of n, s"),
        (tuple[Share, ...], [1], "a list, each a share from 0 to below 1"),
        (arguments.Counts, [], "a non-empty list of whole numbers of at least 1"),
        (tuple[int, int], [1], "[a whole number, a whole number]"),
        (dict[str, float], {"a": "b"}, "{name: a number}"),
        (dict[Literal["n", "s"], int], {"x": 1}, "{one of n, s: a whole number}"),
        (Annotated[dict[str, int], Field(min_length=1)], {}, "non-empty {name: a whole number}"),
        (arguments.pair(0, 1), [0.5, 0.4], "[least, most] from 0 to 1"),
        (arguments.pair(0, 1), [0.5, 1.4], "[least, most] from 0 to 1"),
        (Classes, ["a", "a"], "names of the classes, none of them twice, or their number, from 1 to 1000000"),
        (Classes, [], "names of the classes, none of them twice, or their number, from 1 to 1000000"),
        (Classes, "cat", "names of the classes, none of them twice, or their number, from 1 to 1000000"),
        (arguments.LayerCounts, [], "a non-empty list of whole numbers from 1 to 100"),
        (arguments.Level, "conv1", "a level such as C3"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_it(annotation, value, expected):
    assert describe(annotation) == expected
    with pytest.raises(UserError) as caught:
        check("head.x", annotation, value)
    assert str(caught.value) == f"head.x: expected {expected}, got {value!r}."


def test_a_near_choice_is_offered_and_a_long_value_cut():
    with pytest.raises(UserError, match=r"got 'dyce'\. Did you mean 'dice'\?$"):
        check("loss", Literal["dice", "focal"] | dict[str, float], "dyce")
    with pytest.raises(UserError) as caught:
        check("names", arguments.Names, ["a"] * 1000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("annotation", "most"),
    [(int, 2**32 - 1), (Count, 2**32 - 1), (arguments.Whole, 2**32 - 1), (arguments.Seed, 2**32 - 1)]
    + [(arguments.Channels, 2**16), (arguments.Layers, 100), (Classes, 10**6), (arguments.Pixels, 2**63)],
)
def test_whole_numbers_have_bounds(annotation, most):
    assert check("x", annotation, most) == most
    for number in (most + 1, 10**400, 16**5000):  # the last one Python does not write in decimal digits
        with pytest.raises(UserError, match=r"^x: expected "):
            check("x", annotation, number)
    with pytest.raises(UserError, match=r"got 4294967296\. A whole number has 32 bits at most\.$"):
        check("x", int, 2**32)
    with pytest.raises(UserError, match=r"got \[4294967296, .* A whole number has 32 bits at most\.$") as caught:
        check("x", tuple[Count, ...], [2**32] * 3)
    assert str(caught.value).count("32 bits") == 1


def test_an_option_out_of_bounds_is_said_as_an_argument_is():
    with pytest.raises(UserError, match=r" 'filters': expected a whole number from 1 to 65536, got 65537\.$"):
        check("mask", arguments.options(filters=arguments.Channels), {"filters": 65537})


def test_a_function_checks_its_arguments():
    @checked
    def double(number: Count, *rest, share: Share = 5, **more):
        """Doc."""
        return number, rest, share, more

    assert double(1, "x", y=2) == (1, ("x",), 5, {"y": 2})  # a default is its author's affair
    assert double.__doc__ == "Doc."
    with pytest.raises(UserError, match="number: expected a whole number of at least 1, got 0"):
        double(0)
    with pytest.raises(UserError, match="share: expected"):
        double(1, share=1)
    with pytest.raises(TypeError, match="number"):
        double()


class Base(Checked):
    def __init__(self, classes: Classes, filters: tuple[Count, ...] = (8,), share: Share = 0.5, **kwargs):
        self.kwargs = kwargs


class Inherited(Base):
    pass


class Filled(Base):
    def __init__(self, extra: int, *, share: Share = 0.25, **kwargs):
        super().__init__(3, share=share / 2, **kwargs)


class Closed(Filled):
    def __init__(self, only: str = "a"):
        super().__init__(1)


class Further(Filled):
    def __init__(self, more: float, **kwargs):
        super().__init__(extra=7, **kwargs)


@pytest.mark.parametrize(
    ("made", "arguments"),
    [
        (lambda: Base(["a"], dtype="x"), {"classes": ("a",), "filters": (8,), "share": 0.5}),
        (lambda: Inherited(2, [4]), {"classes": 2, "filters": (4,), "share": 0.5}),
        (lambda: Filled(1, filters=[2]), {"extra": 1, "share": 0.25, "filters": (2,)}),
        (lambda: Closed(), {"only": "a"}),
        (lambda: Further(1, share=0.125), {"more": 1.0, "share": 0.125, "filters": (8,)}),
    ],
)
def test_a_constructor_records_what_it_can_be_made_of_again(made, arguments):
    one = pickle.loads(pickle.dumps(made()))  # sources go to worker processes
    assert one.arguments == arguments
    assert type(one)(**one.arguments).arguments == arguments


def test_keras_is_not_told_what_it_would_track():
    one = Base(["a"], [1, 2])
    assert one.kwargs == {} and Base(1, dtype="x").kwargs == {"dtype": "x"}
    one.arguments["share"] = 3
    assert one.arguments["share"] == 0.5


def test_fields_follow_the_arguments():
    with_ = {"mask": ("instance_masks",), "points": ("keypoints", "boxes")}
    assert fields_of(("classes", "boxes"), with_, {}) == ("classes", "boxes")
    given = {"mask": True, "points": 0, "learns": None}
    assert fields_of(("classes", "boxes"), with_, given) == ("classes", "boxes", "instance_masks")
    assert fields_of(("classes", "boxes"), with_, {"points": 17}) == ("classes", "boxes", "keypoints")


def test_a_recipe_asks_the_data_for_the_named_label_set():
    part = catalog.find("heads", "ssd")
    assert part.fields({}) == ("classes", "boxes")
    assert part.fields({"learns": "people"}) == ("people/classes", "people/boxes")


def test_a_part_without_keras_gives_its_config_too():
    from visiontasks.data.augment.mosaic import Mosaic
    from visiontasks.data.sources.shapes import Shapes

    for made in (Shapes(3, size=(32, 48)), Mosaic()):
        again = type(made)(**made.get_config())
        assert again.get_config() == made.get_config() != {}
    assert Shapes(3, size=(32, 48)).get_config()["size"] == [32, 48]
