"""The pictures of this room: maps over an image, each with whether it may be believed."""

import numpy as np

from visiontasks.drawing.boxes import Mark, boxed
from visiontasks.drawing.colors import color
from visiontasks.drawing.maps import heat_drawn
from visiontasks.drawing.panels import captioned, side_by_side
from visiontasks.explain.believing import Faithfulness
from visiontasks.geometry import Placement, Window


def explanation(
    image: np.ndarray,
    placement: Placement | Window,
    name: str,
    box: list[float] | None,
    maps: dict[str, tuple[np.ndarray, Faithfulness | None]],
) -> np.ndarray:
    """uint8 (H, W, 3): the image, and beside it every map over it; only what speaks for the answer is shown.

    Args:
        image: uint8 (H, W, 3).
        placement: of the image on the canvas.
        name: of what is explained.
        box: of the object in the image's pixels, if it has one.
        maps: {title: (float (h, w) over the canvas, its Faithfulness, or None: not checked)}.
    """
    height, width = placement.size
    window = placement.restore_points(np.float32([[0, 0], [width, height]])).ravel().tolist()
    marks = [] if box is None else [Mark(tuple(box), name, color(0))]
    panels, titles = [captioned(boxed(image, marks))], [name]
    for title, (values, judged) in maps.items():
        values = np.maximum(values, 0) / max(float(values.max()), 1e-30)
        panels.append(heat_drawn(image, [values], [window]))
        titles.append(title if judged is None or judged.faithful else f"not faithful: {title}")
    return side_by_side(panels, titles)
