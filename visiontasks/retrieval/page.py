"""The map of a folder as one HTML file to zoom: nothing in it is loaded from elsewhere, and names are only text."""

import base64
import html
import json
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from visiontasks.drawing.colors import color

SIDE = 64  # pixels of a thumbnail; a multiple of 16, so that a JPEG's blocks do not reach into the next one
QUALITY = 80
PAGE = Path(__file__).with_name("page.html")


def html_page(
    title: str,
    positions: np.ndarray,
    paths: Sequence[str],
    labels: np.ndarray,
    names: Sequence[str],
    thumbnails: dict[int, np.ndarray],
) -> str:
    """The page's text.

    Args:
        title: of the page.
        positions: float (N, 2), x and y in 0..1, y downward.
        paths: N texts to show beside the images.
        labels: int (N,), -1 = not labeled.
        names: of the classes.
        thumbnails: {number of the image: uint8 (h, w, 3)}, 64 pixels wide and high in the page; the others are points.
    """
    columns = max(1, math.ceil(math.sqrt(len(thumbnails))))
    cells = {number: cell for cell, number in enumerate(thumbnails)}
    data = {
        "x": np.round(positions[:, 0], 5).tolist(),
        "y": np.round(positions[:, 1], 5).tolist(),
        "label": labels.tolist(),
        "cell": [cells.get(number, -1) for number in range(len(positions))],
        "paths": list(map(str, paths)),
        "names": list(names),
        "colors": [f"#{bytes(color(label)).hex()}" for label in range(len(names))],
        "side": SIDE,
        "columns": columns,
        "sprite": f"data:image/jpeg;base64,{_sprite(thumbnails.values(), columns)}",
    }
    # a script's text ends at "</", and begins a comment at "<!--", whatever JSON says
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    head, _, rest = PAGE.read_text(encoding="utf-8").replace("TITLE", html.escape(title)).partition(">DATA<")
    return f"{head}>{text}<{rest}"


def _sprite(thumbnails, columns) -> str:
    """All thumbnails in one JPEG, row by row, in base64."""
    rows = max(1, -(-len(thumbnails) // columns))
    sheet = np.full((rows * SIDE, columns * SIDE, 3), 255, np.uint8)
    for cell, image in enumerate(thumbnails):
        y, x = cell // columns * SIDE, cell % columns * SIDE
        sheet[y : y + SIDE, x : x + SIDE] = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return base64.b64encode(encoded.tobytes()).decode("ascii")
