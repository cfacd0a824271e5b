"""The Skeleton of a data set: what its files say of the keypoints, and a recipe's `skeleton`."""

from collections.abc import Sequence
from pathlib import Path

from visiontasks.data.yaml_file import read_yaml
from visiontasks.errors import DataError, near
from visiontasks.skeleton import DEFAULT_SIGMA, Skeleton

_KEYS = ("keypoints", "limbs", "pairs", "sigmas")


def skeleton_of(given: str | dict | None, names: Sequence[str] | int, report, where, **stated) -> Skeleton:
    """The Skeleton of the keypoints that a data set has.

    Args:
        given: the recipe's: a mapping with any of keypoints, limbs, pairs and sigmas, or a YAML file with one; it comes
            before what the data set states.
        names: of the data set's keypoints, or their number if it has no names.
        report: gets the names of keypoints without an OKS sigma.
        where: the data set's file, for the report and for errors.
        stated: limbs, pairs or sigmas that the data set states.

    Raises:
        DataError: the mapping or the file is wrong, or has another number of keypoints.
    """
    given = _read(given)
    if unknown := sorted(set(given) - set(_KEYS)):
        raise DataError(f"there is no {unknown[0]!r}. {near(unknown[0], _KEYS)}", "skeleton")
    count, own = names if isinstance(names, int) else len(names), given.pop("keypoints", None)
    if own is not None and len(own) != count:
        raise DataError(f"expected {count} keypoints, as {where} has, got {len(own)}.", "skeleton.keypoints")
    try:
        skeleton = Skeleton(names if own is None else own, **{**stated, **given})
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {error}", "skeleton" if given or own else None) from error
    if skeleton.assumed:
        names = "all keypoints" if len(skeleton.assumed) == len(skeleton) else ", ".join(skeleton.assumed)
        report.noted(
            f"no OKS sigma known for {names}: {DEFAULT_SIGMA}, the median of COCO's, is used. Give the source "
            "skeleton={sigmas: {NAME: …}}, the spread of an annotator's clicks as a share of the object's size",
            str(where),
        )
    return skeleton


def _read(given) -> dict:
    if given is None or isinstance(given, dict):
        return dict(given or {})
    content = read_yaml(Path(given), f"a YAML file with {', '.join(_KEYS)}", "skeleton")
    if not isinstance(content, dict):
        raise DataError(f"{given}: expected {', '.join(_KEYS)}, got {type(content).__name__}.", "skeleton")
    return content
