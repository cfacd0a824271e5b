"""Drawn surfaces, some with a defect, for anomaly detection without a download."""

import math
from typing import Literal

import numpy as np

from visiontasks.arguments import Chance, Drawn, DrawnSize, Seed
from visiontasks.data.sources.mvtec import LABELS, MASKS
from visiontasks.data.sources.source import Source
from visiontasks.data.surfaces import DEFECTS, draw_surface
from visiontasks.sample import Sample


class Defects(Source):
    """Drawn surfaces of one product, seeded, of which some have a defect as faint as in practice; no download.

    Sample i is a function of (seed, i, size, surface, defective). Fields: `label` (good, defect) and `mask` (0
    background, 1 defect). Normal images differ in light, focus and place. Defects are scratches, stains, missing parts
    and misprints, as many of each: see `visiontasks.data.surfaces.draw_surface`.

    Args:
        count: number of samples.
        seed: of the surfaces; not negative.
        size: height and width in pixels, from 32 to 16384.
        surface: fabric, brushed metal, or a plate with rows of studs.
        defective: the share of samples with a defect, spread evenly; 0: normal images alone, as for training.
    """

    fields = frozenset({"label", "mask"})

    def __init__(
        self,
        count: Drawn = 200,
        seed: Seed = 0,
        size: DrawnSize = (256, 256),
        surface: Literal["fabric", "metal", "plate"] = "plate",
        defective: Chance = 0.5,
    ):
        super().__init__()
        self.count, self.seed, self.size, self.surface, self.defective = count, seed, size, surface, defective
        self.normal_alone = defective == 0
        self.names = {"label": LABELS, "mask": MASKS}

    def __len__(self):
        return self.count

    def describe(self, index):
        return f"{self.surface}/{self.seed}/{index}"

    def __getitem__(self, index):
        if not 0 <= index < self.count:
            raise IndexError(f"expected an index from 0 to {self.count - 1}, got {index}.")
        before, after = (math.floor(number * self.defective) for number in (index, index + 1))
        defect = DEFECTS[before % len(DEFECTS)] if after > before else None
        image, mask = draw_surface(np.random.default_rng([self.seed, index]), self.size, self.surface, defect)
        return Sample(image, label=int(after > before), mask=mask, id=self.describe(index))
