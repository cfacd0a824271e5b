"""Formats that no source reads, and what is said of them."""

import json

import numpy as np
import pytest

from visiontasks.data.detect import detect
from visiontasks.data.foreign import foreign_format, foreign_formats
from visiontasks.data.images import write_image
from visiontasks.errors import DataError

VIA = {"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": {"name": "rect", "x": 1}}]}}
VOTT = {"assets": {"h": {"asset": {"name": "a.jpg"}, "regions": [{"boundingBox": {"left": 1}}]}}}
STUDIO = [{"annotations": [{"result": [{"value": {"rectanglelabels": ["car"]}, "from_name": "label"}]}]}]
CREATE = [{"image": "a.jpg", "annotations": [{"label": "car", "coordinates": {"x": 2, "y": 2}}]}]
SUPERVISELY = {"objects": [{"classTitle": "car", "geometryType": "rectangle"}]}
DATUMARO = {"categories": {"label": {}}, "items": [{"id": "a", "annotations": [{"type": "bbox", "label_id": 0}]}]}
FORMATS = {
    "annotations.xml": ('<?xml version="1.0"?><annotations><image name="a.jpg"/></annotations>', "CVAT", "COCO 1.0"),
    "via.json": (json.dumps(VIA), "VIA", "COCO"),
    "export.json": (json.dumps(VOTT), "VoTT", "Pascal VOC"),
    "result.json": (json.dumps(STUDIO), "Label Studio", "YOLO"),
    "_annotations.createml.json": (json.dumps(CREATE), "CreateML", "COCO"),
    "ann/a.jpg.json": (json.dumps(SUPERVISELY), "Supervisely", "COCO"),
    "annotations/default.json": (json.dumps(DATUMARO), "Datumaro", "COCO"),
    "labels.json": ('{"classes": ["a"], "labels": {"a": 0}}', "FiftyOne", "COCODetectionDataset"),
    "bdd.json": ('[{"name": "a.jpg", "labels": [{"box2d": {"x1": 1}}]}]', "BDD100K", "COCO"),
    "metadata.jsonl": ('{"file_name": "a.jpg", "text": "x"}\n', "Hugging Face", "metadata.csv"),
    "via.csv": ("filename,region_shape_attributes\na.jpg,{}\n", "VIA", "COCO"),
    "project.csv": ('image,label\na.jpg,"[{""rectanglelabels"": [""car""]}]"\n', "Label Studio", "COCO"),
    "automl.csv": ("TRAIN,gs://x/a.jpg,car,0.1,0.1,,,0.5,0.5,,\n", "AutoML", "COCO"),
    "train.csv": ("ImageId,EncodedPixels\na.jpg,1 2 3 4\n", "run lengths", "masks"),
    "_annotations.txt": ("a.jpg 5,5,30,20,1 1,1,9,9,0\n", "keras-yolo3", "YOLO"),
    "wider.txt": ("0--Parade/a.jpg\n1\n1 1 20 20 0 0 0 0 0 0 \n", "WIDER", "COCO"),
    "train.txt": ("a.jpg 1\nb.jpg 0\n", "images and labels", "file,label"),
    "images.txt": ("1 001.Albatross/a.jpg\n2 001.Albatross/b.jpg\n", "CUB", "COCO"),
    "label_2/a.txt": ("Car 0.0 0 -1.5 1 2 20 30 1.6 1.6 3.6 -0.6 1.7 46.7 -1.5\n", "KITTI", "YOLO"),
    "ann/a.txt": ("1,1,20,20,1,4,0,0\n", "VisDrone", "YOLO"),
    "labelTxt/a.txt": ("5 5 25 5 25 20 5 20 small-car 0\n", "DOTA", "upright boxes"),
    "min.json": ('[{"image": "/data/a.jpg", "choice": "cat", "lead_time": 1.2}]', "Label Studio", "for classes CSV"),
    "v7.json": ('{"schema_ref": "https://x/darwin_json/2.0/", "annotations": [{"name": "a"}]}', "Darwin", "COCO"),
    "hasty.json": ('{"export_format_version": "1.1", "images": [{"image_name": "a.jpg"}]}', "Hasty", "COCO"),
    "a.jpg___objects.json": ('{"instances": [{"className": "cat", "type": "bbox"}]}', "SuperAnnotate", "COCO"),
    "json/a.json": ('{"url": "https://gate.dataloop.ai/x", "annotations": [{"label": "a"}]}', "Dataloop", "COCO"),
    "tasks.json": ('[{"task_id": "x", "params": {"attachment": "https://x/a.jpg"}}]', "Scale", "COCO"),
    "gtFine/a_gtFine_polygons.json": ('{"imgHeight": 1, "objects": [{"polygon": [[1, 2]]}]}', "Cityscapes", "TrainId"),
    "_annotations.jsonl": ('{"image": "a.jpg", "suffix": "<loc0100> cat"}\n', "PaliGemma", "COCO"),
    "annotation_train.odgt": ('{"ID": "a", "gtboxes": []}\n', "CrowdHuman", "COCO"),
    "rle.csv": ("id,encoding\na,\nb,400 10 450 10\n", "run lengths", "masks"),
    "cells.csv": ('id,segmentation\na,"1 2 3 4"\n', "run lengths", "masks"),
    "digits.csv": ("label,pixel0,pixel1\n1,0,0\n", "pixels", "as files"),
    "faces.csv": ("emotion,pixels\n1,70 80\n", "pixels", "as files"),
    "points.csv": ("eye_x,eye_y,Image\n1.5,2.5," + " ".join(["255"] * 999) + "\n", "pixels", "as files"),
    "wheat.csv": ("image_name,BoxesString\na.jpg,8 6 40 30;1 2 3 4\n", "all boxes in one cell", "a row for each"),
    "LOC_train_solution.csv": ("ImageId,PredictionString\nn1_1,n1 1 2 3 4 \n", "ImageNet", "CLS-LOC"),
    "gt/gt.txt": ("1,1,8,6,32,24,1,1,0.86\n", "MOT", "COCO"),
    "Label/a.txt": ("Traffic light 8.0 6.0 40.0 30.0\n", "OIDv4", "YOLO"),
    "list.txt": ("1.5 " * 200 + "0 0 a.jpg\n", "landmarks", "keypoints"),
    "list_attr_celeba.txt": ("5\nBald Male\n1.jpg -1  1\n", "CelebA", "CSV"),
    "a.pts": ("version: 1\n", "300-W", "keypoints"),
    "export/a.txt": ("0 0.5 0.5 0.2 0.2\n", "YOLO", "labels"),
    "a.slp": ("x", "SLEAP", "keypoints"),
    "bounding_boxes.labels": ('{"boundingBoxes": {"a.jpg": []}}', "Edge Impulse", "YOLO"),
    "a_keypoints.json": ('{"people": [{"pose_keypoints_2d": [1, 2, 0.9]}]}', "OpenPose", "keypoints"),
    "dicts.json": ('[{"file_name": "a.jpg", "annotations": [{"bbox": [1, 2, 3, 4]}]}]', "neither COCO", "COCO"),
    "map.json": ('{"a.jpg": "cat"}', "neither COCO", "COCO"),
    "labels.jsonl": ('{"image": "a.jpg", "label": "cat"}\n', "JSON lines", "CSV"),
    "boxes.json": ('{"a": {"bbox": [{"xmin": 1}]}}', "neither COCO", "COCO"),
    "1.0.0/x-train.tfrecord-00000-of-00001": ("x", "TensorFlow Datasets", "tfds"),
    "x_train.npy": ("x", "arrays", "PNG"),
    "scan/1.dcm": ("x", "DICOM", "PNG"),
    "clip.mp4": ("x", "video", "frames"),
    "task-1-annotation-2-by-3-tag-cat-0.npy": ("x", "brush mask", "COCO"),
    "train-images-idx3-ubyte.gz": ("x", "MNIST", "tfds"),
    "labels.XLSX": ("PK", "spreadsheet", "CSV"),
    "train.parquet": ("PAR1", "binary", "CSV"),
    "train.tfrecord": ("x", "TFRecord", "COCO"),
    "images.tar.gz": ("x", "archive", "unpack"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_is_not_read_is_named_with_what_to_do(tmp_path, name):
    text, called, advice = FORMATS[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images/a.jpg", np.zeros((20, 30, 3), np.uint8))
    (found,) = foreign_formats(tmp_path)
    assert found.startswith(f"{name}: ") and called in found and "is not read; " in found and advice in found
    for wanted in (["boxes", "classes"], ["label"]):
        with pytest.raises(DataError) as caught:
            detect(tmp_path, wanted)
        assert found in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels/train/a.txt", "0 0.5 0.5 0.2 0.2\n"),
        ("labels/a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n"),
        ("train.txt", "data/a.jpg\ndata/b.jpg\n"),
        ("classes.txt", "red car\nbus\n"),
        ("a.xml", "<annotation><filename>a.jpg</filename></annotation>"),
        ("a.json", '{"images": [{"file_name": "a.jpg"}], "annotations": [], "categories": []}'),
        ("a.json", '{"shapes": [], "imagePath": "a.jpg"}'),
        ("a.csv", "id,label\na,cat\n"),
        ("_classes.csv", "Pixel Value, Class\n0, background\n"),
        ("labels.csv", "id,annotation\na,1 2\nb,3\n"),
        ("notes.json", '{"categories": [{"id": 0, "name": "car"}], "info": {}}'),
    ],
)
def test_formats_that_are_read_are_not_foreign(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    assert foreign_formats(tmp_path) == []


@pytest.mark.parametrize("name", ["0001_c1s1_000151_01.jpg", "25_0_2_20170104023102422.jpg.chip.jpg"])
def test_classes_in_the_names_of_images_are_named(tmp_path, name):
    write_image(tmp_path / name, np.zeros((20, 30, 3), np.uint8))
    (found,) = foreign_formats(tmp_path)
    assert found.startswith(name) and "naming of" in found


def test_a_submission_is_not_named(tmp_path):
    (tmp_path / "sample_submission.csv").write_text("ImageId,EncodedPixels\na.jpg,1 2 3 4\n")
    assert foreign_formats(tmp_path) == []


def test_each_format_is_named_once_and_from_the_beginning_of_few_files(tmp_path):
    for number in range(300):
        (tmp_path / f"{number:03}.txt").write_text("1,1,20,20,1,4,0,0\n")
    assert foreign_formats(tmp_path) == ["000.txt: VisDrone's format is not read; convert them to YOLO or COCO"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("patient/IM0001", bytes(128) + b"DICM\x02\0", "DICOM is not read; convert its images to PNG"),
        ("patient/1.2.840.10008", bytes(128) + b"DICM\x02\0", "DICOM is not read"),
        ("scans/a.dcm", b"x", "DICOM is not read"),
        ("labels/a_7", b"<annotation>\n\t<folder>02</folder>", "Pascal VOC's XML without the suffix .xml"),
        ("labels/a", b'<?xml version="1.0"?>\n<annotation>', "Pascal VOC's XML"),
        ("pictures/a", b"\xff\xd8\xff\xe0", "an image without a suffix"),
        ("labels", b'{"images": [], "annotations": []}', "JSON without the suffix"),
        ("train-images-idx3-ubyte", b"\0\0\x08\x03\0\0", "IDX"),
        ("data_batch_1", b"\x80\x02}q\x01", "Python's pickle"),
        ("export", b"PK\x03\x04", "an archive is not read"),
    ],
)
def test_files_without_a_suffix_are_named_by_their_first_bytes(tmp_path, name, data, words):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    (tmp_path / "README").write_text("About the data.")
    (tmp_path / "LICENSE").write_text("[1] Free.")
    with pytest.raises(DataError, match=f"(?s)What comes near:.*{name}: {words}") as caught:
        detect(tmp_path)
    assert "README" not in str(caught.value).partition("What comes near")[2]


def test_json_in_utf_16_is_named_too(tmp_path):
    path = tmp_path / "via.json"
    path.write_bytes('{"a.jpg1": {"filename": "a.jpg", "shape_attributes": {}}}'.encode("utf-16"))
    assert "VIA" in foreign_format(path)[0]
