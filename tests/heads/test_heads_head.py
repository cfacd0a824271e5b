"""What heads share: which taps are levels."""

import pytest

from visiontasks.heads.head import levels_among


def test_levels_come_the_finest_first_and_within_what_the_head_can_use():
    taps = ("top", "C4", "stem", "C0", "C6", "C2", "Cx", "C")
    assert levels_among(taps, "head") == ["C0", "C2", "C4", "C6"]
    assert levels_among(taps, "head", within=range(1, 6)) == ["C2", "C4"]
    assert levels_among(("top",), "head", least=0) == []


@pytest.mark.parametrize(("least", "taps"), [(1, ("top",)), (2, ("C1", "top")), (1, ("C0",))])
def test_too_few_levels_name_the_head_and_what_there_is(least, taps):
    with pytest.raises(ValueError, match=rf"one: needs {least} or more levels of a backbone .C1 .*; got .*{taps[0]}"):
        levels_among(taps, "one", least, range(1, 6))
