"""`Prediction`: what a model predicts for one image, in the image's own pixels."""

from collections.abc import Mapping

import numpy as np

from visiontasks.drawing.panels import side_by_side
from visiontasks.sample import Sample


class Prediction(Mapping):
    """{head name: its restored prediction}; with one head the arrays are also attributes: `prediction.boxes`.

    classification and tagging: `scores` float32 (C,). detection: `boxes` float32 (K, 4) x1, y1, x2, y2 in pixels,
    `scores` (K,), `classes` int32 (K,), best first; instances: also `masks`, an InstanceMasks; pose: also `keypoints`
    float32 (K, P, 3), x, y and score, and of most heads `maps`, what `draw(maps=True)` shows. segmentation: `mask`
    int32 (H, W) and its `score` float32 (H, W).

    Attributes:
        sample: the image and its path.
    """

    def __init__(self, sample: Sample, tasks: dict, restored: dict[str, dict[str, np.ndarray]]):
        self.sample, self._tasks, self._restored = sample, tasks, restored

    def __getitem__(self, head: str) -> dict[str, np.ndarray]:
        return self._restored[head]

    def __iter__(self):
        return iter(self._restored)

    def __len__(self):
        return len(self._restored)

    def __getattr__(self, name):
        if not name.startswith("_") and len(self) == 1:
            (only,) = self._restored.values()
            if name in only:
                return only[name]
            raise AttributeError(f"{name!r} is not predicted; the head gives {', '.join(only)}.")
        raise AttributeError(name)

    def __repr__(self):
        height, width = self.sample.image.shape[:2]
        return f"Prediction({self.sample.path or 'image'}, {height}x{width}: {self.to_json()})"

    @property
    def names(self) -> tuple[str, ...] | dict[str, tuple[str, ...]]:
        """The class names by number; with several heads {head name: class names}."""
        names = {head: task.names for head, task in self._tasks.items()}
        return names if len(names) > 1 else next(iter(names.values()))

    def draw(self, maps: bool = False) -> np.ndarray:
        """uint8 (H, W, 3): the image with the predictions drawn on it; several heads side by side.

        Args:
            maps: whether to draw beside it the maps that keypoints were read from.
        """
        panels = []
        for head, task in self._tasks.items():
            panels.append((head, task.draw_prediction(self.sample.image, self[head])))
            found = task.draw_maps(self.sample.image, self[head]) if maps else []
            panels += [(f"{head}: {title}" if len(self) > 1 else title, drawn) for title, drawn in found]
        return (
            side_by_side([drawn for _, drawn in panels], [title for title, _ in panels]) if panels[1:] else panels[0][1]
        )

    def to_json(self) -> dict[str, list | dict]:
        """{head name: JSON-ready values with class names}, as in `predictions.json`; masks are `attachments`."""
        return {head: task.to_json(self[head]) for head, task in self._tasks.items()}

    def attachments(self) -> dict[str, dict[str, bytes]]:
        """{head name: {file name: bytes}}: what is not JSON, such as "mask.png", an index PNG of class numbers."""
        return {head: task.attachments(self[head]) for head, task in self._tasks.items()}
