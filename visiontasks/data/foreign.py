"""Names the formats of annotations that no source reads, and what to export instead, for errors."""

import os
import re
from pathlib import Path

from visiontasks.data.images import files_below, is_image_name
from visiontasks.data.text import in_utf8

_HEAD = 2**14  # bytes of a file that are looked at
_MOST, _MOST_ALIKE = 200, 8  # files, and files of one suffix in one folder
_IMAGE = rb"[^\s,]+\.(?:jpe?g|png|bmp|webp)"
_COCO = "export COCO"
_CSV = "save it as CSV"
_PNG = "convert its images to PNG"
LIST = "a list of images and labels"  # some are read: `sources.listed`
_UNPACK = "unpack it, and give the folder"
_KEYPOINTS = "convert them to COCO with keypoints"
_BUILT = "name the source tfds and its dataset, or save the images as PNG in a folder for each class"
_ARRAYS = "save the images as PNG, and the labels as CSV"
_LOST = "a label file of YOLO that lies in no folder labels and not beside its image"

# (suffixes, what their first bytes have, format, what to do); the surest first
_FORMATS = (
    (".xml", rb"<annotations>", "CVAT for images or video", "export COCO 1.0"),
    (".json", rb'"shape_attributes"|"_via_', "JSON of the VGG Image Annotator (VIA)", _COCO),
    (
        ".json",
        rb'"rectanglelabels"|"from_name"|"completed_by"|"lead_time"',
        "Label Studio's JSON",
        "export COCO or YOLO, for classes CSV",
    ),
    (".json", rb'darwin_json|"dataset"\s*:\s*\{[^}]*"dataset_management_url"', "V7's Darwin JSON", _COCO),
    (".json", rb'"export_format_version"|"label_classes"\s*:', "Hasty's JSON", _COCO),
    (".json", rb'"className"\s*:', "SuperAnnotate's JSON", _COCO),
    (".json", rb"dataloop\.ai|\"annotationsCount\"", "Dataloop's JSON", "convert it to COCO"),
    (".json", rb'"task_id"\s*:|"params"\s*:\s*\{(?s:.*)"attachment"', "Scale's JSON", "convert it to COCO"),
    (
        ".json",
        rb'"imgHeight"',
        "Cityscapes' JSON of polygons",
        "write *_labelTrainIds.png with createTrainIdLabelImgs of cityscapesscripts",
    ),
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
    (".jsonl", rb'"suffix"\s*:', "JSON lines of PaliGemma or Florence", _COCO),
    (".odgt", b"", "CrowdHuman's format", "convert it to COCO"),
    (".jsonl", rb'"file_name"', "metadata.jsonl of Hugging Face", "write COCO, or metadata.csv of file_name and label"),
    (".manifest", rb'"source-ref"', "a manifest of SageMaker", "convert it to COCO"),
    (".csv", rb"region_shape_attributes", "CSV of the VGG Image Annotator (VIA)", _COCO),
    (".csv", rb"(?:rectangle|polygon|brush|keypoint)labels", "Label Studio's CSV with JSON in its cells", _COCO),
    (".csv", rb"\A\w*,?gs://[^\n]*,[\d.]+,[\d.]+,", "CSV of Google AutoML, boxes as shares", _COCO),
    (
        ".csv",
        rb"\A[^\n]*(?i:encoded.?pixels|(?<![a-z])rle(?![a-z]))"
        rb"|\A[^\n]*(?i:encoding|segmentation|annotation)[^\n]*\n(?:[^\n]*\n){0,99}?"
        rb"[^\n]*,\"?\d+ \d+(?: \d+ \d+)+\"?\s",
        "run lengths in a CSV",
        "convert them to masks, or to COCO",
    ),
    (".csv", rb"\A[^\n]*(?i:\bpixels\b|\bpixel_?\d)|(?:\d+ ){300}", "a CSV of pixels", "save the images as files"),
    (
        ".csv",
        rb"\A[^\n]*BoxesString",
        "a CSV with all boxes in one cell",
        "write a row for each box: file,xmin,ymin,xmax,ymax",
    ),
    (
        ".csv",
        rb"\AImageId,PredictionString",
        "ImageNet's list of boxes",
        "for classes give ILSVRC/Data/CLS-LOC, with the images of val moved into class folders",
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
    (".txt", rb"\A\d+, ?-?\d+(?:, ?-?[\d.]+){5,8}\s", "MOT's format", "convert it to COCO or YOLO"),
    (".txt", rb"\A[^\W\d][\w -]*(?: [\d.]+){4}\s*\n", "OIDv4's format", "convert them to YOLO or COCO"),
    (".txt", rb"\A(?:-?[\d.]+ ){20,}\S+\.(?:jpe?g|png)\s", "a list of landmarks", _KEYPOINTS),
    (".txt", rb"\A\d+\s*\n\w[\w ]*\n\S+\.jpg +-?\d", "CelebA's list", "save it as CSV: image_id and a column a tag"),
    (
        ".txt",
        rb"\A\d+(?: (?:0?\.\d+|[01](?:\.0+)?)){4}\s",
        _LOST,
        "name the folders images and labels, and add classes.txt with a name a line",
    ),
    (".pts", b"", "300-W's format", _KEYPOINTS),
    (".slp", b"", "SLEAP's format", "export a CSV as DeepLabCut's, or COCO with keypoints"),
    (".labels", rb'"boundingBoxes"', "Edge Impulse's list of boxes", "export YOLO or COCO"),
    (".json", rb'"pose_keypoints_2d"', "OpenPose's JSON", _KEYPOINTS),
    (
        ".json",
        rb'\A\s*(?:\[|\{(?!(?s:.*)"(?:images|annotations|shapes|categories)"\s*:))(?s:.*)'
        rb'(?:"(?:bbox|boxes|segmentation|polygon|points)"\s*:|\.(?:jpe?g|png)")',
        "JSON that is neither COCO's nor labelme's",
        "export COCO, or for classes write a CSV of file,label",
    ),
    (".jsonl .ndjson", b"", "JSON lines", "write COCO, or for classes a CSV of file,label"),
    (".xlsx .xls .ods", b"", "a spreadsheet", _CSV),
    (".parquet .arrow .feather", b"", "a table in binary", "save the labels as CSV, and the images as files"),
    (".tfrecord .tfrecords .record", b"", "TFRecord", "export COCO or Pascal VOC"),
    (".mat", b"", "MATLAB's format", "save its labels as CSV or COCO"),
    (".h5 .hdf5 .lmdb .mdb", b"", "a database of images", "save the images as files, and the labels as CSV or COCO"),
    (".npy .npz .pkl .pickle", b"", "a file of arrays", _ARRAYS),
    (".dcm .dicom", b"", "DICOM", _PNG),
    (".nii .nii.gz .nrrd .mha", b"", "a volume of medical images", _PNG),
    (".mp4 .avi .mov .mkv .webm", b"", "video", "save frames as JPEG"),
    (".zip .tar .tgz .tar.gz .rar .7z", b"", "an archive", _UNPACK),
)

# of files whose names say what they are
_NAMED = (
    (r"task-\d+-annotation-\d+-by-.*-tag-.*\.(png|npy)", "a brush mask of Label Studio", _COCO),
    (r".*\.(tfrecord|array_record|riegeli)-\d+-of-\d+", "a set of TensorFlow Datasets", _BUILT),
    (r".*-idx[13]-ubyte\.gz", "MNIST's format", _BUILT),
    (r"\d{4}_c\ds\d_\d{6}_\d{2}\.jpg", "Market-1501's naming of persons", "move each person into a folder"),
    (r"\d{1,3}_[01]_[0-4]_\d{17}.*\.jpg", "UTKFace's naming of ages", "write a table of file and label"),
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
        if name and not (name == _LOST and _has_place(path, root)):
            found.setdefault(name, f"{path.relative_to(root)}: {name} is not read; {advice}")
    return list(found.values())


def foreign_format(path: Path) -> tuple[str, str] | None:
    """(the format of a file that no source reads, what to do); None if it may be read."""
    for pattern, name, advice in _NAMED:
        if re.fullmatch(pattern, path.name):
            return name, advice
    if _is_bare(path.name):
        head = _head(path)
        return next(((name, advice) for pattern, name, advice in _BARE if re.search(pattern, head)), None)
    for suffixes, pattern, name, advice in _FORMATS:
        if path.name.lower().endswith(tuple(suffixes.split())) and (
            not pattern or re.search(pattern, in_utf8(_head(path)))
        ):
            return name, advice
    return None


def _has_place(path: Path, root: Path) -> bool:
    """Whether a label file of YOLO lies where its source looks."""
    folders = path.relative_to(root).parent.parts
    return "labels" in map(str.lower, folders) or any(map(is_image_name, os.listdir(path.parent)))


def _files(root: Path) -> list[Path]:
    suffixes, files = tuple(suffix for row in _FORMATS for suffix in row[0].split()), []
    for folder, names in files_below(root):
        alike = {}
        for name in names:
            suffix = os.path.splitext(name)[1].lower()
            named = any(re.fullmatch(row[0], name) for row in _NAMED)
            known = named or name.lower().endswith(suffixes) or _is_bare(name)
            if known and "submission" not in name.lower() and alike.setdefault(suffix, 0) < _MOST_ALIKE:
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
