"""python -m visiontasks.embed run=DIR|backbone=NAME source=DIR: which images of a folder are alike."""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path

from visiontasks import cli
from visiontasks.errors import RecipeError, UserError, near

WORDS = ("run", "backbone", "weights", "size", "resize", "source", "labels", "tap", "batch", "out")
WORDS += ("neighbors", "k", "duplicates", "map", "json")

USAGE = """python -m visiontasks.embed run=DIR|backbone=NAME source=FILE|DIR|GLOB [key=value …]

  run=DIR        a run's folder: its best checkpoint's features
  backbone=NAME  a backbone, such as efficientnet_lite0; weights=imagenet|FILE|null (by default imagenet), size=H,W (by
                 default 224,224) and resize=crop|stretch|letterbox (by default crop) go with it
  source=…       an image, a folder of images, or a glob; class folders give labels (labels=false: none are looked for)
  tap=NAME       the output that is pooled, such as C4; by default top or, without one, the deepest level
  neighbors=…    an image, a folder or a glob: the nearest images of the source are found and drawn
  k=N            neighbors that are found, and that vote for a class; by default 5
  duplicates=…   the cosine similarity from which two images count as near duplicates; by default 0.95
  map=…          tsne, umap, pca or none; by default tsne if scikit-learn is installed
  batch=N        images per batch; by default 32
  out=DIR        for features.npz, embeddings.json, map.png, map.html and neighbors.png; by default embeddings, or
                 embeddings_2 and so on for other images or another network. features.npz is read again as long as
                 names, sizes and times of the images are the same
  json=true      print embeddings.json alone"""

VERSION = 1  # of embeddings.json
MOST_MAPPED, MOST_THUMBNAILS = 20_000, 2500  # images on a map; the others are left out, or are points
MOST_PAIRS, MOST_QUERIES = 1000, 10  # near duplicates in embeddings.json; rows of neighbors.png
PRINTED = 5  # pairs, and images whose neighbors are listed
CELL = 192  # pixels of an image in neighbors.png


def main(arguments: list[str] | None = None):
    cli.run(embed_command, arguments, lambda: USAGE)


def embed_command(arguments: list[str]) -> int:
    """Embed a folder, write what is alike in it, and print it; returns the exit code."""
    words, _ = cli.words(arguments, WORDS)
    if "source" not in words or ("run" in words) == ("backbone" in words):
        raise UserError("expected source=FILE|DIR|GLOB and either run=DIR or backbone=NAME.")
    if "run" in words and (extra := {"weights", "size", "resize"} & words.keys()):
        raise RecipeError(f"{min(extra)}: goes with backbone=; a run's checkpoint says it.")
    options = _Options.of(words)
    as_json = cli.flag(words, "json")
    # JSON is alone on standard output: progress is no part of it
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        found = _embedded(words, options, cli.console())
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


@dataclasses.dataclass(frozen=True)
class _Options:
    """The command's numbers and choices, checked before anything is read."""

    k: int
    batch: int
    duplicates: float
    size: tuple[int, int]
    resize: str
    map: str

    @classmethod
    def of(cls, words):
        from visiontasks.geometry import MODES
        from visiontasks.keras_backend import installed
        from visiontasks.retrieval.layout import check_method

        way = words.get("map", "tsne" if installed("sklearn") else "none")
        if way != "none":
            check_method(way)
        resize = words.get("resize", "crop")
        if resize not in MODES:
            raise RecipeError(f"resize: unknown choice {resize!r}. {near(resize, MODES)}")
        threshold = _number(words, "duplicates", 0.95, float)
        if not 0 < threshold <= 1:
            raise RecipeError(f"duplicates: expected a cosine above 0 up to 1, got {threshold}.")
        k, batch = (_number(words, key, default, int) for key, default in (("k", 5), ("batch", 32)))
        return cls(k, batch, threshold, _size(words.get("size", "224,224")), resize, way)


def _number(words, key, default, kind):
    try:
        value = kind(words.get(key, default))
    except ValueError:
        raise RecipeError(f"{key}: expected a number, got {words[key]!r}.") from None
    if kind is int and value < 1:
        raise RecipeError(f"{key}: expected 1 or more, got {value}.")
    return value


def _size(text):
    sides = text.strip("[] ").split(",")
    if len(sides) != 2 or not all(side.strip().isdecimal() and int(side) for side in sides):
        raise RecipeError(f"size: expected height,width such as 224,224; got {text!r}.")
    return tuple(map(int, sides))


