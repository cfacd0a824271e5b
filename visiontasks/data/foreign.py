"""Names the formats of annotations that no source reads, and what to export instead, for errors."""

import os
import re
from pathlib import Path

from visiontasks.data.images import files_below

_HEAD = 2**14  # bytes of a file that are looked at
_MOST, _MOST_ALIKE = 200, 8  # files, and files of one suffix in one folder
_IMAGE = rb"[^\s,]+\.(?:jpe?g|png|bmp|webp)"
_COCO = "export COCO"
_CSV = "save it as CSV"
_PNG = "convert its images to PNG"
LIST = "a list of images and labels"  # some are read: `sources.listed`
_UNPACK = "unpack it, and give the folder"

# (suffixes, what their first bytes have, format, what to do); the surest first
_FORMATS = (
    (".xml", rb"<annotations>", "CVAT for images or video", "export COCO 1.0"),
    (".json", rb'"shape_attributes"|"_via_', "JSON of the VGG Image Annotator (VIA)", _COCO),
    (".json", rb'"rectanglelabels"|"from_name"|"completed_by"', "Label Studio's JSON", "export COCO or YOLO"),
    (".json", rb'"assets"\s*:|"boundingBox"\s*:', "VoTT's JSON", "export Pascal VOC or CSV"),
    (".json", rb'"coordinates"\s*:\s*\{', "CreateML", "export COCO or Pascal VOC"),
    (".json", rb'"classTitle"|"geometryType"', "Supervisely", "export COCO or YOLO"),
    (".json", rb'"box2d"', "BDD100K's JSON", "convert it to COCO"),
    (".json", rb'"items"\s*:\s*\[(?s:.*)"label_id"', "Datumaro's JSON", _COCO),
    (
        ".json",
        rb'"bounding_box"|"classes"\s*:\s*\[(?s:.*)"labels"\s*:\s*\{',
        "FiftyOne's JSON",
        "export COCODetectionDataset, or ImageClassificationDirectoryTree for classes",
    ),
    (".json .ndjson", rb'"Labeled Data"|"data_row"', "Labelbox's JSON", _COCO),
    (".json .jsonl", rb'"imageGcsUri"', "JSON lines of Vertex AI", _COCO),
    (".jsonl", rb'"file_name"', "metadata.jsonl of Hugging Face", "write COCO, or metadata.csv of file_name and label"),
    (".manifest", rb'"source-ref"', "a manifest of SageMaker", "convert it to COCO"),
    (".csv", rb"region_shape_attributes", "CSV of the VGG Image Annotator (VIA)", _COCO),
    (".csv", rb"(?:rectangle|polygon|brush|keypoint)labels", "Label Studio's CSV with JSON in its cells", _COCO),
    (".csv", rb"\A\w*,?gs://[^\n]*,[\d.]+,[\d.]+,", "CSV of Google AutoML, boxes as shares", _COCO),
    (
        ".csv",
        rb"\A[^\n]*(?i:encoded.?pixels|(?<![a-z])rle(?![a-z]))",
        "run lengths in a CSV",
        "convert them to masks, or to COCO",
    ),
    (".txt", rb"\A" + _IMAGE + rb"(?: \d+,\d+,\d+,\d+,\d+)+\s", "keras-yolo3's list of boxes", "export YOLO or COCO"),
    (".txt", rb"\A" + _IMAGE + rb"\s+\d+\s+\d+ \d+ \d+ \d+ ", "WIDER FACE's list", "convert it to COCO"),
    (
        ".txt",
        rb"\A\d+ " + _IMAGE + rb"\r?\n",
        "CUB-200's list",
        "convert its boxes to COCO; its classes are read for recipes that learn a class an image",
    ),
    (".txt", rb"\A" + _IMAGE + rb"[ \t,;]+[^\n/]+\n", LIST, "save it as CSV: file,label"),
    (".txt", rb"\A\w+(?: -?[\d.]+){14,15}\s", "KITTI's format", "convert them to YOLO or COCO"),
    (".txt", rb"\A-?\d+(?:,-?\d+){7},?\s", "VisDrone's format", "convert them to YOLO or COCO"),
    (
        ".txt",
        rb"\A(?:imagesource[^\n]*\n)?(?:gsd[^\n]*\n)?(?:-?[\d.]+ ){8}[^\W\d]\S*(?: \d)?\s",
        "DOTA's format",
        "export YOLO or COCO with upright boxes",
    ),
    (".xlsx .xls .ods", b"", "a spreadsheet", _CSV),
    (".parquet .arrow .feather", b"", "a table in binary", "save the labels as CSV, and the images as files"),
    (".tfrecord .tfrecords .record", b"", "TFRecord", "export COCO or Pascal VOC"),
    (".mat", b"", "MATLAB's format", "save its labels as CSV or COCO"),
    (".h5 .hdf5 .lmdb .mdb", b"", "a database of images", "save the images as files, and the labels as CSV or COCO"),
    (".dcm .dicom", b"", "DICOM", _PNG),
    (".nii .nii.gz .nrrd .mha", b"", "a volume of medical images", _PNG),
    (".zip .tar .tgz .tar.gz .rar .7z", b"", "an archive", _UNPACK),
)

# (what their first bytes have, format, what to do) of files without a suffix, or whose names end in numbers
_BARE = (
    (rb"\A(?s:.{128})DICM", "DICOM", _PNG),
    (rb"\A(?s:.{0,256})<annotation>", "Pascal VOC's XML without the suffix .xml", "add it"),
    (rb"\A(?:\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*)", "an image without a suffix", "add its own, such as .png"),
    (rb"\A\s*(?:\{\s*\"|\[\s*[\[{])", "JSON without the suffix .json", "add it"),
    (rb"\A\0\0\x08[\x01\x03]", "IDX, as MNIST's", "write the images as files, or use source=tfds"),
    (rb"\A\x80[\x02-\x05]", "Python's pickle, as CIFAR's", "write the images as files, or use source=tfds"),
    (rb"\A(?:PK\x03\x04|\x1f\x8b)", "an archive", _UNPACK),
)
_NUMBERS = re.compile(r"\.\d+")


def foreign_formats(root: Path) -> list[str]:
    """What lies in a folder in formats that no source reads: one sentence a format, without a period.

    Only the beginnings of its first files are looked at.
    """
    found = {}
    for path in _files(root):
        name, advice = foreign_format(path) or (None, "")
        if name:
            found.setdefault(name, f"{path.relative_to(root)}: {name} is not read; {advice}")
    return list(found.values())


def foreign_format(path: Path) -> tuple[str, str] | None:
    """(the format of a file that no source reads, what to do); None if it may be read."""
    if _is_bare(path.name):
        head = _head(path)
        return next(((name, advice) for pattern, name, advice in _BARE if re.search(pattern, head)), None)
    for suffixes, pattern, name, advice in _FORMATS:
        if path.name.lower().endswith(tuple(suffixes.split())) and (not pattern or re.search(pattern, _head(path))):
            return name, advice
    return None


def _files(root: Path) -> list[Path]:
    suffixes, files = tuple(suffix for row in _FORMATS for suffix in row[0].split()), []
    for folder, names in files_below(root):
        alike = {}
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            known = name.lower().endswith(suffixes) or _is_bare(name)
            if known and alike.setdefault(suffix, 0) < _MOST_ALIKE:
                alike[suffix] += 1
                files.append(folder / name)
        if len(files) >= _MOST:
            break
    return files


def _is_bare(name: str) -> bool:
    suffix = os.path.splitext(name)[1]
    return not suffix or _NUMBERS.fullmatch(suffix) is not None


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return b""
