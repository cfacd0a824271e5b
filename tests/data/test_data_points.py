"""Tables of points: what they may hold, and what is done about it."""

from pathlib import Path

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.images import write_image
from visiontasks.data.load import load_data, load_source
from visiontasks.data.sources.points import Points
from visiontasks.errors import DataError

HEIGHT, WIDTH = 40, 60
OLD = "scorer,me,me,me,me\nbodyparts,snout,snout,leftear,leftear\ncoords,x,y,x,y\n"
NEW = "scorer,,,me,me,me,me\nbodyparts,,,snout,snout,leftear,leftear\ncoords,,,x,y,x,y\n"
SEVERAL = (
    "scorer,,,me,me,me,me,me,me,me,me\nindividuals,,,m1,m1,m1,m1,m2,m2,m2,m2\n"
    "bodyparts,,,snout,snout,leftear,leftear,snout,snout,leftear,leftear\ncoords,,,x,y,x,y,x,y,x,y\n"
)


def write(root, rows, header=OLD, video="v", images=4, file="CollectedData_me.csv"):
    folder = root / "labeled-data" / video
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(images):
        write_image(folder / f"img{number}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    (folder / file).write_text(header + "\n".join(rows) + "\n")
    return str(folder / file)


def points(root, *rows, header=OLD, **arguments):
    write(root, rows, header)
    return Points(str(root), **arguments)


def noted(source):
    return {what: len(names) for what, names, _ in source.report.items() if "sigma" not in what}


def test_an_image_has_one_object_with_its_points(tmp_path):
    source = points(tmp_path, "labeled-data/v/img0.png,20,10,40,30", "labeled-data/v/img1.png,,,NaN,nan")
    assert source.fields == {"boxes", "classes", "tags", "label", "keypoints"}
    assert source.names["classes"] == ("animal",) and source.names["keypoints"] == ("snout", "leftear")
    sample = source[0]
    assert sample.keypoints.tolist() == [[[20, 10, 2], [40, 30, 2]]] and sample.classes.tolist() == [0]
    np.testing.assert_allclose(sample.boxes, [[16, 6, 44, 34]])  # 0.15 of 20 is 3, and 4 the least
    assert sample.id == "labeled-data/v/img0.png" and sample.areas is None
    empty = source[1]
    assert empty.keypoints.shape == (0, 2, 3) and empty.boxes.shape == (0, 4) and empty.label == -1
    assert noted(source) == {"row without a labeled point, used as an image without objects": 1}
    assert "CollectedData_me.csv, line 5" in str(source.report)


def test_three_columns_name_the_image(tmp_path):
    source = points(tmp_path, "labeled-data,v,img2.png,20,10,,", header=NEW, class_name="mouse", margin=0.0)
    assert source.names["label"] == ("mouse",) and source[0].image[0, 0, 0] == 2
    assert source[0].keypoints.tolist() == [[[20, 10, 2], [0, 0, 0]]]
    assert source[0].boxes.tolist() == [[16, 6, 24, 14]]  # a single point has a box too


def test_the_box_has_its_margin_within_the_image(tmp_path):
    source = points(tmp_path, "labeled-data/v/img0.png,2,5,42,35", margin=0.25)
    assert source[0].boxes.tolist() == [[0, 0, 52, 40]]


def test_several_individuals_are_several_objects(tmp_path):
    rows = ["labeled-data,v,img0.png,10,10,20,20,,,50,30", "labeled-data,v,img1.png,,,,,1,2,3,4"]
    source = points(tmp_path, *rows, header=SEVERAL)
    assert source[0].keypoints.tolist() == [[[10, 10, 2], [20, 20, 2]], [[0, 0, 0], [50, 30, 2]]]
    assert source[1].keypoints.tolist() == [[[1, 2, 2], [3, 4, 2]]] and not noted(source)


def test_points_of_no_individual_are_left_out(tmp_path):
    header = (
        "scorer,me,me,me,me,me,me\nindividuals,m1,m1,m2,m2,single,single\n"
        "bodyparts,snout,snout,tail,tail,corner,corner\ncoords,x,y,x,y,x,y\n"
    )
    source = points(tmp_path, "labeled-data/v/img0.png,1,2,3,4,5,6", header=header)
    assert source.names["keypoints"] == ("snout", "tail")
    assert source[0].keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]], [[0, 0, 0], [3, 4, 2]]]
    assert noted(source) == {"table with points of no individual (single), left out": 1}


