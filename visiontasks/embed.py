"""python -m visiontasks.embed run=DIR|backbone=NAME source=DIR: which images of a folder are alike."""

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path

from visiontasks import cli, standard_streams
from visiontasks.errors import RecipeError, UserError, near

WORDS = ("run", "backbone", "weights", "size", "resize", "source", "labels", "tap", "batch", "out")
WORDS += ("neighbors", "k", "duplicates", "index", "map", "json")

USAGE = """python -m visiontasks.embed run=DIR|backbone=NAME source=FILE|DIR|GLOB [key=value …]

  run=DIR        a run's folder: its best checkpoint's features
  backbone=NAME  a backbone, such as efficientnet_lite0; weights=imagenet|FILE|null (by default imagenet), size=H,W (by
                 default 224,224) and resize=crop|stretch|letterbox (by default crop) go with it
  source=…       an image, a folder of images, or a glob; class folders give labels (labels=false: none are looked for)
  tap=NAME       the output that is pooled, such as C4; by default top or, without one, the deepest level
  neighbors=…    an image, a folder or a glob: the nearest images of the source are found and drawn
  k=N            neighbors that are found, and that vote for a class; by default 5
  duplicates=…   the cosine similarity from which two images count as near duplicates; by default 0.95
  index=…        exact, which compares every two images, or usearch, which may miss a neighbor; by default exact, and
                 from 50,000 images on usearch if it is installed
  map=…          tsne, umap, pca or none; by default tsne if scikit-learn is installed
  batch=N        images per batch; by default 32
  out=DIR        for features.npz, embeddings.json, map.png, map.html and neighbors.png; by default embeddings, or
                 embeddings_2 and so on for other images or another network. features.npz is read again as long as
                 names, sizes and times of the images are the same
  json=true      print embeddings.json alone"""

VERSION = 1  # of embeddings.json
INDEXES = ("exact", "usearch")
LARGE = 50_000  # images from which the index is usearch's
MOST_PAIRS, MOST_QUERIES = 1000, 10  # near duplicates in embeddings.json; rows of neighbors.png
PRINTED = 5  # pairs, and images whose neighbors are listed


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
        found = _embedded(words, options, standard_streams.console())
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
    index: str | None
    map: str

    @classmethod
    def of(cls, words):
        from visiontasks.geometry import MODES
        from visiontasks.keras_backend import installed
        from visiontasks.retrieval.approximate import check_installed
        from visiontasks.retrieval.layout import check_method

        way = words.get("map", "tsne" if installed("sklearn") else "none")
        if way != "none":
            check_method(way)
        resize = words.get("resize", "crop")
        if resize not in MODES:
            raise RecipeError(f"resize: unknown choice {resize!r}. {near(resize, MODES)}")
        index = words.get("index")
        if index not in (None, *INDEXES):
            raise RecipeError(f"index: unknown choice {index!r}. {near(index, INDEXES)}")
        if index == "usearch":
            check_installed()
        threshold = cli.number(words, "duplicates", 0.95, float)
        if not 0 < threshold <= 1:
            raise RecipeError(f"duplicates: expected a cosine above 0 up to 1, got {threshold}.")
        k, batch = (cli.number(words, key, default, int) for key, default in (("k", 5), ("batch", 32)))
        return cls(k, batch, threshold, cli.size(words.get("size", "224,224")), resize, index, way)


def _embedded(words, options, console) -> dict:
    from visiontasks.data.sources.images import Images
    from visiontasks.evaluation.results import results_folder, write_json
    from visiontasks.retrieval.drawings import write_map
    from visiontasks.retrieval.reading import labeled_images

    queries = Images(words["neighbors"]) if "neighbors" in words else None
    labels = cli.flag({"labels": "true", **words}, "labels")
    source, splits, reading = labeled_images(words["source"], labels)
    console.print(reading)
    network = _Network(words, options, console)
    of = json.dumps([str(Path(os.path.expanduser(words["source"])).resolve()), labels, network.described])
    out = results_folder(words.get("out"), Path("embeddings"), replace=True, of=of)
    features = _features(network, source, splits, out, options, console)
    if source.report:
        console.print(f"images skipped or mended:\n{source.report}")
    index, of_index = _index(features.vectors, options.index, console)
    found = {
        "version": VERSION,
        "source": words["source"],
        "network": network.described,
        "images": len(features),
        "dimensions": features.vectors.shape[1],
        "index": of_index,
        "classes": list(features.names),
        **_alike(features, index, options, console),
        "files": ["features.npz"],
    }
    if queries is not None:
        found["neighbors"] = _neighbors(features, index, queries, network.extractor(), options.k, out, console)
        found["files"].append("neighbors.png")
    if options.map != "none":
        count = write_map(features, options.map, words["source"], out, source.bits)
        some = f" of {count} images, evenly chosen" if count < len(features) else ""
        console.print(f"map{some}: {out / 'map.png'}, {out / 'map.html'}")
        found["files"] += ["map.png", "map.html"]
    elif "map" not in words:
        console.print('no map, because scikit-learn is not installed: pip install "visiontasks[embed]"; or map=pca')
    write_json(out / "embeddings.json", found, "out")
    console.print(f"results: {out}")
    return found


