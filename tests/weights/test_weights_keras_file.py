"""What a `.keras` file says of itself without Keras: whole or damaged, honest or hostile."""

import io
import zipfile

import checkpoints
import h5py
import numpy as np
import pytest

from visiontasks.weights import keras_file
from visiontasks.weights.keras_file import arrays, check_keras_file


def test_a_whole_file_gives_its_description_and_arrays(tmp_path):
    path = checkpoints.write(tmp_path / "m.keras", size=3)
    assert check_keras_file(path) == {"class_name": "VisionModel", "config": {"size": 3}}
    assert [(name, data.shape) for name, data in arrays(path)] == [("layers/a/vars/0", (200,))]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("truncated", "no .keras file"),
        ("empty", "it is empty"),
        ("flipped", r"checksum of model\.weights\.h5 does not match|CRC"),
        ("other zip", r"it has no config\.json, metadata\.json, model\.weights\.h5"),
        ("no zip", "no .keras file"),
    ],
)
def test_item_69_each_fault_is_named(tmp_path, fault, said):
    path = checkpoints.damage(checkpoints.write(tmp_path / "m.keras"), fault)
    with pytest.raises(ValueError, match=said):
        check_keras_file(path)


def test_a_file_that_is_not_there_or_no_file_is_a_value_error(tmp_path):
    for path in (tmp_path / "none.keras", tmp_path):
        with pytest.raises(ValueError, match="cannot be read"):
            check_keras_file(path)


def test_flipped_bytes_raise_nothing_but_value_errors(tmp_path):
    whole = checkpoints.write(tmp_path / "m.keras").read_bytes()
    damaged = 0
    for place in range(0, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 0x55
        (tmp_path / "m.keras").write_bytes(content)
        try:
            check_keras_file(tmp_path / "m.keras")
        except ValueError:
            damaged += 1
    assert damaged > 0.9 * len(whole) / 7  # a time or a permission in the archive does not matter


def rewritten(path, members):
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**kept, **members}.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out", "C:out"])
def test_items_78_79_a_member_that_leads_out_is_refused(tmp_path, name):
    path = checkpoints.write(tmp_path / "m.keras")
    rewritten(path, {name: b"x"})
    with pytest.raises(ValueError, match="would be unpacked elsewhere"):
        check_keras_file(path)


@pytest.mark.parametrize("name", ["assets/a.bin", "model.weights.h5"])
def test_item_79_a_bomb_is_refused_by_what_it_declares_and_the_fix_works(tmp_path, name, monkeypatch):
    path = checkpoints.write(tmp_path / "m.keras")
    rewritten(path, {name: b"\x89HDF" + bytes(keras_file.ALWAYS + 1)})
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda self: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match=r"unpacks to 67,\d+,\d+ bytes, more than 4 times its own.*zip -0"):
        check_keras_file(path)
    monkeypatch.undo()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "again.keras", "w") as again:
        for member in archive.namelist():
            again.writestr(member, archive.read(member))
    check_keras_file(tmp_path / "again.keras")


def test_two_members_of_one_name_and_a_huge_or_deep_description_are_refused(tmp_path):
    path = checkpoints.write(tmp_path / "a.keras")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="members of one name"):
        check_keras_file(path)
    for content, said in (
        (b"[" * 100_000, "damaged"),
        (b"3", "no model"),
        (b"{", r"config\.json"),
        (b"\xff", "decode"),
    ):
        rewritten(checkpoints.write(path), {"config.json": content})
        with pytest.raises(ValueError, match=said):
            check_keras_file(path)
    rewritten(checkpoints.write(path), {"config.json": b" " * (keras_file.CONFIG + 1)})
    with pytest.raises(ValueError, match="config.json has more"):
        check_keras_file(path)


def linked(file):
    file["b"] = h5py.ExternalLink("other.h5", "a")


def outside(file):
    file.create_dataset("b", (4,), "f4", external=[("secret", 0, 16)])


def compressed(file):
    file.create_dataset("b", data=np.zeros(10**6), compression="gzip")


def more_than_it_holds(file):
    file.create_dataset("b", (10**6,), "f4", chunks=(100,))


@pytest.mark.parametrize("make", [linked, outside, compressed, more_than_it_holds])
def test_arrays_that_lie_elsewhere_or_grow_are_refused(tmp_path, make):
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["a"] = np.zeros(4)
        make(file)
    path = checkpoints.write(tmp_path / "m.keras")
    rewritten(path, {"model.weights.h5": weights.getvalue()})
    with pytest.raises(ValueError, match=r"model\.weights\.h5 in it is damaged \(b"):
        list(arrays(path))