def _embedded(words, options, console) -> dict:
    from visiontasks.data.sources.images import Images
    from visiontasks.evaluation.results import results_folder, write_json
    from visiontasks.retrieval.reading import labeled_images

    queries = Images(words["neighbors"]) if "neighbors" in words else None
    labels = cli.flag({"labels": "true", **words}, "labels")
    source, splits, reading = labeled_images(words["source"], labels)
    console.print(reading)
    network = _Network(words, options, console)
    of = json.dumps([str(Path(words["source"]).expanduser().resolve()), labels, network.described])
    out = results_folder(words.get("out"), Path("embeddings"), replace=True, of=of)
    features = _features(network, source, splits, out, options, console)
    if source.report:
        console.print(f"images skipped or mended:\n{source.report}")
    found = {
        "version": VERSION,
        "source": words["source"],
        "network": network.described,
        "images": len(features),
        "dimensions": features.vectors.shape[1],
        "classes": list(features.names),
        "scores": _scores(features, options.k, console),
        "duplicates": _duplicates(features, options.duplicates, console),
    }
    if queries is not None:
        found["neighbors"] = _neighbors(features, queries, network.extractor(), options.k, out, console)
    found["files"] = ["features.npz", *(["neighbors.png"] if queries is not None else [])]
    if options.map != "none":
        found["files"] += _map(features, options.map, source.bits, words["source"], out, console)
    elif "map" not in words:
        console.print('no map, because scikit-learn is not installed: pip install "visiontasks[embed]"; or map=pca')
    write_json(out / "embeddings.json", found)
    console.print(f"results: {out}")
    return found


class _Network:
    """What features are computed with: described at once, built when an image must be embedded."""

    def __init__(self, words, options, console):
        from visiontasks.registry import catalog
        from visiontasks.training.run_directory import RunDirectory

        self._options, self._console, self._built, self.tap = options, console, None, words.get("tap")
        if "run" in words:
            self._checkpoint = RunDirectory.find(words["run"]).checkpoint
            console.print(f"checkpoint: {self._checkpoint}")
            self.described = {"checkpoint": str(self._checkpoint.resolve()), "tap": self.tap}
        else:
            self._checkpoint, self._name = None, words["backbone"]
            catalog.find("backbones", self._name, "backbone")
            weights = words.get("weights", "imagenet")
            self._weights = None if weights == "null" else weights
            form = {"size": list(options.size), "resize": options.resize}
            self.described = {"backbone": self._name, "weights": self._weights, **form, "tap": self.tap}

    def stamp(self) -> dict:
        """What tells this network from another one: also the state of its file."""
        file = Path(self._checkpoint or self._weights or "")
        state = file.stat() if file.is_file() else None
        return {**self.described, "file": state and [state.st_size, state.st_mtime_ns]}

    def extractor(self):
        """The Extractor, made once."""
        if self._built is None:
            cli.start_keras()
            from visiontasks import api
            from visiontasks.preprocess import Preprocess
            from visiontasks.retrieval.features import Extractor

            if self._checkpoint:
                self._built = Extractor(api.load_model(self._checkpoint, compile=False), self.tap)
            else:
                form = Preprocess(self._options.size, self._options.resize)
                backbone = api.backbone(self._name, weights=self._weights, input_shape=(*form.size, 3))
                self._built = Extractor(backbone, self.tap, form)
        return self._built


def _features(network, source, splits, out, options, console):
    """The features of a file that is there, or newly computed ones."""
    from visiontasks.retrieval.features import FILE, Features, collect, stamp_of
    from visiontasks.writing import replace_atomically

    path, stamp = out / FILE, stamp_of(source, splits, network.stamp())
    if path.exists():
        try:
            if (known := Features.load(path, stamp)) is not None:
                console.print(f"features: {path}, computed before; images and network have not changed")
                return known
            console.print(f"features: {path} is computed again, because images or network have changed")
        except UserError as error:
            console.print(f"features: computed again: {error}")
    features = collect(
        _watched(network.extractor().stream(source, options.batch), len(source), console), source, splits
    )
    replace_atomically(path, lambda temporary: features.save(temporary, stamp))
    return features


def _watched(stream, total, console):
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        shown = bar.add_task("embedding", total=total)
        for rows, samples in stream:
            bar.update(shown, advance=len(samples))
            yield rows, samples