class _Network:
    """What features are computed with: described at once, built when an image must be embedded."""

    def __init__(self, words, options, console):
        from visiontasks.registry import catalog
        from visiontasks.training.run_directory import RunDirectory

        self._options, self._console, self._built, self.tap = options, console, None, words.get("tap")
        if "run" in words:
            self._checkpoints = RunDirectory.find(words["run"]).checkpoints_for()
            self._checkpoint = self._checkpoints[0]
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
            import keras

            from visiontasks import api, model_loading
            from visiontasks.preprocess import Preprocess
            from visiontasks.retrieval.features import Extractor

            if self._checkpoint:
                self._built = Extractor(model_loading.load_first(self._checkpoints)[1], self.tap)
            else:
                keras.utils.set_random_seed(0)  # features that were computed before have the same random weights
                form = Preprocess(self._options.size, self._options.resize)
                backbone = api.backbone(self._name, weights=self._weights, input_shape=(*form.size, 3))
                self._built = Extractor(backbone, self.tap, form)
        return self._built


def _features(network, source, splits, out, options, console):
    """The features of a file that is there, or newly computed ones."""
    from visiontasks.retrieval.features import FILE, Features, collect, stamp_of
    from visiontasks.signals import Stop
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
    extractor = network.extractor()
    with Stop().after_steps() as stop:
        features = collect(
            _watched(extractor.stream(source, options.batch), len(source), console, stop), source, splits
        )
    replace_atomically(path, lambda temporary: features.save(temporary, stamp), "out")
    return features


def _watched(stream, total, console, stop):
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        shown = bar.add_task("embedding", total=total)
        for rows, samples in stream:
            bar.update(shown, advance=len(samples))
            stop.check()
            yield rows, samples


def _index(vectors, kind, console):
    """An index of the vectors, and its name."""
    from visiontasks.keras_backend import installed
    from visiontasks.retrieval.approximate import ApproximateIndex
    from visiontasks.retrieval.index import NeighborIndex

    if kind is None and len(vectors) >= LARGE:
        kind = "usearch" if installed("usearch") else "exact"
        how = "approximate; index=exact finds every neighbor, in a time that grows with the square of the images"
        if kind == "exact":
            how = 'exact; pip install "visiontasks[usearch]" makes a faster one of so many images'
        console.print(f"index: {how}")
    return (ApproximateIndex(vectors), kind) if kind == "usearch" else (NeighborIndex(vectors), "exact")


def _alike(features, index, options, console) -> dict:
    """Scores where classes are known, and near duplicates."""
    from visiontasks.retrieval.metrics import logistic_accuracy
    from visiontasks.retrieval.survey import survey

    found = survey(features, index, options.k, options.duplicates, MOST_PAIRS)
    scores = {}
    if found.scores:
        scores = {"of": "val" if found.validation else "all", "images": found.asked, **found.scores}
        known = features.labels >= 0
        arrays = (features.vectors, features.labels, features.splits)
        try:
            scores["logistic"] = logistic_accuracy(*(array[known] for array in arrays))
        except UserError as error:
            console.print(f"logistic: left out: {error}")
        shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items() if isinstance(value, float))
        where = "validation images, by the training images" if found.validation else "images, each by the others"
        console.print(f"scores of {found.asked} {where}: {shown}")
    console.print(f"near duplicates: {found.count} pairs of similarity {options.duplicates:g} or more")
    pairs = [
        {"a": str(features.paths[a]), "b": str(features.paths[b]), "similarity": round(value, 6)}
        for (a, b), value in zip(found.pairs.tolist(), found.similarities.tolist(), strict=True)
    ]
    for pair in pairs[:PRINTED]:
        console.print(f"  {pair['similarity']:.3f} {pair['a']} = {pair['b']}")
    return {"scores": scores, "duplicates": {"threshold": options.duplicates, "count": found.count, "pairs": pairs}}


def _neighbors(features, index, queries, extractor, k, out, console) -> list[dict]:
    """The nearest images of each query, which is no neighbor of itself; the first queries are drawn."""
    from visiontasks.data.bit_depth import settle_bits
    from visiontasks.data.images import write_image
    from visiontasks.retrieval.drawings import neighbors_drawn

    neighbors = []
    settle_bits([queries], extractor.preprocess.bits)
    numbers = {str(Path(path).resolve()): number for number, path in enumerate(features.paths.tolist())}
    for vectors, samples in extractor.stream(queries):
        for sample, near_ones, values in zip(samples, *index.search(vectors, k + 1), strict=True):
            own = numbers.get(str(Path(sample.path).resolve()))
            kept = [(i, v) for i, v in zip(near_ones.tolist(), values.tolist(), strict=True) if i != own][:k]
            nearest = [
                {"path": str(features.paths[i]), **_label(features, i), "similarity": round(v, 6)} for i, v in kept
            ]
            neighbors.append({"path": sample.path, "nearest": nearest})
    for one in neighbors[:PRINTED]:
        console.print(f"nearest of {one['path']}:")
        for near_one in one["nearest"]:
            console.print(f"  {near_one['similarity']:.3f} {near_one['path']}")
    write_image(out / "neighbors.png", neighbors_drawn(neighbors[:MOST_QUERIES], queries.bits), "out")
    return neighbors


def _label(features, number) -> dict:
    label = int(features.labels[number])
    return {"label": features.names[label]} if label >= 0 else {}


if __name__ == "__main__":
    main()
