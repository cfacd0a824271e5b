"""Which values and colors of masks are which class."""

import pickle

import numpy as np
import pytest
from PIL import Image, ImageFilter

from visiontasks.data.images import write_image
from visiontasks.data.load import load_sources
from visiontasks.data.mask_images import read_stored_mask
from visiontasks.data.sources.masks import Masks
from visiontasks.errors import BadImage, DataError

BLACK, RED, GREEN, WHITE = (0, 0, 0), (176, 112, 32), (48, 112, 32), (255, 255, 255)
NOISE = "mask with values between those of the classes, each taken as the nearest"
NUMBERS = np.resize(np.array([0, 0, 0, 1, 2, 0], np.uint8), (6, 8))


def put(root, name, mask, split="", **saving):
    """A mask, and its image."""
    mask = mask if isinstance(mask, Image.Image) else Image.fromarray(np.asarray(mask))
    for folder in ("images", "masks"):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    image = np.zeros((mask.height, mask.width, 3), np.uint8)
    write_image((root / split / "images" / name).with_suffix(".png"), image)
    mask.save(root / split / "masks" / name, **saving)


def colored(numbers, *colors):
    return np.array(colors, np.uint8)[numbers]


def palette(numbers, *colors):
    image = Image.fromarray(np.asarray(numbers, np.uint8), "P")
    image.putpalette([level for color in colors for level in color])
    return image


def disk(low=0, high=255, size=64):
    y, x = np.mgrid[:size, :size]
    return np.where((x - size / 2) ** 2 + (y - size / 2) ** 2 < size**2 / 9, high, low).astype(np.uint8)


def masks(root, **arguments):
    return Masks(str(root / "images"), str(root / "masks"), **arguments)


TABLES = {
    "labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:48,112,32::\nbig dog:176,112,32::\n",
    "label_colors.txt": "0 0 0\tbackground\n48 112 32\t\tcat\n176 112 32 big dog\n",
    "class_dict.csv": "name,r,g,b\nbackground,0,0,0\ncat,48,112,32\nbig dog,176,112,32\n",
    "class_dict_seg.csv": "name, r, g, b\nbackground, 0, 0, 0\ncat, 48, 112, 32\nbig dog, 176, 112, 32\n",
}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("class_dict.csv", "name,g,b\ncat,48,112\n", "whole numbers from 0 to 255"),
        ("class_dict.csv", "name,r,g,b\ncat,48,112\n", "whole numbers from 0 to 255"),
        ("class_dict.csv", "name,r,g,b\ncat,48,112," + "9" * 5000, "whole numbers from 0 to 255"),
        ("class_dict.csv", "name,r,g,b\n" + "a" * 200_000 + ",1,2,3", "class_dict.csv: expected rows of text"),
        ("label_colors.txt", "48 112 " + "9" * 5000 + " cat\n", "r, g, b from 0 to 255"),
    ],
)
def test_a_broken_table_of_colors_is_named(tmp_path, name, text, says):
    put(tmp_path, "a.png", colored(NUMBERS, BLACK, GREEN, RED))
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=says):
        masks(tmp_path)


@pytest.mark.parametrize("word", ["²", "9" * 5000])
def test_a_void_that_int_cannot_read_is_an_error(tmp_path, word):
    put(tmp_path, "a.png", NUMBERS)
    with pytest.raises(DataError, match="void: expected a class"):
        masks(tmp_path, void=word)


@pytest.mark.parametrize("place", [".", "masks"])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_colors_beside_the_masks(tmp_path, name, place):
    put(tmp_path, "a.png", colored(NUMBERS, BLACK, GREEN, RED))
    put(tmp_path, "b.png", palette(NUMBERS, BLACK, GREEN, RED))
    put(tmp_path, "c.png", palette(NUMBERS, RED, GREEN, BLACK))
    put(tmp_path, "d.png", np.zeros((6, 8), np.uint8))
    (tmp_path / place / name).write_text(TABLES[name])
    source = masks(tmp_path)
    assert source.names["mask"] == ("background", "cat", "big dog") and not source.report
    for number, expected in enumerate((NUMBERS, NUMBERS, 2 - NUMBERS, 0 * NUMBERS)):
        np.testing.assert_array_equal(source[number].mask, expected)
        assert source[number].mask.dtype == np.int32
    other = masks(tmp_path, names=["big dog", "background", "cat"])  # as another split has them
    np.testing.assert_array_equal(other[0].mask, np.array([1, 2, 0])[NUMBERS])


