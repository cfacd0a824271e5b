"""What overrides of a folder's data, which were found by its layout, mean for each of its two sets."""

from collections.abc import Sequence

from visiontasks.data.detect import INHERITED

_CHOOSING = ("split", "list")  # which images a set takes


def serve_both(splits: dict, overrides: Sequence[str]) -> tuple[dict, list[str], str]:
    """The splits of a folder, and overrides of which those of data.train serve its validation set too where they may.

    What both sets have alike an override of data.train changes in both, unless data.val has its own. What each set has
    for itself, such as its folder, and which images it takes change in the training set alone. Another source of the
    training set leaves the validation set out.

    Args:
        splits: as `detect` returns them.
        overrides: "data.train.masks=DIR" and the like, and others.

    Returns:
        The splits, the overrides, and what to say about it, without a period; "" if there is nothing.
    """
    train, val = splits["train"], splits.get("val")
    given = [(key.split("."), value) for key, _, value in (override.partition("=") for override in overrides)]
    changed = [(path[2:], value) for path, value in given if path[:2] == ["data", "train"]]
    own = {(*path[2:], "")[0] for path, _ in given if path[:2] == ["data", "val"]}
    if val is None or not changed or "" in own:
        return splits, list(overrides), ""
    if any(not path or path == ["source"] and value != train["source"] for path, value in changed):
        if "source" in own:
            return splits, list(overrides), ""
        note = "the training set is not the one found, so the validation set found with it is left out (give data.val)"
        return {**splits, "val": None}, list(overrides), note
    served, added, kept = {}, [], {}
    for (name, *inner), value in changed:
        if name in ("source", *own):
            continue
        if name in _CHOOSING or train.get(name) != val.get(name):
            kept[f"data.train.{name}"] = f"{name}={val[name]}" if name in val else f"no {name}"
        elif name in val or name not in INHERITED:  # the others `inherit` gives it
            added.append(f"{'.'.join(('data.val', name, *inner))}={value}")
            served |= {f"data.train.{name}": None} if name not in INHERITED else {}
    notes = [f"{', '.join(served)} changes the validation set too"] if served else []
    if kept:
        mine = next(iter(kept)).replace("train", "val")
        notes.append(
            f"the validation set keeps {', '.join(kept.values())}: {', '.join(kept)} changes the training set alone "
            f"({mine}= changes it)"
        )
    return splits, [*added, *overrides], "; ".join(notes)
