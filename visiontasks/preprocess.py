"""`Preprocess`: how an image of any size is fitted to the network's canvas."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from visiontasks.arguments import Bits, Side, checked
from visiontasks.errors import UserError
from visiontasks.geometry import RESIZES, Placement, Window


@dataclasses.dataclass(frozen=True)
class Preprocess:
    """The size of a network's input and how images are fitted to it; saved with the model by `get_config`.

    Args:
        size: (height, width) of the canvas in pixels, each from 1 up.
        resize: a mode of `visiontasks.geometry.Placement`: stretch, letterbox or crop; or object: one object fills the
            canvas, see `visiontasks.geometry.Window`.
        bits: of images of 16 bits, how many held values in training, see `read_image`; None: it saw none.

    Raises:
        UserError: an argument is none of these.
    """

    size: tuple[Side, Side]
    resize: Literal[RESIZES] = "stretch"
    bits: Bits | None = None

    @classmethod
    def of(cls, model) -> "Preprocess":
        """The Preprocess saved with a VisionModel; without one (trained on arrays) images are stretched to its input.

        Raises:
            ValueError: the model has no size: it takes images of any.
            UserError: the network was made for another size than the one saved.
        """
        if model.preprocess is not None:
            saved = cls(**model.preprocess)
            check_canvas(model, saved.size, "preprocess")
            return saved
        size = tuple(model.backbone.input.shape[1:3])
        if None in size:
            raise ValueError(
                "preprocess: the model takes images of any size and was saved without one. Set it before the model is "
                'saved: model.preprocess = {"size": [320, 320], "resize": "letterbox"}.'
            )
        return cls(size)

    def get_config(self) -> dict:
        """{"size": [height, width], "resize": mode}, and bits if known: the arguments of Preprocess."""
        bits = {} if self.bits is None else {"bits": self.bits}
        return {"size": list(self.size), "resize": self.resize, **bits}

    def placement(self, image_size: tuple[int, int], box: Sequence[float] | None = None) -> Placement | Window:
        """The placement of an image of (height, width) on the canvas.

        Args:
            image_size: see above.
            box: of the object that fills the canvas, x1, y1, x2, y2, where the mode is `object`; None: the whole image.
        """
        if self.resize == "object":
            height, width = image_size
            return Window.around((0, 0, width, height) if box is None else box, image_size, self.size)
        return Placement(tuple(image_size), self.size, self.resize)


Preprocess.__init__ = checked(Preprocess.__init__)


def check_canvas(model, size: tuple[int, int], argument: str):
    """Raise where a VisionModel's network was made for images of one size, and not for this one, (height, width).

    Raises:
        UserError: names `argument`, what chose the size.
    """
    made = tuple(model.backbone.input.shape[1:3])
    if any(side not in (None, given) for side, given in zip(made, size, strict=True)):
        raise UserError(f"expected {list(made)}, the size that the network was made for; got {list(size)}.", argument)
