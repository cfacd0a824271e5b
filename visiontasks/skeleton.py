"""`Skeleton`: the keypoints of an object: their names, left and right pairs, limbs, and OKS sigmas."""

import re
from collections.abc import Sequence

# COCO's, by part; neck and top of the head as CrowdPose has them, https://arxiv.org/abs/1812.00324
SIGMAS = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "neck": 0.079,
    "headtop": 0.079,
    "head": 0.079,
}
DEFAULT_SIGMA = 0.072  # the median of COCO's 17: what is assumed for a keypoint of another name
_OPPOSITE = {"left": "right", "Left": "Right", "LEFT": "RIGHT", "l": "r", "L": "R"}
_OPPOSITE |= {right: left for left, right in _OPPOSITE.items()}
# left and right anywhere in a name; l and r only without a letter beside them, or as in LAnkle
_SIDE = re.compile("left|right|Left|Right|LEFT|RIGHT|(?<![A-Za-z])[lrLR](?![A-Za-z])|(?<![A-Za-z])[LR](?=[A-Z][a-z])")


class Skeleton(tuple):
    """The names of K keypoints, in the order of a Sample's `keypoints`, and what belongs to them; a tuple of names.

    Args:
        names: of the keypoints, none of them twice; or their number.
        limbs: pairs of keypoints, by name or index, that lines are drawn between.
        pairs: (left, right) keypoints, by name or index, which become each other in a mirrored image; None: by names
            such as left_eye and right_eye. [] if no keypoint has a side.
        sigmas: of OKS, one per keypoint, or {name: sigma}; those that are missing are COCO's for keypoints of its
            names, whatever the side, or DEFAULT_SIGMA.

    Attributes:
        limbs: ((index, index), …).
        partners: (K,), the index that each keypoint gets in a mirrored image; None if it is not known.
        sigmas: (K,).
        unpaired: ((name, its counterpart), …) of the keypoints of one side whose counterpart is missing.
        assumed: the names of the keypoints whose sigma is DEFAULT_SIGMA.

    Raises:
        ValueError: a keypoint is not among the names, or an argument has another form; the text names it.
    """

    def __new__(cls, names, limbs=(), pairs=None, sigmas=None):
        names = tuple(map(str, range(names) if isinstance(names, int) else names))
        if not names or len(set(names)) < len(names):
            raise ValueError(f"names: expected one name or more, none of them twice, got {list(names)}.")
        self = super().__new__(cls, names)
        self.limbs = tuple(self._pair("limbs", limb) for limb in limbs or ())
        others = [_SIDE.sub(lambda side: _OPPOSITE[side[0]], name) for name in names]
        self.unpaired = tuple(pair for pair in zip(names, others, strict=True) if pair[1] not in names)
        numbers = len(names) > 1 and all(name.isdecimal() for name in names)
        self.partners = None if self.unpaired or numbers else tuple(map(names.index, others))
        if pairs is not None:
            self.partners, self.unpaired = self._of(pairs), ()
        known = {name: SIGMAS.get(_part(name)) for name in names}
        if isinstance(sigmas, dict):
            if unknown := sorted(set(sigmas) - set(names)):
                raise ValueError(f"sigmas: expected names of {list(names)}, got {unknown}.")
            known |= sigmas
        elif sigmas is not None:
            if len(sigmas) != len(names):
                raise ValueError(f"sigmas: expected {len(names)} numbers, one per keypoint, got {len(sigmas)}.")
            known = dict(zip(names, sigmas, strict=True))
        if bad := [sigma for sigma in known.values() if sigma is not None and not sigma > 0]:
            raise ValueError(f"sigmas: expected numbers above 0, got {bad[0]}.")
        self.assumed = tuple(name for name, sigma in known.items() if sigma is None)
        self.sigmas = tuple(DEFAULT_SIGMA if sigma is None else float(sigma) for sigma in known.values())
        return self

    @classmethod
    def of(cls, names: Sequence[str]) -> "Skeleton":
        """The skeleton itself, or that of these names."""
        return names if isinstance(names, Skeleton) else cls(names)

    def get_config(self) -> dict:
        """The arguments of a skeleton that is equal, as JSON has them."""
        partners = None if self.partners is None else enumerate(self.partners)
        return {
            "names": list(self),
            "limbs": [list(limb) for limb in self.limbs],
            "pairs": None if partners is None else [[one, other] for one, other in partners if one < other],
            "sigmas": {name: s for name, s in zip(self, self.sigmas, strict=True) if name not in self.assumed},
        }

    def __reduce__(self):
        config = self.get_config()
        return type(self), tuple(config.values())

    def tree(self) -> tuple[tuple[int, int], ...]:
        """K - 1 of the limbs, each as (parent, child), that reach every keypoint from the first one, parents first.

        Raises:
            ValueError: the limbs leave a keypoint unconnected.
        """
        reached, edges = [0], []
        for parent in reached:  # grows
            for limb in self.limbs:
                child = sum(limb) - parent
                if parent in limb and child not in reached:
                    reached.append(child)
                    edges.append((parent, child))
        if missing := [name for number, name in enumerate(self) if number not in reached]:
            raise ValueError(
                f"skeleton: expected limbs that connect all keypoints, got none that lead from {self[0]!r} to "
                f"{missing}. Give the data's source a skeleton with more limbs."
            )
        return tuple(edges)

    def with_neck(self) -> "Skeleton":
        """With a keypoint `neck` at the end, if it has both shoulders and no neck; otherwise itself.

        The neck is joined to the shoulders, the hips and the nose. It takes the place of the limbs between these, and
        of those between the two keypoints of a pair. COCO's keypoints then have OpenPose's 19 limbs.
        """
        shoulders = self.index_of("left_shoulder", "right_shoulder")
        if shoulders is None or any("neck" in _part(name) for name in self):
            return self
        trunk = (*shoulders, *(self.index_of("left_hip", "right_hip") or ()), *(self.index_of("nose") or ()))
        others = self.partners or range(len(self))
        kept = [limb for limb in self.limbs if others[limb[0]] != limb[1] and not {*limb} <= {*trunk}]
        limbs = [*((len(self), end) for end in trunk), *kept]
        config = self.get_config()
        return Skeleton((*self, "neck"), limbs, config["pairs"], config["sigmas"])

    def assembly(self) -> tuple[tuple[tuple[int, int], ...], range]:
        """All limbs as (from, to) in the order in which people are assembled, and the numbers of the extra ones.

        First trees, from the neck, the left shoulder or the first keypoint outwards: a limb comes after those that lead
        to it. Then the extra ones: those that close a cycle with limbs that are listed before them.
        """
        groups, tree, extra = list(range(len(self))), [], []
        for one, other in self.limbs:
            joined, grown = groups[other], groups[one]
            (extra if joined == grown else tree).append((one, other))
            groups = [grown if group == joined else group for group in groups]
        walk, ordered = [], []
        for root in (*(self.index_of("neck") or self.index_of("left_shoulder") or ()), *range(len(self))):
            walk += [] if root in walk else [root]
            for one in walk:  # grows
                ends = [sum(limb) - one for limb in tree if one in limb]
                new = [(one, end) for end in ends if end not in walk]
                ordered += new
                walk += [end for _, end in new]
        return (*ordered, *extra), range(len(ordered), len(self.limbs))

    @property
    def sides(self) -> tuple[str | None, ...]:
        """(K,), "left", "right" or None: of a pair by the names or, where these say nothing, the first is left."""
        sides = [None] * len(self)
        for one, other in enumerate(self.partners or ()):
            if one < other:
                swapped = _spelling(self[one])[0] == "r"
                sides[one], sides[other] = ("right", "left") if swapped else ("left", "right")
        return tuple(sides)

    def index_of(self, *parts: str) -> tuple[int, ...] | None:
        """The indices of keypoints by COCO's names, such as left_hip, in any spelling; None if one is missing."""
        spelled = {_spelling(name): number for number, name in enumerate(self)}
        found = [spelled.get(_spelling(part)) for part in parts]
        return None if None in found else tuple(found)

    def _pair(self, argument, pair):
        pair = tuple(pair)
        places = [self.index(one) if one in self else one for one in pair]
        if len(places) != 2 or not all(type(one) is int and 0 <= one < len(self) for one in places):
            raise ValueError(f"{argument}: expected pairs of the keypoints {list(self)}, by name or index, got {pair}.")
        if places[0] == places[1]:
            raise ValueError(f"{argument}: expected pairs of two different keypoints, got {pair}.")
        return tuple(places)

    def _of(self, pairs):
        partners = list(range(len(self)))
        for one, other in (self._pair("pairs", pair) for pair in pairs):
            if partners[one] != one or partners[other] != other:
                raise ValueError(f"pairs: expected each keypoint once, got {self[one]!r} or {self[other]!r} twice.")
            partners[one], partners[other] = other, one
        return tuple(partners)


def _part(name: str) -> str:
    """The part of the body that a keypoint's name says, without its side: left_eye and REye are eyes."""
    return re.sub("[^a-z]", "", _SIDE.sub("", name).lower())


def _spelling(name: str) -> tuple[str, str]:
    """(the first letter of the side or "", the part), however a name is spelled."""
    side = _SIDE.search(name)
    return side[0][0].lower() if side else "", _part(name)


COCO_PERSON = Skeleton(
    (
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    limbs=[
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ],
)  # fmt: skip
