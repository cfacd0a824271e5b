"""Draws products as an inspection camera sees them, some with a defect: fabric, brushed metal and a plate of studs."""

import cv2
import numpy as np

from visiontasks.data.textures import BITS, clouds, fixed_point, to_bytes

DEFECTS = ("scratch", "stain", "missing", "misprint")
STUDS = 4  # in each row and column of a plate
STUD = 0.3  # a stud's radius, in distances between studs
THREADS = 20  # periods of a fabric's weave along the shorter dimension


def draw_surface(
    rng: np.random.Generator, size: tuple[int, int], surface: str, defect: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 image (H, W, 3), uint8 mask (H, W): 1 where the product has the defect) of `size` (height, width).

    All images of a surface show one product. Light, focus and noise differ, and where it lies, within limits: how far
    it is turned, shifted, and from the camera. With and without a defect the same generator draws the same product: the
    images differ at the defect alone.

    - scratch: a thin bent line, darker or lighter.
    - stain: a spot without sharp borders, of another color.
    - missing: a stud that is not there, or a place without weave or streaks.
    - misprint: a stud beside its place or of another size, or a place whose weave or streaks run in another direction.
    """
    of_product, of_camera, of_defect = rng.spawn(3)
    place = of_product.uniform(-1, 1, 4)
    kind = "" if defect is None else defect
    draw = {"fabric": _fabric, "metal": _metal, "plate": _plate}[surface]
    image, mask = draw(of_product, of_defect, size, place, kind)
    if kind == "scratch":
        image, mask = _covered(image, _scratch(of_defect, size), _ink(of_defect, (14, 36)))
    elif kind == "stain":
        image, mask = _covered(image, _soft(_blob(of_defect, size, (0.05, 0.09))), _ink(of_defect, (18, 42)))
    return _photograph(of_camera, image), mask


def _photograph(rng, image):
    """Uneven light, focus and noise."""
    size = image.shape[:2]
    light = cv2.resize(rng.uniform(0.86, 1.1, (2, 2)).astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image * (rng.uniform(0.9, 1.1) * light)[..., None], (0, 0), rng.uniform(0.3, 0.9))
    return to_bytes(image + rng.uniform(2, 5) * rng.standard_normal((*size, 3), np.float32))


def _coordinates(size, place, turn, angle=0.0):
    """(along, across): float32 (H, W), pixels of a product that is turned by at most `turn`, shifted and scaled."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    angle, scale = angle + turn * place[0], 1 + 0.05 * place[1]
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    along, across = cos * x + sin * y, cos * y - sin * x
    shift = place[2:] * min(size)
    return np.float32(along + shift[0]), np.float32(across + shift[1])


def _fabric(rng, of_defect, size, place, defect):
    """A plain weave, whose threads are uneven and wave a little."""
    waves = [0.25 * clouds(rng, size, 5) for _ in range(2)]
    uneven = 1 + 0.2 * rng.standard_normal((2, 64), np.float32)
    ground = np.float32([88, 104, 138]) + 5 * clouds(rng, size, 12)[..., None]

    def weave(angle):
        along, across = (
            values * np.float32(2 * np.pi * THREADS / min(size)) + wave
            for values, wave in zip(_coordinates(size, place, 0.1, angle), waves, strict=True)
        )
        gains = (
            gain[np.int32(np.floor(values / np.pi)) % 64] for gain, values in zip(uneven, (along, across), strict=True)
        )
        warp, weft = (gain * np.cos(2 * values) for gain, values in zip(gains, (along, across), strict=True))
        return 14 * np.where(np.sin(along) * np.sin(across) > 0, warp, weft)

    return _woven(of_defect, size, ground, weave, np.pi / 4, defect)


def _metal(rng, of_defect, size, place, defect):
    """Streaks of a brush, which differ along their way."""
    fine = rng.standard_normal((3, 4 * max(size)), np.float32)
    shares = [0.75 + 0.25 * clouds(rng, size, 3) for _ in fine]
    ground = np.float32([150, 152, 156]) + 3 * clouds(rng, size, 6)[..., None]

    def streaks(angle):
        _, across = _coordinates(size, place, 0.06, angle)
        return 7 * sum(share * row[np.int32(across) % len(row)] for share, row in zip(shares, fine, strict=True))

    return _woven(of_defect, size, ground, streaks, np.pi / 2, defect)


