"""Draws what `embed` finds: images with their neighbors, and a map of a folder as an image and as a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visiontasks.data.images import write_image
from visiontasks.drawing.image_map import image_map
from visiontasks.drawing.panels import contact_sheet, side_by_side
from visiontasks.retrieval.features import Features
from visiontasks.retrieval.layout import place_vectors
from visiontasks.retrieval.page import SIDE, html_page
from visiontasks.retrieval.thumbnails import spread, thumbnails
from visiontasks.writing import write_text

MOST_MAPPED, MOST_THUMBNAILS = 20_000, 2500  # images on a map; the others are left out, or are points
CELL = 192  # pixels of an image among its neighbors


def neighbors_drawn(queries: Sequence[dict], bits: int | None = None) -> np.ndarray:
    """A row for each image and its neighbors, uint8 (H, W, 3); files that cannot be read any more are left out.

    Args:
        queries: {"path": of the image, "nearest": [{"path", "similarity", perhaps "label"}, …]}.
        bits: of images of 16 bits, see `visiontasks.data.images.read_image`.
    """
    rows = []
    for one in queries:
        paths, titles = [one["path"]], [Path(one["path"]).name]
        for near in one["nearest"]:
            paths.append(near["path"])
            titles.append(f"{near['similarity']:.3f} {near.get('label', Path(near['path']).name)}")
        small = thumbnails(paths, range(len(paths)), CELL, "letterbox", bits)
        rows.append(side_by_side(list(small.values()), [titles[number] for number in small]))
    return contact_sheet(rows)


def write_map(features: Features, method: str, title: str, folder: Path, bits: int | None = None) -> int:
    """Write map.png and map.html, the page to zoom; returns how many images are on them.

    Args:
        features: of the images; of more than 20,000 so many are taken, evenly chosen, and 2500 get a thumbnail.
        method: see `place_vectors`.
        title: of the page.
        folder: that is written to.
        bits: as for `neighbors_drawn`.
    """
    chosen = spread(len(features), MOST_MAPPED)
    paths, labels = features.paths[chosen].tolist(), features.labels[chosen]
    small = thumbnails(paths, spread(len(chosen), MOST_THUMBNAILS).tolist(), SIDE, bits=bits)
    positions = place_vectors(features.vectors[chosen], method)
    write_image(folder / "map.png", image_map(positions, small, labels, features.names), "out")
    page = html_page(f"{method}: {title}", positions, paths, labels, features.names, small)
    write_text(folder / "map.html", page, "out", errors="replace")
    return len(chosen)
