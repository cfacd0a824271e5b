"""Speed and memory of `check`: a data set repeated under other names to many images, checked in a process of its own.

    python scripts/bench_check.py COCO.json IMAGES [--images 10000] [--cores 2]

Prints the seconds and the largest memory. Every copy of an image has four more bytes at its end, so that no two
files are equal.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHILD = """
import resource, sys
from visiontasks.check import check_command
code = check_command(sys.argv[1:])
print(f"exit code {code}, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")
"""


def repeat(annotations: Path, images: Path, root: Path, count: int):
    """Write a COCO set of `count` images, four fifths of them for training."""
    given = json.loads(annotations.read_text(encoding="utf-8"))
    objects = {}
    for one in given["annotations"]:
        objects.setdefault(one["image_id"], []).append(one)
    (root / "annotations").mkdir(parents=True)
    for split, first, last in (("train", 0, count * 4 // 5), ("val", count * 4 // 5, count)):
        (root / split).mkdir()
        entries, kept = [], []
        for number in range(first, last):
            image = given["images"][number % len(given["images"])]
            source = images / image["file_name"]
            name = f"{number:06}{source.suffix}"
            (root / split / name).write_bytes(source.read_bytes() + number.to_bytes(4, "big"))
            entries.append({**image, "id": number, "file_name": name})
            for one in objects.get(image["id"], []):
                kept.append({**one, "image_id": number, "id": len(kept)})
        content = {"images": entries, "annotations": kept, "categories": given["categories"]}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "data"
        repeat(arguments.annotations, arguments.folder, root, arguments.images)
        started = time.monotonic()
        words = [f"data={root}", f"out={folder}/found"]
        subprocess.run([sys.executable, "-c", CHILD, *words], check=True)
        print(f"{arguments.images} images: {time.monotonic() - started:.1f} s on {arguments.cores} cores")


if __name__ == "__main__":
    main()
