"""The drawings of this room: maps over an image, each with whether it may be believed."""

import numpy as np

from visiontasks.drawing.boxes import Mark, boxed
from visiontasks.drawing.colors import color
from visiontasks.drawing.maps import heat_drawn
from visiontasks.drawing.panels import captioned, contact_sheet, side_by_side
from visiontasks.explain.believing import Faithfulness
from visiontasks.geometry import Placement, Window

BRIGHTEST = 99.5  # the percentile of a map's positive values that is drawn brightest
IN_A_ROW = 3


def explanation(
    image: np.ndarray,
    placement: Placement | Window,
    name: str,
    box: list[float] | None,
    maps: dict[str, tuple[np.ndarray, Faithfulness | None]],
) -> np.ndarray:
    """uint8 (H, W, 3): the image, and beside it every map over it; only what speaks for the prediction is shown.

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
        speaks = values[values > 0]
        # a map of pixels has single ones far above all others
        highest = float(np.percentile(speaks, BRIGHTEST)) if speaks.size else 1.0
        values = np.clip(values / highest, 0, 1)
        panels.append(heat_drawn(image, [values], [window]))
        titles.append(title if judged is None or judged.faithful else f"not faithful: {title}")
    rows = range(0, len(panels), IN_A_ROW)
    return contact_sheet([side_by_side(panels[i : i + IN_A_ROW], titles[i : i + IN_A_ROW]) for i in rows])
