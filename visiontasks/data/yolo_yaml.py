"""A YOLO data set's data.yaml, obj.data or list of classes: its classes, and the folders or lists of its images."""

import contextlib
from pathlib import Path

from visiontasks.data.finding import inside
from visiontasks.data.images import is_image_name
from visiontasks.data.layout import VALIDATION, is_split, read_names, split_folders
from visiontasks.data.listing import files_like
from visiontasks.data.text import read_lines
from visiontasks.data.yaml_file import read_yaml
from visiontasks.data.yolo_labels import labeled
from visiontasks.errors import DataError

SUFFIXES = (".yaml", ".yml")
SPLITS = ("train", *VALIDATION)


def only_yaml(root: Path) -> Path | None:
    """The only YAML file, such as coco8.yaml, that has classes, and a split or their count; or None."""
    paths = []
    for path in files_like(root, "*.yaml", "*.yml"):
        with contextlib.suppress(DataError):
            content = read_yaml(path, "a YAML file", "data")
            if isinstance(content, dict) and "names" in content and content.keys() & {*SPLITS, "nc"}:
                paths.append(path)
    return paths[0] if len(paths) == 1 else None


def read(file: Path) -> dict:
    """The content of a data.yaml, or the equivalent for darknet's obj.data or for a list of classes.

    Splits that it lacks are looked for: lists of images, train.txt and the like, else folders of images.
    """
    if file.suffix in SUFFIXES:
        content = read_yaml(file, "a YAML file such as data.yaml", "data")
        if not isinstance(content, dict):
            raise DataError(f"{file}: expected names, train and val, got {type(content).__name__}.")
    elif file.suffix == ".data":
        content = _read_darknet(file)
    else:
        content = {"names": list(read_names(file, "data"))}
    if not any(content.get(split) for split in SPLITS):
        content |= _splits(file, root_of(file, content))
    return content


def _read_darknet(file: Path) -> dict:
    """The names and splits of darknet's obj.data, rows of key = value; lists that do not exist are left out."""
    lines = read_lines(file, "rows of key = value", "data")
    rows = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    if not rows.get("names"):
        raise DataError(f"{file}: expected a row names = FILE, got {', '.join(filter(None, rows)) or 'nothing'}.")
    content = {"names": list(read_names(locate(file.parent, rows["names"], file), "data"))}
    for split in SPLITS:
        if rows.get(split) and locate(file.parent, rows[split], file).exists():
            content[split] = rows[split]
    return content


def _splits(file: Path, home: Path) -> dict[str, str]:
    """The splits beside a file that names none: {split: list or folder}, and maybe `path`."""
    if lists := {split: f"{split}.txt" for split in SPLITS if _lists_images(home / f"{split}.txt")}:
        return lists
    in_labels = file.suffix not in SUFFIXES and home.name.lower() == "labels" and (home.parent / "images").is_dir()
    root = home.parent if in_labels else home
    if not labeled(root):
        raise DataError(
            f"expected a folder images beside {file}, or beside its folder, and a folder labels, or images with label "
            "files beside them; there is none.",
            "data",
        )
    folders = split_folders(root / "images" if (root / "images").is_dir() else root)
    folders = {split: folder.relative_to(root).as_posix() for split, folder in folders.items()}
    return {**folders, **({} if root == home else {"path": ".."})}


def _lists_images(file: Path) -> bool:
    try:
        first = next(iter(read_lines(file, "a list of images")), "")
    except DataError:
        return False
    return is_image_name(first.replace("\\", "/").rpartition("/")[2])


def root_of(file: Path, content: dict) -> Path:
    """The folder that the paths are relative to: the file's folder, or `path` if it lies in there."""
    root = content.get("path")
    # Ultralytics reads `path` relative to a data set folder of its own: a path that does not exist here is ignored
    if not isinstance(root, str) or not (file.parent / root).is_dir():
        return file.parent
    if file.suffix not in SUFFIXES:  # `read` has set this path
        return (file.parent / root).resolve()
    return inside_root(file.parent, root, file)


def locate(root: Path, name: str, file: Path) -> Path:
    """The path that a data.yaml means: in the root; of a path of another machine, the end that exists."""
    name = name.replace("\\", "/")
    # Roboflow writes ../train/images for train/images, Kaggle's notebooks ../input/set/train/images
    while name.startswith("../") and ((root / name[3:]).exists() or not (root / name).exists()):
        name = name[3:]
    folders = Path(name).parts
    if not (root / name).exists() and ".." not in folders:  # /content/set/train/images, from another machine
        ends = (Path(*folders[start:]) for start in range(1, len(folders)))
        # a single folder must be named as a split: "images" would be the same for all splits
        ends = (end for end in ends if len(end.parts) > 1 or end.suffix or is_split(end.stem))
        name = next((str(end) for end in ends if (root / end).exists()), name)
    return inside_root(root, name, file)


def inside_root(root: Path, name: str, file: Path) -> Path:
    """`root`/`name`, which must not leave the root; the error names `file`."""
    path = inside(root, name)
    if path is None:
        text = f"{file}: {name}: expected a file in {root}, but it lies outside; give a folder that contains it."
        raise DataError(text, "root")
    return path


def names_of(content: dict, file: Path) -> tuple[str, ...]:
    """The class names by index: from a list, from {index: name}, or numbers if only their count, nc, is given."""
    listed, count = content.get("names"), content.get("nc")
    if isinstance(listed, dict):
        if sorted(listed, key=str) != sorted(range(len(listed)), key=str):
            raise DataError(f"{file}: expected names numbered 0, 1, … without gaps, got {list(listed)[:60]}.")
        listed = [listed[number] for number in range(len(listed))]
    if listed is None and type(count) is int and count > 0:
        listed = [str(number) for number in range(count)]
    if not isinstance(listed, list) or not listed or len(set(map(str, listed))) < len(listed):
        raise DataError(f"{file}: expected names, a list of unique class names, got {str(listed)[:80]}.")
    if count is not None and count != len(listed):
        raise DataError(f"{file}: expected as many names as nc, got nc: {count} and {len(listed)} names.")
    return tuple(map(str, listed))


def plan_of(file: Path) -> dict | None:
    """The arguments for a data.yaml, obj.data or list of classes, as `Source.recognize` gives them.

    A validation set that does not exist is left out. None: the file has no split or no names.

    Raises:
        DataError: as `read`.
    """
    content = read(file)
    splits = [split for split in SPLITS if content.get(split)]
    if not splits or not (content.get("names") or content.get("nc")):
        return None
    # FiftyOne exports one split, named val unless it is told otherwise
    train, *others = splits
    root = root_of(file, content)
    val = next((split for split in others if _exists(root, content[split], file)), None)
    plan = {"train": {"data": str(file), "split": train}}
    return plan if val is None else {**plan, "val": {"data": str(file), "split": val}}


def _exists(root, entries, file) -> bool:
    """Whether a split leads to something; one that leads out of the folder is an error later."""
    try:
        names = [entries] if isinstance(entries, str) else entries
        return not isinstance(names, list) or any(locate(root, str(name), file).exists() for name in names)
    except DataError:
        return True
