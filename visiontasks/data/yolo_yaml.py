"""A YOLO data set's data.yaml: its classes, and where its pictures and their labels lie."""

import contextlib
from pathlib import Path

import yaml

from visiontasks.data.images import inside
from visiontasks.data.layout import is_part, part_folders, read_names
from visiontasks.errors import DataError

_MOST_BYTES = 2**20  # of a data.yaml; class names need no more


def only_yaml(root: Path) -> Path | None:
    """The one YAML file of another name, such as coco8.yaml, that names a training part and classes."""
    found = []
    for path in sorted((*root.glob("*.yaml"), *root.glob("*.yml"))):
        with contextlib.suppress(DataError):
            if {"train", "names"} <= read(path).keys():
                found.append(path)
    return found[0] if len(found) == 1 else None


def read(file: Path) -> dict:
    """What a data.yaml says, or would say of a list of classes beside the folder images."""
    if file.suffix not in (".txt", ".names"):
        return _read_yaml(file)
    root = file.parent if (file.parent / "images").is_dir() else file.parent.parent
    if not (root / "images").is_dir():
        raise DataError(f"data: expected a folder images beside {file}, or beside its folder; got none.")
    try:
        names = list(read_names(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data: expected a list of classes such as classes.txt, got {file}: {error}.") from error
    parts = part_folders(root / "images")
    places = {part: folder.relative_to(root).as_posix() for part, folder in parts.items()}
    return {"names": names, **places, **({} if root == file.parent else {"path": ".."})}


def _read_yaml(file: Path) -> dict:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"data: expected a data.yaml of at most {_MOST_BYTES} bytes, got {file}.")
        said = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"data: expected a YAML file such as data.yaml, got {file}: {error}.") from error
    if not isinstance(said, dict):
        raise DataError(f"{file}: expected names, train and val, got {type(said).__name__}.")
    if said.get("kpt_shape"):
        raise DataError(f"{file}: expected boxes or polygons, got keypoints (kpt_shape); convert them to COCO's JSON.")
    return said


def root_of(file: Path, said: dict) -> Path:
    """The folder that the paths start from: the file's own, or `path` where that lies in it."""
    place = said.get("path")
    # Ultralytics looks in its own folder of data sets: a path that leads nowhere from here is not meant from here
    if not isinstance(place, str) or not (file.parent / place).is_dir():
        return file.parent
    if file.suffix not in (".yaml", ".yml"):  # of our own saying
        return (file.parent / place).resolve()
    return inside_root(file.parent, place, file)


def place_of(root: Path, place: str, file: Path) -> Path:
    """Where a path in data.yaml leads to: below the root, or, of another machine's paths, to the end that is there."""
    if place.startswith("../") and (root / place[3:]).exists():  # Roboflow writes ../train/images for train/images
        place = place[3:]
    parts = Path(place).parts
    if not (root / place).exists() and ".." not in parts:  # /content/set/train/images, of the machine it was made on
        ends = (Path(*parts[start:]) for start in range(1, len(parts)))
        # of a single folder its name must say which part it is: "images" would be the same for all
        ends = (end for end in ends if len(end.parts) > 1 or is_part(end.name))
        place = next((str(end) for end in ends if (root / end).exists()), place)
    return inside_root(root, place, file)


def inside_root(root: Path, name: str, file: Path) -> Path:
    """The path `name` from the root, which it must not leave; `file` says it, for the error."""
    try:
        path = inside(root, name)
        # below the root by name too, since a label's place follows from its picture's below the root
        return root / path.resolve().relative_to(root.resolve()) if Path(name).is_absolute() else path
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def names_of(said: dict, file: Path) -> tuple[str, ...]:
    """The classes by number: a list, {number: name}, or numbers alone where there is only their count, nc."""
    listed, count = said.get("names"), said.get("nc")
    if isinstance(listed, dict):
        if sorted(listed, key=str) != sorted(range(len(listed)), key=str):
            raise DataError(f"{file}: expected names numbered 0, 1, … without gaps, got {list(listed)[:60]}.")
        listed = [listed[number] for number in range(len(listed))]
    if listed is None and type(count) is int and count > 0:
        listed = [str(number) for number in range(count)]
    if not isinstance(listed, list) or not listed or len(set(map(str, listed))) < len(listed):
        raise DataError(f"{file}: expected names, a list of different class names, got {str(listed)[:80]}.")
    if count is not None and count != len(listed):
        raise DataError(f"{file}: expected as many names as nc, got nc: {count} and {len(listed)} names.")
    return tuple(map(str, listed))


def label_file(picture: Path, root: Path) -> Path:
    """labels/…/a.txt of images/…/a.jpg: the last folder called images, below the root, counts."""
    parts = list(picture.relative_to(root).parts)
    places = [number for number, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")