def test_a_table_of_colors_and_masks_of_numbers(tmp_path):
    put(tmp_path, "a.png", NUMBERS)
    put(tmp_path, "b.png", palette(NUMBERS, WHITE, BLACK, (1, 2, 3)))
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    source = masks(tmp_path)
    assert source.names["mask"] == ("background", "cat", "big dog")
    np.testing.assert_array_equal(source[0].mask, NUMBERS)


def test_a_color_that_the_table_lacks(tmp_path):
    put(tmp_path, "a.png", colored(NUMBERS, BLACK, GREEN, WHITE))
    (tmp_path / "label_colors.txt").write_text(TABLES["label_colors.txt"])
    with pytest.raises(DataError, match=r"a\.png: expected the colors .* got \[255, 255, 255\]; add it"):
        masks(tmp_path)
    np.testing.assert_array_equal(masks(tmp_path, void=[WHITE])[0].mask, np.array([0, 1, 255])[NUMBERS])


def test_voc_border_is_void(tmp_path):
    put(tmp_path, "a.png", colored(NUMBERS, BLACK, GREEN, (224, 224, 192)))
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    np.testing.assert_array_equal(masks(tmp_path)[0].mask, np.array([0, 1, 255])[NUMBERS])


def test_colors_without_a_table_are_listed_with_an_argument_that_works(tmp_path):
    put(tmp_path, "a.png", colored(NUMBERS, BLACK, GREEN, RED))
    with pytest.raises(DataError) as caught:
        masks(tmp_path)
    text = str(caught.value)
    assert "[0, 0, 0] (67%), [48, 112, 32] (17%), [176, 112, 32] (17%)" in text
    assert text.endswith("Set colors=[[0,0,0],[48,112,32],[176,112,32]].")
    source = masks(tmp_path, colors=[BLACK, GREEN, RED])
    np.testing.assert_array_equal(source[0].mask, NUMBERS)
    assert source.names["mask"] == ("#000000", "#307020", "#b07020")
    assert masks(tmp_path, colors=[BLACK, GREEN, RED], names=["a", "b", "c"]).names["mask"] == ("a", "b", "c")
    named = masks(tmp_path, colors={"dog": RED, "cat": GREEN, "none": BLACK})
    assert named.names["mask"] == ("dog", "cat", "none")
    np.testing.assert_array_equal(named[0].mask, 2 - NUMBERS)
    again = masks(tmp_path, names=source.names["mask"])  # a validation set gets these names
    np.testing.assert_array_equal(again[0].mask, NUMBERS)
    for wrong in ([BLACK, BLACK], [[0, 0]], [[0, 0, 256]], []):
        with pytest.raises(DataError, match="colors: expected"):
            masks(tmp_path, colors=wrong)