def _scores(features, k, console) -> dict:
    """Scores where classes are known: of "val" if there is one, else of all images, each without itself."""
    from visiontasks.retrieval import metrics

    if not features.labeled:
        return {}
    known = features.labels >= 0
    vectors, labels, splits = features.vectors[known], features.labels[known], features.splits[known]
    val = splits == "val"
    both = val.any() and not val.all()
    if both:
        sets = [(vectors[part], labels[part]) for part in (~val, val)]
        scores = {f"knn@{k}": metrics.knn_accuracy_between(*sets, k)}
        scores |= metrics.retrieval_scores(*sets[1]) if val.sum() > 1 else {}
    else:
        scores = {f"knn@{k}": metrics.knn_accuracy(vectors, labels, k), **metrics.retrieval_scores(vectors, labels)}
    try:
        scores["logistic"] = metrics.logistic_accuracy(vectors, labels, splits)
    except UserError as error:
        console.print(f"logistic: left out: {error}")
    where = "validation images, by the training images" if both else "all images, each by the others"
    console.print(f"scores of {where}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return {"of": "val" if both else "all", **scores}


def _duplicates(features, threshold, console) -> dict:
    from visiontasks.retrieval.index import NeighborIndex

    pairs, values, count = NeighborIndex(features.vectors).near_duplicates(threshold, MOST_PAIRS)
    console.print(f"near duplicates: {count} pairs of similarity {threshold:g} or more")
    listed = [
        {"a": str(features.paths[a]), "b": str(features.paths[b]), "similarity": round(value, 6)}
        for (a, b), value in zip(pairs.tolist(), values.tolist(), strict=True)
    ]
    for pair in listed[:PRINTED]:
        console.print(f"  {pair['similarity']:.3f} {pair['a']} = {pair['b']}")
    return {"threshold": threshold, "count": count, "pairs": listed}


def _neighbors(features, queries, extractor, k, out, console) -> list[dict]:
    """The nearest images of each query, which is no neighbor of itself; the first queries are drawn."""
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.images import write_image
    from visiontasks.drawing.panels import contact_sheet
    from visiontasks.retrieval.index import NeighborIndex

    index, found, rows = NeighborIndex(features.vectors), [], []
    settle_bits([queries], extractor.preprocess.bits)
    numbers = {str(Path(path).resolve()): number for number, path in enumerate(features.paths.tolist())}
    for vectors, samples in extractor.stream(queries):
        for sample, near_ones, values in zip(samples, *index.search(vectors, k + 1), strict=True):
            own = numbers.get(str(Path(sample.path).resolve()))
            kept = [(i, v) for i, v in zip(near_ones.tolist(), values.tolist(), strict=True) if i != own][:k]
            nearest = [
                {"path": str(features.paths[i]), **_label(features, i), "similarity": round(v, 6)} for i, v in kept
            ]
            found.append({"path": sample.path, "nearest": nearest})
            if len(rows) < MOST_QUERIES:
                rows.append(_row(sample.path, nearest, queries.bits))
    for one in found[:PRINTED]:
        console.print(f"nearest of {one['path']}:")
        for near_one in one["nearest"]:
            console.print(f"  {near_one['similarity']:.3f} {near_one['path']}")
    write_image(out / "neighbors.png", contact_sheet(rows))
    return found


def _label(features, number) -> dict:
    label = int(features.labels[number])
    return {"label": features.names[label]} if label >= 0 else {}


def _row(path, nearest, bits):
    """A drawing of an image and its neighbors; those that cannot be read any more are left out."""
    from visiontasks.drawing.panels import side_by_side
    from visiontasks.retrieval.thumbnails import thumbnails

    paths = [path, *(one["path"] for one in nearest)]
    titles = [
        Path(path).name,
        *(f"{one['similarity']:.3f} {one.get('label', Path(one['path']).name)}" for one in nearest),
    ]
    small = thumbnails(paths, range(len(paths)), CELL, "letterbox", bits)
    return side_by_side(list(small.values()), [titles[number] for number in small])


def _map(features, method, bits, title, out, console) -> list[str]:
    from visiontasks.data.images import write_image
    from visiontasks.drawing.image_map import image_map
    from visiontasks.retrieval.layout import place_vectors
    from visiontasks.retrieval.page import SIDE, html_page
    from visiontasks.retrieval.thumbnails import spread, thumbnails

    chosen = spread(len(features), MOST_MAPPED)
    if len(chosen) < len(features):
        console.print(f"map: {len(chosen)} of {len(features)} images, evenly chosen")
    paths, labels = features.paths[chosen].tolist(), features.labels[chosen]
    small = thumbnails(paths, spread(len(chosen), MOST_THUMBNAILS).tolist(), SIDE, bits=bits)
    positions = place_vectors(features.vectors[chosen], method)
    write_image(out / "map.png", image_map(positions, small, labels, features.names))
    page = html_page(f"{method}: {title}", positions, paths, labels, features.names, small)
    (out / "map.html").write_text(page, encoding="utf-8", errors="replace")
    console.print(f"map: {out / 'map.png'}, {out / 'map.html'}")
    return ["map.png", "map.html"]


if __name__ == "__main__":
    main()
