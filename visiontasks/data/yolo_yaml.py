"""A YOLO data set's data.yaml: its classes, and the folders of its images and labels."""

import contextlib
from pathlib import Path

from visiontasks.data.finding import inside
from visiontasks.data.layout import is_split, read_names, split_folders
from visiontasks.data.yaml_file import read_yaml
from visiontasks.errors import DataError


def only_yaml(root: Path) -> Path | None:
    """The only YAML file, such as coco8.yaml, that has a training set and classes; or None."""
    paths = []
    for path in sorted((*root.glob("*.yaml"), *root.glob("*.yml"))):
        with contextlib.suppress(DataError):
            if {"train", "names"} <= read(path).keys():
                paths.append(path)
    return paths[0] if len(paths) == 1 else None


def read(file: Path) -> dict:
    """The content of a data.yaml, or the equivalent for a list of classes beside the folder `images`."""
    if file.suffix not in (".txt", ".names"):
        content = read_yaml(file, "a YAML file such as data.yaml", "data")
        if not isinstance(content, dict):
            raise DataError(f"{file}: expected names, train and val, got {type(content).__name__}.")
        return content
    root = file.parent if (file.parent / "images").is_dir() else file.parent.parent
    if not (root / "images").is_dir():
        raise DataError(f"expected a folder images beside {file}, or beside its folder; there is none.", "data")
    try:
        names = list(read_names(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"expected a list of classes such as classes.txt, got {file}: {error}.", "data") from error
    splits = split_folders(root / "images")
    folders = {split: folder.relative_to(root).as_posix() for split, folder in splits.items()}
    return {"names": names, **folders, **({} if root == file.parent else {"path": ".."})}


def root_of(file: Path, content: dict) -> Path:
    """The folder that the paths are relative to: the file's folder, or `path` if it lies in there."""
    root = content.get("path")
    # Ultralytics reads `path` relative to a data set folder of its own: a path that does not exist here is ignored
    if not isinstance(root, str) or not (file.parent / root).is_dir():
        return file.parent
    if file.suffix not in (".yaml", ".yml"):  # `read` has set this path
        return (file.parent / root).resolve()
    return inside_root(file.parent, root, file)


def locate(root: Path, name: str, file: Path) -> Path:
    """The path that a data.yaml means: in the root; of an absolute path of another machine, the end that exists."""
    name = name.replace("\\", "/")
    if name.startswith("../") and (root / name[3:]).exists():  # Roboflow writes ../train/images for train/images
        name = name[3:]
    folders = Path(name).parts
    if not (root / name).exists() and ".." not in folders:  # /content/set/train/images, from another machine
        ends = (Path(*folders[start:]) for start in range(1, len(folders)))
        # a single folder must be named as a split: "images" would be the same for all splits
        ends = (end for end in ends if len(end.parts) > 1 or is_split(end.stem))
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


def label_file(image: Path, root: Path) -> Path:
    """labels/…/a.txt for images/…/a.jpg: the last folder named images in the root is replaced."""
    names = list(image.relative_to(root).parts)
    folders = [index for index, name in enumerate(names[:-1]) if name == "images"]
    if folders:
        names[folders[-1]] = "labels"
    return root.joinpath(*names).with_suffix(".txt")
