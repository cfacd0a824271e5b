"""Taps: which of them are levels, read off a backbone."""

import fakes
import pytest

from visiontasks.backbones.backbone import taps_of
from visiontasks.taps import Tap, levels_among

TAPS = fakes.taps(dict.fromkeys(("top", "C4", "stem", "C0", "C6", "C2", "Cx", "C", "image"), (8, 8, 4)))


def test_levels_come_the_finest_first_and_within_what_the_head_can_use():
    assert [tap.name for tap in levels_among(TAPS, "head")] == ["C0", "C2", "C4", "C6"]
    assert [tap.name for tap in levels_among(TAPS, "head", strides=(2, 32))] == ["C2", "C4"]
    assert levels_among({"top": TAPS["top"]}, "head", least=0) == []


@pytest.mark.parametrize(("least", "names"), [(1, ["top"]), (2, ["C4", "top"]), (1, ["C0", "image"])])
def test_too_few_levels_name_the_head_and_what_there_is(least, names):
    with pytest.raises(ValueError, match=rf"one: needs {least} or more levels of a backbone, .* got .*{names[-1]}"):
        levels_among({name: TAPS[name] for name in names}, "one", least, (2, 32))


def test_a_backbone_offers_its_outputs_and_its_input():
    taps = taps_of(fakes.backbone((32, 48), levels=(1, 3)))
    assert taps == {
        "C1": Tap("C1", 2, 4, (16, 24)),
        "C3": Tap("C3", 8, 12, (4, 6)),
        "image": Tap("image", 1, 3, (32, 48)),
    }
    assert taps_of(fakes.backbone())["C1"].shape == (None, None, None, 4)
