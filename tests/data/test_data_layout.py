"""Lists of class names."""

import pytest

from visiontasks.data.layout import read_names
from visiontasks.errors import DataError


def test_names_are_the_lines_without_a_byte_order_mark(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat\r\n\r\n dog \n".encode())
    assert read_names(tmp_path / "classes.txt") == ("cat", "dog")


@pytest.mark.parametrize(("text", "got"), [("cat\ndog\ncat\n", "'cat' twice"), ("\n", "none")])
def test_names_that_are_no_classes_are_an_error_that_names_the_file(text, got, tmp_path):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt: expected one unique class name per line, got {got}"):
        read_names(tmp_path / "classes.txt")