def test_points_outside_of_the_image_are_not_labeled(tmp_path):
    rows = [
        "labeled-data/v/img0.png,60.4,10,20,-5",
        "labeled-data/v/img1.png,70,10,,",
        "labeled-data/v/img2.png,1,1,inf,2",
    ]
    source = points(tmp_path, *rows)
    assert source[0].keypoints.tolist() == [[[60, 10, 2], [0, 0, 0]]] and source[1].keypoints.shape == (0, 2, 3)
    assert source[2].keypoints.tolist() == [[[1, 1, 2], [0, 0, 0]]]
    assert noted(source) == {
        "keypoint outside of its image, not labeled": 2,
        "row without a labeled point, used as an image without objects": 1,
    }


def test_likelihoods_are_not_used(tmp_path):
    header = "scorer,m,m,m\nbodyparts,snout,snout,snout\ncoords,x,y,likelihood\n"
    source = points(tmp_path, "labeled-data/v/img0.png,5,6,0.01", header=header)
    assert source[0].keypoints.tolist() == [[[5, 6, 2]]]
    assert noted(source) == {"table with likelihoods, which are not used": 1}


def test_all_tables_of_a_project_are_read(tmp_path):
    write(tmp_path, ["labeled-data/v/img0.png,1,2,3,4"])
    other = "scorer,,,me,me,me,me\nbodyparts,,,leftear,leftear,snout,snout\ncoords,,,x,y,x,y\n"
    write(tmp_path, ["labeled-data,w,img1.png,3,4,1,2"], other, video="w")
    source = Points(str(tmp_path))
    assert [source[n].id for n in range(2)] == ["labeled-data/v/img0.png", "labeled-data/w/img1.png"]
    assert source[0].keypoints.tolist() == source[1].keypoints.tolist() == [[[1, 2, 2], [3, 4, 2]]]
    write(tmp_path, ["labeled-data,w,img1.png,3,4,1,2"], other.replace("snout", "nose"), video="w")
    with pytest.raises(
        DataError, match=r"w/CollectedData_me\.csv: expected the keypoints of .*snout, leftear, got leftear, nose"
    ):
        Points(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["labeled-data/v/img0.png", "labeled-data\\v\\img0.png", "/home/me/p/labeled-data/v/img0.png"]
)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_images_are_found_from_any_folder(tmp_path, name, depth):
    table = Path(write(tmp_path, [f"{name},1,2,3,4"]))
    root = (tmp_path, tmp_path / "labeled-data", tmp_path / "labeled-data/v")[depth]
    table.rename(root / "points.csv")
    source = Points(str(root / "points.csv"))
    assert source[0].path == str(tmp_path / "labeled-data/v/img0.png")
    assert Points.recognize(root) == {"train": {"path": str(root / "points.csv")}}


def test_config_yaml_has_the_limbs(tmp_path):
    table = write(tmp_path, ["labeled-data/v/img0.png,1,2,3,4"])
    (tmp_path / "config.yaml").write_text("skeleton:\n- - snout\n  - leftear\n- - snout\n  - gone\n")
    for path in (tmp_path, table):
        source = Points(str(path))
        assert source.names["keypoints"].limbs == ((0, 1),)
        assert noted(source) == {"limb that is no pair of keypoints, left out": 1}
    assert Points(table, skeleton={"limbs": []}).names["keypoints"].limbs == ()
    (tmp_path / "config.yaml").write_text("skeleton: [\n")
    assert noted(Points(table)) == {"config.yaml that cannot be read, its limbs are not used": 1}
    for text in ("", "- a\n", "skeleton: none\n"):
        (tmp_path / "config.yaml").write_text(text)
        assert not noted(Points(table))


