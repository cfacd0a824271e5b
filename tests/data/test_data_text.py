"""Text files that come with data, in each encoding in which tools write them."""

import codecs

import cv2
import numpy as np
import pytest

from visiontasks.data.sources.masks import Masks
from visiontasks.data.sources.voc import Voc
from visiontasks.data.sources.yolo import Yolo
from visiontasks.data.text import decode, in_utf8, read_lines, read_text
from visiontasks.errors import DataError

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "big endian with a mark")


def encoded(text, encoding):
    return codecs.BOM_UTF16_BE + text.encode("utf-16-be") if encoding.startswith("big") else text.encode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_encoding_gives_the_same_lines(encoding, tmp_path):
    (tmp_path / "a.txt").write_bytes(encoded("zebra\r\n\r\n  née été \n", encoding))
    assert read_lines(tmp_path / "a.txt", "names") == ["zebra", "née été"]
    assert decode(encoded("", encoding)) == ""


@pytest.mark.parametrize("content", [b"caf\xe9\n", b"\xff\xfea", None], ids=["latin-1", "half", "missing"])
def test_another_encoding_is_an_error_that_names_the_file(content, tmp_path):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    for read in (read_text, read_lines):
        with pytest.raises(DataError, match=r"^list: expected a list of images in UTF-8 or UTF-16, got .*a\.txt: "):
            read(tmp_path / "a.txt", "a list of images", "list")


def blank(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((40, 40), value, np.uint8))


def of_yolo(root, write):
    blank(root / "images/é.png")
    write("labels/é.txt", "0 .5 .5 .2 .2\n")
    write("list.txt", "images/é.png\n")
    write("data.yaml", "names: [né, e]\ntrain: list.txt\n")
    return Yolo(str(root / "data.yaml"))


def of_darknet(root, write):
    blank(root / "images/é.png")
    write("labels/é.txt", "0 .5 .5 .2 .2\n")
    write("train.txt", "images/é.png\n")
    write("obj.names", "né\ne\n")
    write("obj.data", "names = obj.names\n")
    return Yolo(str(root / "obj.data"))


def of_voc(root, write):
    blank(root / "JPEGImages/é.png")
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in (("xmin", 5), ("ymin", 5), ("xmax", 20), ("ymax", 20)))
    thing = f"<object><name>né</name><bndbox>{box}</bndbox></object>"
    write("ImageSets/Main/train.txt", "é\n")
    (root / "Annotations").mkdir()
    (root / "Annotations/é.xml").write_text(f"<annotation><filename>é.png</filename>{thing}</annotation>", "utf-8")
    return Voc(str(root), "train", names=["né", "e"])


def of_masks(root, write):
    for name in ("é", "other"):
        blank(root / f"images/{name}.png")
        blank(root / f"masks/{name}.png", value=1)
    write("list.txt", "é\n")
    write("masks/classes.txt", "né\ne\n")
    return Masks(str(root / "images"), str(root / "masks"), list=str(root / "list.txt"))


def of_colors(root, write):
    blank(root / "images/é.png")
    blank(root / "masks/é.png", value=1)
    write("labelmap.txt", "né:0,0,0::\ne:128,0,0::\n")
    return Masks(str(root / "images"), str(root / "masks"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("make", [of_yolo, of_darknet, of_voc, of_masks, of_colors])
def test_every_list_of_a_data_set_may_have_each_encoding(make, encoding, tmp_path):
    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encoded(text, encoding))

    source = make(tmp_path, write)
    assert [source.describe(n).rpartition("/")[2] for n in range(len(source))] == ["é.png"]
    assert next(iter(source.names.values())) == ("né", "e")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_the_beginning_of_text_in_utf_8(encoding):
    data = '{"größe": 1}'.encode(encoding)
    assert in_utf8(data) == '{"größe": 1}'.encode()
    assert in_utf8(data[:-1]) == '{"größe": 1'.encode()
