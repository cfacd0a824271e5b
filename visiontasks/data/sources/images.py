"""Images without labels: what `predict` reads."""

import glob
from pathlib import Path

from visiontasks.data.images import list_images, read_image
from visiontasks.data.layout import in_results
from visiontasks.data.sources.source import Source
from visiontasks.errors import DataError
from visiontasks.sample import Sample


class Images(Source):
    """Images without labels: one file, every image below a folder, or a glob; none of a folder of results.

    Args:
        files: a file, a folder or a glob such as `photos/*.jpg` (`**` matches any depth).

    Raises:
        DataError: there is no such file or folder, or no image in it.
    """

    def __init__(self, files: str):
        super().__init__()
        self.fields, self.names = frozenset(), {}
        path = Path(files)
        if path.is_dir():
            self.paths = list_images(path)
        elif path.is_file():
            self.paths = [path]
        else:
            matches = map(Path, glob.glob(str(files), recursive=True))
            self.paths = sorted(p for p in matches if p.is_file() and not in_results(p))
        if not self.paths:
            raise DataError(
                f"found no image at {str(files)!r}; expected a file, a folder or a glob. Folders of results "
                "(runs, predictions, evaluations) are not read.",
                "source",
            )

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        path = self.paths[index]
        return Sample(read_image(path, self.report), id=path.name, path=str(path))

    def describe(self, index):
        return str(self.paths[index])