def test_layouts(tmp_path):
    assert Points.recognize(tmp_path) is None
    write(tmp_path, ["labeled-data/v/img0.png,1,2,3,4"])
    splits, message = detect(tmp_path, ["boxes", "keypoints"])
    assert splits == {"train": {"source": "points", "path": str(tmp_path)}, "val": None} and "read as points" in message
    other = tmp_path / "lightning"
    other.mkdir()
    Path(write(tmp_path, ["labeled-data/v/img0.png,1,2,3,4"])).rename(other / "CollectedData.csv")
    (other / "CollectedData_new.csv").write_text(OLD + "labeled-data/v/img1.png,1,2,3,4\n")
    (tmp_path / "labeled-data").rename(other / "labeled-data")
    assert Points.recognize(other) == {"train": {"path": str(other / "CollectedData.csv")}}
    (other / "train.csv").write_text(OLD + "labeled-data/v/img0.png,1,2,3,4\n")
    (other / "val.csv").write_text(OLD + "labeled-data/v/img1.png,1,2,3,4\n")
    (other / "CollectedData.csv").unlink()
    assert Points.recognize(other) == {split: {"path": str(other / f"{split}.csv")} for split in ("train", "val")}
    (other / "val.csv").write_text("file,tags\na.png,x\n")
    assert Points.recognize(other) is None


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (OLD, "labeled-data/v/img0.png,1,2,3,x", r"me\.csv, line 4: expected a number, or nothing .* got 'x'"),
        (OLD, "labeled-data/v/img0.png,1,2,3", r"line 4: expected 5 columns"),
        (OLD, "labeled-data/v/gone.png,1,2,3,4", "expected image files, got none of the 1"),
        (OLD, "17,1,2,3,4", "expected image files"),
        (OLD, "labeled-data/v/img0.png,,,,", "nothing to train on: expected rows with points, got none"),
        (OLD, "labeled-data/v/img0.png,1,2,3,4\nlabeled-data/v/img0.png,1,2,3,5", "line 5: expected each image once"),
        (
            OLD.replace("coords", "coord"),
            "labeled-data/v/img0.png,1,2,3,4",
            "expected the first rows scorer, bodyparts",
        ),
        (OLD.replace("bodyparts", "parts"), "labeled-data/v/img0.png,1,2,3,4", "expected the first rows scorer"),
        (OLD.replace("x,y,x,y", "x,y,z,y"), "labeled-data/v/img0.png,1,2,3,4", "columns x, y and maybe likelihood"),
        (OLD.replace("x,y,x,y", "x,y,x,x"), "labeled-data/v/img0.png,1,2,3,4", "columns once, got leftear x twice"),
        (OLD.replace("leftear,leftear", "a,b"), "labeled-data/v/img0.png,1,2,3,4", "columns x and y of a, got x alone"),
        (OLD, "../../secret.png,1,2,3,4", "expected a file in .*outside"),
        (OLD, "/etc/passwd,1,2,3,4", "expected a file in .*outside"),
    ],
    ids=str,
)
def test_errors(tmp_path, header, row, message):
    root = tmp_path / "deep" / "set"
    write(root, [row], header)
    write_image(tmp_path / "secret.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(DataError, match=message):
        Points(str(root))


def test_rows_that_stand_twice_and_missing_images(tmp_path):
    row = "labeled-data/v/img0.png,1,2,,"
    source = points(tmp_path, row, row, "labeled-data/v/gone.png,1,2,3,4")
    assert len(source) == 1 and noted(source) == {"image missing, skipped": 1}


def test_names_of_other_classes_are_not_known(tmp_path):
    source = points(tmp_path, "labeled-data/v/img0.png,1,2,3,4", class_name="mouse", names=["person", "mouse"])
    assert source[0].classes.tolist() == [1] and source[0].known.tolist() == [False, True]
    assert points(tmp_path, "labeled-data/v/img0.png,1,2,3,4", names=["person"])[0].known is None
    with pytest.raises(DataError, match=r"expected a class among names \(person, cat\), got 'animal'"):
        points(tmp_path, "labeled-data/v/img0.png,1,2,3,4", names=["person", "cat"])


def test_a_validation_set_gets_the_training_set_s_arguments(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    for name in "ab":
        write(tmp_path / name, ["labeled-data/v/img0.png,1,2,3,4", "labeled-data/v/img1.png,1,2,3,4"])
    given = {"source": "points", "class_name": "mouse", "skeleton": {"sigmas": {"snout": 0.5}}, "margin": 1.0}
    data = {"train": {**given, "path": str(tmp_path / "a")}, "val": {"source": "points", "path": str(tmp_path / "b")}}
    train, val = load_data(data, batch=1, fields=("boxes", "classes", "keypoints"), size=(32, 32), workers=0)
    assert val.source.names == train.source.names and val.source.names["keypoints"].sigmas[0] == 0.5
    assert val.source[0].boxes.tolist() == train.source[0].boxes.tolist()
    assert load_source(data["val"], "val", train.source.names).names["classes"] == ("mouse",)
