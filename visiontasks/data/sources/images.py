"""Images without labels: what `predict` reads."""

from pathlib import Path

from visiontasks.data.images import list_images
from visiontasks.data.listing import files_at
from visiontasks.data.sources.source import Files
from visiontasks.errors import DataError


class Images(Files):
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
            paths = list_images(path, report=self.report)
        elif path.is_file():
            paths = [path]
        else:
            paths = files_at(str(files))
        if not paths:
            raise DataError(
                f"found no image at {str(files)!r}; expected a file, a folder or a glob. Folders of results "
                "(runs, predictions, evaluations) are not read.",
                "source",
            )
        self.items = [(path,) for path in paths]

    def labels(self, size, fields):
        return {}

    def id_of(self, path):
        return path.name
