"""Human bodies in random poses, seen from the front or from behind: their joints and the parts that they consist of."""

import itertools
from typing import NamedTuple

import numpy as np

LEAN, BEND = 27.0, 8.0  # degrees, at most: of the whole body, and of what is above the hips
# lengths in heights of the body, about those of Drillis and Contini (1966), with a larger head
_TORSO, _NECK, _UPPER_ARM, _FOREARM, _HAND, _THIGH, _SHANK, _FOOT = 0.28, 0.135, 0.17, 0.145, 0.045, 0.235, 0.225, 0.055
_EDGE, _DARK = 0.009, 0.6  # a limb has a dark edge, so that it shows before the torso
_SIDES = (1.15, 0.82)  # left limbs are lighter than right ones
_LEAST = 0.9  # pixels, a limb's radius; the pixel of a joint would not belong to a thinner one
_FACE = 28  # pixels, the height from which a body has a face; below, eyes are smaller than a pixel
_HALF_TURN = np.exp(1j * np.linspace(-np.pi / 2, np.pi / 2, 8))


class Part(NamedTuple):
    """A capsule between two circles, in heights of the body.

    Attributes:
        material: shirt, trousers, skin, hair, shoes, eye, pupil or lips.
        tone: by which the material's color is multiplied.
        start, end: the centers x + iy.
        first, last: the radii at the start and at the end.
        inside: earlier parts contain this one.
    """

    material: str
    tone: float
    start: complex
    end: complex
    first: float
    last: float
    inside: bool = False


def capsules(parts: list[Part]) -> np.ndarray:
    """complex (N, 16), the convex outlines of the parts."""
    starts, ends, first, last = (np.array(values) for values in list(zip(*parts, strict=True))[2:6])
    ahead = (ends - starts) / np.abs(ends - starts)
    front, back = (last * ahead)[:, None] * _HALF_TURN, (first * ahead)[:, None] * _HALF_TURN
    return np.concatenate([ends[:, None] + front, starts[:, None] - back], axis=1)