def _woven(rng, size, ground, texture, angle, defect):
    """The ground with its texture, which at a defect is missing or turned."""
    values, mask = texture(0.0), np.zeros(size, np.uint8)
    if defect in ("missing", "misprint"):
        alpha = _blob(rng, size, (0.055, 0.1))
        turned = texture(angle) if defect == "misprint" else np.zeros_like(values)
        values = _blend(values[..., None], alpha, turned[..., None])[..., 0]
        mask = (alpha > 127).astype(np.uint8)
    return ground + np.float32(values)[..., None], mask


def _plate(rng, of_defect, size, place, defect):
    """Studs in rows, which differ a little in color."""
    image, mask = np.float32([70, 96, 82]) + 3 * clouds(rng, size, 24)[..., None], np.zeros(size, np.uint8)
    step, middle = np.divide(size[::-1], STUDS), np.divide(size[::-1], 2)
    turn, scale = 0.035 * place[0], 1 + 0.025 * place[1]
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    special = tuple(of_defect.integers(STUDS, size=2))
    for row in range(STUDS):
        for column in range(STUDS):
            center = rotation @ ((np.array([column, row]) + 0.5) * step - middle) + middle + 0.04 * place[2:] * step
            radius, shade = scale * STUD * step.min(), rng.normal(0, 2, 3)
            whole = _disc(size, center, radius)
            if (row, column) == special and defect in ("missing", "misprint"):
                mask |= (whole > 127).astype(np.uint8)
                if defect == "missing":
                    continue
                center, radius = _misplaced(of_defect, center, radius)
                mask |= (_disc(size, center, radius) > 127).astype(np.uint8)
            image = _blend(image, _disc(size, center, radius), np.float32([178, 150, 90] + shade))
            image = _blend(
                image, _disc(size, center - 0.3 * radius, 0.35 * radius), np.float32([222, 205, 160] + shade)
            )
    return image, mask


def _misplaced(rng, center, radius):
    """A stud beside its place, or of another size."""
    if rng.random() < 0.5:
        return center, radius * rng.choice([0.65, 1.3])
    angle = rng.uniform(0, 2 * np.pi)
    return center + rng.uniform(0.4, 0.6) * radius * np.array([np.cos(angle), np.sin(angle)]), radius


def _disc(size, center, radius):
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return _filled(size, center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _filled(size, outline):
    alpha = np.zeros(size, np.uint8)
    cv2.fillPoly(alpha, [fixed_point(outline, np.zeros(2))], 255, cv2.LINE_AA, BITS)
    return alpha


def _blob(rng, size, radii):
    """Coverage 0..255 of an uneven spot inside the image; its radius is a share of the shorter dimension."""
    radius = rng.uniform(*radii) * min(size)
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = sum(rng.uniform(-0.2, 0.2) * np.cos(n * angles + rng.uniform(0, 6)) for n in (1, 2, 3))
    center = rng.uniform(1.6 * radius, np.array(size[::-1]) - 1.6 * radius)
    return _filled(size, center + radius * (1 + waves[:, None]) * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _soft(alpha):
    """A coverage whose border fades over a third of the spot's radius."""
    radius = np.sqrt((alpha > 127).sum() / np.pi)
    return cv2.GaussianBlur(alpha, (0, 0), max(0.5, 0.3 * radius))


def _scratch(rng, size):
    """Coverage 0..255 of a thin bent line inside the image."""
    length, angle = rng.uniform(0.15, 0.4) * min(size), rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    bend = rng.uniform(-0.12, 0.12) * length * np.array([-along[1], along[0]])
    places = np.linspace(-0.5, 0.5, 12)[:, None]
    line = length * along * places + bend * (1 - 4 * places**2)
    low, high = -line.min(axis=0) + 2, np.array(size[::-1]) - line.max(axis=0) - 2
    alpha = np.zeros(size, np.uint8)
    width = max(1, round(rng.uniform(0.005, 0.011) * min(size)))
    cv2.polylines(
        alpha, [fixed_point(line + rng.uniform(low, high), np.zeros(2))], False, 255, width, cv2.LINE_AA, BITS
    )
    return alpha


def _ink(rng, contrast):
    """What is added to a color: darker or lighter by the contrast, and of another hue."""
    return rng.choice([-1, 1]) * rng.uniform(*contrast) + rng.uniform(-8, 8, 3)


def _covered(image, alpha, ink):
    """The image with `ink` added where `alpha` covers it, and the mask of what is covered."""
    share = (alpha / np.float32(255))[..., None]
    return image + share * np.float32(ink), (alpha > alpha.max() // 2).astype(np.uint8)


def _blend(image, alpha, ink):
    share = (alpha / np.float32(255))[..., None]
    return image * (1 - share) + ink * share
