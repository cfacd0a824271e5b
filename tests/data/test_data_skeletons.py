"""The Skeleton of a data set: its files' and the recipe's."""

import pytest

from visiontasks.data.report import Report
from visiontasks.data.skeletons import skeleton_of
from visiontasks.errors import DataError

NAMES = ["left_eye", "right_eye", "nose"]


def made(given=None, names=NAMES, **stated):
    return skeleton_of(given, names, Report(), "set.json", **stated)


def test_without_a_recipe_it_is_the_data_set_s():
    skeleton = made(limbs=[(0, 2)], sigmas=[0.1, 0.2, 0.3])
    assert skeleton == tuple(NAMES) and skeleton.limbs == ((0, 2),) and skeleton.partners == (1, 0, 2)
    assert skeleton.sigmas == (0.1, 0.2, 0.3)
    assert made(names=2) == ("0", "1") and made(names=2, pairs=[(0, 1)]).partners == (1, 0)


def test_a_recipe_s_mapping_comes_first():
    given = {"keypoints": ["a", "b", "c"], "limbs": [["a", "b"]], "pairs": [["a", "c"]], "sigmas": {"b": 0.5}}
    skeleton = made(given, limbs=[(0, 2)], pairs=[(0, 1)])
    assert skeleton == ("a", "b", "c") and skeleton.limbs == ((0, 1),) and skeleton.partners == (2, 1, 0)
    assert skeleton.sigmas[1] == 0.5 and given["keypoints"] == ["a", "b", "c"]  # left as it was
    assert made({"limbs": []}, limbs=[(0, 2)]).limbs == ()
    assert made({"sigmas": [0.1, 0.2, 0.3]}, limbs=[(0, 2)]).limbs == ((0, 2),)


def test_a_recipe_s_file(tmp_path):
    file = tmp_path / "skeleton.yaml"
    file.write_text("\ufefflimbs:\n- [left_eye, nose]\nsigmas: {nose: 0.25}\n", encoding="utf-8")
    skeleton = made(str(file))
    assert skeleton.limbs == ((0, 2),) and skeleton.sigmas[2] == 0.25


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"limb": []}, r"^skeleton: there is no 'limb'\. Did you mean 'limbs'"),
        ({"keypoints": ["a"]}, r"^skeleton\.keypoints: expected 3 keypoints, as set\.json has, got 1"),
        ({"keypoints": ["a", "a", "b"]}, r"^skeleton: set\.json: names: expected .* none of them twice"),
        ({"limbs": [["left_eye", "tail"]]}, r"^skeleton: set\.json: limbs: expected pairs of the keypoints"),
        ({"pairs": 3}, r"^skeleton: set\.json: "),
        ({"sigmas": {"tail": 1}}, r"^skeleton: set\.json: sigmas: expected names of"),
    ],
)
def test_a_recipe_that_is_wrong(given, text):
    with pytest.raises(DataError, match=text):
        made(given)


def test_a_data_set_that_is_wrong():
    with pytest.raises(DataError, match=r"^set\.json: sigmas: expected 3 numbers"):
        made(sigmas=[0.1])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"- a\n", "expected keypoints, limbs, pairs, sigmas, got list"),
        (b"a: [\n", "expected a YAML file with keypoints, limbs"),
        (b"\xff\xfe\x00\xd8", "expected a YAML file"),
        (b"!!python/object/apply:os.system [echo]\n", "expected a YAML file"),
        (b"#" * (2**20 + 1), "at most 1048576 bytes"),
        (b"limb: []\n", "there is no 'limb'"),
    ],
    ids=["list", "broken", "bytes", "object", "huge", "key"],
)
def test_files_that_are_none(tmp_path, content, text):
    (tmp_path / "skeleton.yaml").write_bytes(content)
    with pytest.raises(DataError, match=text):
        made(str(tmp_path / "skeleton.yaml"))
    with pytest.raises(DataError, match=r"^skeleton: expected a YAML file .* got .*gone\.yaml"):
        made(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize(
    ("names", "text"),
    [(NAMES, ""), ([*NAMES, "tail", "paw"], "for tail, paw: 0.072"), (3, "for all keypoints: 0.072")],
)
def test_assumed_sigmas_are_reported(names, text):
    report = Report()
    skeleton = skeleton_of(None, names, report, "set.json")
    assert bool(report) == bool(text) == bool(skeleton.assumed)
    assert text in str(report) and ("set.json" in str(report)) == bool(text)