def test_photographs_as_masks_get_no_advice_of_colors(tmp_path):
    put(tmp_path, "a.png", np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    with pytest.raises(DataError, match="look like photographs") as caught:
        masks(tmp_path)
    assert "Set colors" not in str(caught.value)


def test_other_values_that_fill_areas_are_no_soft_edges(tmp_path):
    numbers = np.zeros((64, 64), np.uint8)
    for number, row in enumerate((4, 20, 36, 52), start=1):
        numbers[row : row + 8, 10:30] = number
    put(tmp_path, "a.png", numbers)
    with pytest.raises(DataError, match=r"expected the values \[0, 1\], got 2; add it. Without a class are 2 \(3.9%\)"):
        masks(tmp_path, values=[0, 1])


@pytest.mark.parametrize("indexed", [False, True])
def test_other_colors_that_fill_areas_are_no_soft_edges(tmp_path, indexed):
    numbers, colors = np.zeros((64, 64), np.uint8), (BLACK, RED, GREEN, (0, 0, 128), (64, 0, 0), (88, 56, 16))
    for number, row in enumerate((0, 12, 24, 36, 48), start=1):
        numbers[row : row + 8, 10:30] = number
    put(tmp_path, "a.png", palette(numbers, *colors) if indexed else colored(numbers, *colors))
    (tmp_path / "labelmap.txt").write_text(TABLES["labelmap.txt"])
    with pytest.raises(DataError, match=r"expected the colors \[\[0, 0, 0\], .* got \[0, 0, 128\]; add it"):
        masks(tmp_path)


def test_lossy_colors_become_the_nearest(tmp_path):
    numbers = (disk() > 0).astype(int)
    put(tmp_path, "a.jpg", colored(numbers, BLACK, (200, 30, 30)), quality=90)
    with pytest.raises(DataError, match=r"(?s)expected one class index per pixel, got RGB colors.*Set colors="):
        masks(tmp_path)
    source = masks(tmp_path, colors=[BLACK, (200, 30, 30)])
    assert (source[0].mask == numbers).mean() > 0.97 and source.report.count(NOISE) == 1


def soft(kind, tmp_path, low=0, high=255):
    image = Image.fromarray(disk(low, high))
    if kind == "blurred":
        put(tmp_path, "a.png", image.filter(ImageFilter.GaussianBlur(1)))
    elif kind == "halved":
        put(tmp_path, "a.png", image.resize((32, 32), Image.Resampling.BOX))
    elif kind == "rotated":
        put(tmp_path, "a.png", image.rotate(30, Image.Resampling.BICUBIC))
    else:
        put(tmp_path, "a.jpg", image.convert("RGB") if kind == "RGB JPEG" else image)
        if kind == "JPEG as PNG":
            Image.open(tmp_path / "masks/a.jpg").save(tmp_path / "masks/a.png")
            (tmp_path / "masks/a.jpg").unlink()


@pytest.mark.parametrize("kind", ["blurred", "halved", "rotated", "JPEG", "RGB JPEG", "JPEG as PNG"])
def test_soft_edges_of_black_and_white(tmp_path, kind):
    soft(kind, tmp_path)
    with pytest.raises(DataError, match=r"hold 0 \(\d+%\), 255 \(\d+%\).*Set values=\[0,255\]\.$"):
        masks(tmp_path)
    (tmp_path / "classes.txt").write_text("skin\nlesion\n")
    with pytest.raises(DataError, match=r"Set values=\[0,255\]\.$"):
        masks(tmp_path)
    source = masks(tmp_path, values=[0, 255])
    assert source.names["mask"] == ("skin", "lesion") and source.report.count(NOISE) == 1
    mask, truth = source[0].mask, disk(0, 1)[:: 2 if kind == "halved" else 1, :: 2 if kind == "halved" else 1]
    assert set(np.unique(mask)) == {0, 1} and (mask == truth).mean() > 0.95
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source))[0].mask, mask)


def test_a_class_that_values_lack_is_no_soft_edge(tmp_path):
    put(tmp_path, "a.png", np.resize(np.array([0, 255, 0, 0, 0, 0, 128], np.uint8), (6, 8)))
    with pytest.raises(DataError, match=r"values: .*expected the values \[0, 255\], got 128; add it"):
        masks(tmp_path, values=[0, 255])
    np.testing.assert_array_equal(np.unique(masks(tmp_path, values=[0, 255], void=128)[0].mask), [0, 1, 255])