class Body:
    """A body around the middle of its hips, in a random pose: it leans, arms point anywhere, knees bend inwards.

    Points are complex, x + iy, y down, in heights of the body. Pairs (2,) are left, right. A body that is seen from the
    front has its left on the right.

    Args:
        rng: the random generator.
        behind: the body is seen from behind.

    Attributes:
        shoulders, elbows, wrists, hands, hips, knees, ankles, toes: pairs.
        nose, head: points; the head's is its middle.
    """

    def __init__(self, rng: np.random.Generator, behind: bool):
        self.behind = behind
        self.side = np.array([-1, 1]) if behind else np.array([1, -1])
        self.lean = np.exp(1j * np.radians(rng.uniform(-LEAN, LEAN) * rng.uniform(0.1, 1)))
        bent, broad = np.exp(1j * np.radians(rng.uniform(-BEND, BEND))), rng.uniform(0.85, 1.15)
        raised = rng.uniform(size=2) < 0.6
        arms = np.where(raised, rng.uniform(-15, 165, size=2), rng.uniform(3, 28, size=2))
        # a raised forearm turns on towards the head; a lowered one also back across the body
        folds = np.where(raised, rng.uniform(np.where(arms > 110, -20, -110), 130), rng.uniform(-25, 15, size=2))
        self.shoulders = bent * (0.12 * broad * self.side - 1j * _TORSO)
        self.elbows = self.shoulders + bent * self._away(arms, _UPPER_ARM * rng.uniform(0.8, 1, size=2))
        self.wrists = self.elbows + bent * self._away(arms + folds, _FOREARM * rng.uniform(0.8, 1, size=2))
        self.hands = self.wrists + bent * self._away(arms + folds, _HAND)
        squat, kick = rng.choice([0, 1], p=[0.8, 0.2]) * rng.uniform(15, 55), rng.uniform(size=2) < 0.15
        thighs = np.where(kick, rng.uniform(25, 95, size=2), rng.uniform(-4, 16, size=2) + squat)
        # knees only bend inwards
        shanks = thighs - rng.uniform(0, 1.1, size=2) * np.maximum(thighs, 0) - rng.uniform(0, 6, size=2)
        self.hips = 0.07 * broad * self.side + 0j
        self.knees = self.hips + self._away(thighs, _THIGH * rng.uniform(0.85, 1, size=2))
        self.ankles = self.knees + self._away(shanks, _SHANK * rng.uniform(0.85, 1, size=2))
        self.toes = self.ankles + self._away(np.where(kick, shanks, 0) + rng.uniform(10, 60, size=2), _FOOT)
        self.upright = bent * np.exp(1j * np.radians(rng.uniform(-12, 12)))  # of the head
        self.head = self.shoulders.mean() - 1j * _NECK * self.upright
        self.gaze = 0 if behind else rng.uniform(-0.02, 0.02)
        self.nose = self.face(1.3 * self.gaze + 0.034j)

    def _away(self, angles, lengths):
        """From straight down by `angles` in degrees, outwards on each side."""
        return lengths * (self.side * np.sin(np.radians(angles)) + 1j * np.cos(np.radians(angles)))

    def face(self, points):
        """The body's point that an upright head has at `points` from its middle."""
        return self.head + points * self.upright

    def parts(self, rng: np.random.Generator, height: float) -> list[Part]:
        """What the body consists of in the order of painting, for a body of `height` pixels, with random clothes."""
        stout, (sleeve, trouser, cover, first_leg, first_arm) = rng.uniform(0.85, 1.2), rng.uniform(size=5)
        forearm, shank = "shirt" if sleeve < 0.5 else "skin", "trousers" if trouser < 0.65 else "skin"
        hair = "none" if cover < 0.1 else "short" if cover < 0.65 else "long"

        def limb(tone, *sections):
            return _with_edges(tone, stout, _LEAST / height, sections)

        legs = [
            limb(
                tone,
                ("shoes", ankle, toe, 0.028, 0.022),
                (shank, knee, ankle, 0.041, 0.025),
                ("trousers", hip, knee, 0.058, 0.043),
            )
            for tone, hip, knee, ankle, toe in zip(_SIDES, self.hips, self.knees, self.ankles, self.toes, strict=True)
        ]
        arms = [
            limb(
                tone,
                ("skin", wrist, hand, 0.026, 0.018),
                (forearm, elbow, wrist, 0.031, 0.023),
                (forearm, shoulder, elbow, 0.041, 0.032),
                ("shirt", shoulder, (shoulder + elbow) / 2, 0.045, 0.042),
            )
            for tone, shoulder, elbow, wrist, hand in zip(
                _SIDES, self.shoulders, self.elbows, self.wrists, self.hands, strict=True
            )
        ]
        waist = 0.85 * self.hips + 0.15 * self.shoulders
        torso = limb(
            1,
            *(("shirt", *ends, 0.042, 0.055) for ends in zip(self.shoulders, waist, strict=True)),
            ("shirt", 0.85 * self.shoulders.mean(), waist.mean(), 0.085, 0.055),
            ("shirt", *waist, 0.055, 0.055),
        )
        fall = [Part("hair", 0.85, self.head, self.face(0.13j), 0.078, 0.06)] if hair == "long" else []
        return [
            *([] if self.behind else fall),
            *itertools.chain(*legs[:: 1 if first_leg < 0.5 else -1]),
            Part("trousers", 1, *self.hips, 0.062 * stout, 0.062 * stout),
            Part("skin", 0.8, self.shoulders.mean(), self.head, 0.036, 0.032),
            *torso,
            *self._head(hair != "none", height),
            *(fall if self.behind else []),
            *itertools.chain(*arms[:: 1 if first_arm < 0.5 else -1]),
        ]

    def _head(self, hair, height):
        around, gaze = "hair" if self.behind and hair else "skin", self.gaze
        top, chin = self.face(-0.012j), self.face(0.012j)
        parts = [
            Part(around, _DARK, top, chin, 0.074 + _EDGE, 0.074 + _EDGE),
            Part(around, 1, top, chin, 0.074, 0.074, inside=True),
        ]
        if height >= _FACE and not self.behind:
            for eye in (gaze - 0.028 + 0.004j, gaze + 0.028 + 0.004j):
                pupil = eye + gaze / 3
                parts += [
                    Part("eye", 1, self.face(eye - 0.003), self.face(eye + 0.003), 0.013, 0.013, inside=True),
                    Part("pupil", 1, self.face(pupil), self.face(pupil + 0.001j), 0.009, 0.009, inside=True),
                ]
            left, right = self.face(gaze - 0.02 + 0.06j), self.face(gaze + 0.02 + 0.06j)
            parts += [
                Part("skin", 0.7, self.face(gaze + 0.01j), self.nose, 0.006, 0.012, inside=True),
                Part("lips", 1, left, right, 0.006, 0.006, inside=True),
            ]
        if hair and not self.behind:
            parts.append(Part("hair", 1, self.face(-0.024 - 0.055j), self.face(0.024 - 0.055j), 0.045, 0.045))
        return parts


def _with_edges(tone, stout, least, sections):
    """Parts of a limb: the dark edges of all sections come first, so that neighbors join without one."""
    edges, covers = [], []
    for material, start, end, first, last in sections:
        first, last = max(first * stout, least), max(last * stout, least)
        edges.append(Part(material, _DARK * tone, start, end, first + _EDGE, last + _EDGE))
        covers.append(Part(material, tone, start, end, first, last, inside=True))
    return edges + covers