@pytest.mark.parametrize("levels", [(0, 38, 75), (0, 127, 255), (0, 85, 170, 255), (0, 128), (50, 100, 150)])
def test_gray_levels_are_no_class_numbers(tmp_path, levels):
    put(tmp_path, "a.png", np.resize(np.array(levels, np.uint8), (6, 8)))
    with pytest.raises(DataError) as caught:
        masks(tmp_path)
    fix = f"[{','.join(map(str, levels))}]"
    assert f"Set values={fix}." in str(caught.value) and f"{levels[1]} (" in str(caught.value)
    source = masks(tmp_path, values=levels)
    np.testing.assert_array_equal(source[0].mask.ravel()[: len(levels)], range(len(levels)))


def test_a_few_classes_may_be_missing(tmp_path):
    put(tmp_path, "a.png", np.resize(np.array([0, 1, 2, 4, 255], np.uint8), (6, 8)))
    source = masks(tmp_path)
    assert source.names["mask"] == ("0", "1", "2", "3", "4")
    assert str(source.report) == "1 × class that occurs in no mask: 3"
    many = np.resize(np.array([0, *range(1, 21), 255], np.uint8), (40, 50))  # as VOC's
    many[:34] = 0
    put(tmp_path, "b.png", np.tile(many, 1))
    assert len(masks(tmp_path).names["mask"]) == 21


def test_classes_that_begin_with_1(tmp_path):
    put(tmp_path, "a.png", np.resize(np.array([1, 2, 3], np.uint8), (6, 8)))
    source = masks(tmp_path)
    assert source.names["mask"] == ("1", "2", "3") and set(np.unique(source[0].mask)) == {0, 1, 2}
    assert source.report.count("masks without the value 0, whose classes begin with 1") == 1
    put(tmp_path / "val", "b.png", np.resize(np.array([1, 3], np.uint8), (6, 8)))
    val = masks(tmp_path / "val", names=source.names["mask"])
    assert set(np.unique(val[0].mask)) == {0, 2}
    (tmp_path / "classes.txt").write_text("pet\nbackground\nborder\n")
    with pytest.raises(DataError, match=r"values: .*below 3 \(names: pet.*got 3.*Set values=\[1,2,3\]"):
        masks(tmp_path)


def test_item_palettes_that_differ_are_mapped_by_color(tmp_path):
    binary = (NUMBERS > 0).astype(np.uint8)
    for number, colors in enumerate([(WHITE, BLACK), (BLACK, WHITE)] * 2):
        put(tmp_path, f"{number}.png", palette(binary if colors[0] == BLACK else 1 - binary, *colors))
    source = masks(tmp_path)
    assert source.names["mask"] == ("#000000", "#ffffff")
    for sample in source:
        np.testing.assert_array_equal(sample.mask, binary)
    assert source.report.count("mask whose palette numbers the colors otherwise, mapped by color") == 2
    put(tmp_path / "val", "0.png", palette(1 - binary, WHITE, BLACK))
    np.testing.assert_array_equal(masks(tmp_path / "val", names=source.names["mask"])[0].mask, binary)


def test_adaptive_palettes_of_three_colors(tmp_path):
    put(tmp_path, "a.png", palette(NUMBERS, BLACK, GREEN, RED))
    put(tmp_path, "b.png", palette((NUMBERS > 0), BLACK, RED))
    put(tmp_path, "c.png", palette(NUMBERS, BLACK, GREEN, RED))
    source = masks(tmp_path)
    np.testing.assert_array_equal(source[1].mask, 2 * (NUMBERS > 0))
    assert source.names["mask"] == ("#000000", "#307020", "#b07020")


def test_palettes_without_a_common_meaning_are_an_error(tmp_path):
    put(tmp_path, "a.png", palette(NUMBERS > 0, BLACK, GREEN))
    put(tmp_path, "b.png", palette(NUMBERS > 0, BLACK, RED))
    with pytest.raises(DataError, match=r"palettes whose colors differ.*Set colors=\[\[0,0,0\],\[48,112,32\]"):
        masks(tmp_path)


def test_a_palette_of_one_meaning_is_read_by_its_indices(tmp_path):
    put(tmp_path, "a.png", palette(NUMBERS, BLACK, RED, GREEN))
    put(tmp_path, "b.png", palette(NUMBERS > 0, BLACK, RED))
    assert masks(tmp_path).names["mask"] == ("0", "1", "2") and not masks(tmp_path).report


ROBOFLOW = "Pixel Value, Class\n0, background\n1, road\n2, car\n"


def test_roboflow_names_values(tmp_path):
    for split, text in (("train", ROBOFLOW), ("valid", "Pixel Value, Class\n0, background\n2, road\n1, car\n")):
        put(tmp_path, f"{split}.png", NUMBERS, split)
        for path in sorted((tmp_path / split).glob("*/*.png")):
            path.rename(tmp_path / split / f"x{'_mask' * (path.parent.name == 'masks')}.png")
        (tmp_path / split / "_classes.csv").write_text(text)
    train, val = load_sources(str(tmp_path), ["mask"], 0.25, 0)
    assert train.names["mask"] == val.names["mask"] == ("background", "road", "car")
    np.testing.assert_array_equal(train[0].mask, NUMBERS)
    np.testing.assert_array_equal(val[0].mask, np.array([0, 2, 1])[NUMBERS])  # its own table numbers them otherwise


def test_lists_of_another_order_are_an_error(tmp_path):
    for split, text in (("train", "sky\nsea\n"), ("val", "sea\nsky\n")):
        put(tmp_path, f"{split}.png", NUMBERS > 0, split)
        (tmp_path / split / "masks" / "classes.txt").write_text(text)
    with pytest.raises(DataError, match="^val.names: 'sea' is class 1 in names and class 0 in the list beside"):
        load_sources(str(tmp_path), ["mask"], 0.25, 0)


@pytest.mark.parametrize("void", ["car", ["car"], 2, [2]])
def test_void_names_a_class_or_a_value(tmp_path, void):
    put(tmp_path, "a.png", NUMBERS)
    expected = np.array([0, 1, 255])[NUMBERS]
    if void in (2, [2]):
        source = masks(tmp_path, void=void)
        assert source.names["mask"] == ("0", "1")
        np.testing.assert_array_equal(source[0].mask, expected)
        np.testing.assert_array_equal(masks(tmp_path, void=void, names=("0", "1"))[0].mask, expected)
    else:
        given = masks(tmp_path, void=void, names=["ground", "road", "car"])
        assert given.names["mask"] == ("ground", "road")
        np.testing.assert_array_equal(given[0].mask, expected)
    for name, text in (
        ("classes.txt", "ground\nroad\ncar\n"),
        ("_classes.csv", ROBOFLOW.replace("background", "ground")),
    ):
        (tmp_path / name).write_text(text)
        source = masks(tmp_path, void=void)
        assert source.names["mask"] == ("ground", "road")
        np.testing.assert_array_equal(source[0].mask, expected)
        again = masks(tmp_path, void=void, names=source.names["mask"])  # as the validation set
        np.testing.assert_array_equal(again[0].mask, expected)
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"void: expected a class \(0, 1, 2\) or a value, got 'bus'"):
        masks(tmp_path, void="bus")


def test_void_closes_the_numbers_up(tmp_path):
    put(tmp_path, "a.png", NUMBERS)
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncell\nwall\n")
    assert masks(tmp_path).names["mask"] == ("_background_", "cell", "wall")
    source = masks(tmp_path, void="_background_")
    assert source.names["mask"] == ("cell", "wall")
    np.testing.assert_array_equal(source[0].mask, np.array([255, 0, 1])[NUMBERS])
    put(tmp_path / "c", "a.png", colored(NUMBERS, BLACK, GREEN, RED))
    (tmp_path / "c/labelmap.txt").write_text(TABLES["labelmap.txt"])
    source = masks(tmp_path / "c", void="background")
    assert source.names["mask"] == ("cat", "big dog")
    np.testing.assert_array_equal(source[0].mask, np.array([255, 0, 1])[NUMBERS])


def test_cityscapes_names(tmp_path):
    for kind, count, seven in (("labelIds", 34, "road"), ("labelTrainIds", 19, "traffic sign")):
        put(tmp_path / kind, "a.png", np.resize(np.array([0, 7, 26 % count], np.uint8), (6, 8)))
        mask = tmp_path / kind / "masks/a.png"
        mask.rename(mask.with_name(f"a_gtFine_{kind}.png"))
        names = masks(tmp_path / kind).names["mask"]
        assert len(names) == count and names[7] == seven


def test_a_mask_that_changed_since_it_was_checked_is_skipped(tmp_path):
    put(tmp_path, "a.png", disk())
    source = masks(tmp_path, values=[0, 255])
    put(tmp_path, "a.png", disk(0, 7))
    with pytest.raises(BadImage, match="changed since it was checked"):
        source[0]


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("labelmap.txt", "cat:1,2,3::\ncat:4,5,6::\n", "expected one unique class name per line, got 'cat' twice"),
        ("label_colors.txt", "what, is this\n", "expected in each line a class name and its color"),
        ("label_colors.txt", "0 0 300 sky\n", "expected in each line a class name and its color"),
        ("class_dict.csv", "a,b,c,d,e\n1,2,3,4,5\n", "expected columns such as name, r, g, b"),
        ("class_dict.csv", "name,r,g,b\nx,1,2,high\n", "expected whole numbers from 0 to 255"),
        ("classes.txt", "\n", "expected one unique class name per line, got none"),
    ],
)
def test_broken_tables(tmp_path, name, text, error):
    put(tmp_path, "a.png", NUMBERS)
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=error):
        masks(tmp_path)


@pytest.mark.parametrize(("name", "line"), [("labelmap.txt", "{}:::"), ("label_colors.txt", " {}")])
def test_a_table_without_colors_means_those_of_pascal_voc(tmp_path, name, line):
    colors = np.zeros((2, 3, 3), np.uint8)
    colors[0, 0], colors[1, 1] = (128, 0, 0), (0, 128, 0)
    put(tmp_path, "a.png", colors)
    (tmp_path / name).write_text("\n".join(map(line.format, ("background", "cat", "dog"))))
    source = masks(tmp_path)
    assert source.names["mask"] == ("background", "cat", "dog")
    assert source[0].mask.tolist() == [[1, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_is_lossy_where_it_is(tmp_path, lossless):
    path = tmp_path / "a.webp"
    pixels = np.kron(np.random.default_rng(0).integers(0, 2, (6, 8)), np.ones((9, 9))).astype(np.uint8) * 200
    Image.fromarray(pixels).save(path, lossless=lossless)
    assert read_stored_mask(path).lossy == (not lossless)


def test_masks_of_another_size_are_counted(tmp_path):
    for number in range(4):
        put(tmp_path, f"{number}.png", NUMBERS)
        if number % 2:
            Image.fromarray(np.zeros((7, 8), np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    with pytest.raises(DataError, match=r"1.png.*\(6, 8\).*got \(7, 8\), and so have 2 of 4 masks another size"):
        Masks(str(tmp_path / "images"), str(tmp_path / "masks"))


def test_masks_of_fractions_are_refused_and_whole_floats_are_read(tmp_path):
    put(tmp_path, "a.tif", NUMBERS.astype(np.float32))
    source = Masks(str(tmp_path / "images"), str(tmp_path / "masks"))
    np.testing.assert_array_equal(source[0].mask, NUMBERS)
    for name, wrong, numbers in (
        ("b.tif", NUMBERS / np.float32(2), "0 to 1"),
        ("c.tif", NUMBERS - np.int32(1), "-1 to 1"),
    ):
        put(tmp_path / name, name, wrong)
        with pytest.raises(DataError, match=f"whole numbers from 0 to 65535, got numbers from {numbers}"):
            Masks(str(tmp_path / name / "images"), str(tmp_path / name / "masks"))
