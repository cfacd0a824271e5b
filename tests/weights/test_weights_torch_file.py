"""Checkpoint files are written here opcode by opcode, and by PyTorch itself where it is installed."""

import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from visiontasks.errors import UserError
from visiontasks.weights.torch_file import LEGACY_MAGIC, LEGACY_PROTOCOL, read_torch_file


def ops(value) -> bytes:
    """The opcodes that put a plain value on the pickle machine's stack."""
    return pickle.dumps(value, 2)[2:-1]


def global_(module, name) -> bytes:
    return f"c{module}\n{name}\n".encode()


def tensor(key, kind, count, size, stride, offset=0, legacy=False) -> bytes:
    """torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)"""
    storage = b"(" + ops("storage") + global_("torch", kind) + ops(key) + ops("cpu") + ops(count)
    storage += (ops(None) if legacy else b"") + b"tQ"
    arguments = b"(" + storage + ops(offset) + ops(size) + ops(stride) + ops(False)
    return global_("torch._utils", "_rebuild_tensor_v2") + arguments + global_("collections", "OrderedDict") + b")RtR"


def program(entries: dict[str, bytes]) -> bytes:
    """A pickle of {name: what the opcodes make}."""
    return b"\x80\x02}(" + b"".join(ops(name) + code for name, code in entries.items()) + b"u."


def write_zip(path, entries, storages: dict[str, bytes], compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program(entries))
        archive.writestr("archive/byteorder", "little")
        for key, raw in storages.items():
            archive.writestr(f"archive/data/{key}", raw, compression)
    return path


def write_legacy(path, entries, storages: dict[str, np.ndarray]):
    system = {"protocol_version": LEGACY_PROTOCOL, "little_endian": True, "type_sizes": {"short": 2}}
    parts = [pickle.dumps(LEGACY_MAGIC, 2), pickle.dumps(LEGACY_PROTOCOL, 2), pickle.dumps(system, 2)]
    parts += [program(entries), pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", array.size) + array.tobytes() for array in storages.values()]
    path.write_bytes(b"".join(parts))
    return path


NUMBERS = np.arange(12, dtype="<f4")


def both(path, size=(3, 4), stride=(4, 1), offset=0, kind="FloatStorage", count=12, raw=NUMBERS):
    """The same one-tensor checkpoint in both containers."""
    made = {}
    for legacy in (False, True):
        entry = {"w": tensor("7", kind, count, size, stride, offset, legacy)}
        if legacy:
            made["legacy"] = write_legacy(path / "legacy.pth", entry, {"7": raw})
        else:
            made["zip"] = write_zip(path / "zip.pth", entry, {"7": raw.tobytes()})
    return made


@pytest.mark.parametrize("container", ["zip", "legacy"])
class TestBothContainers:
    def test_reads_a_tensor(self, tmp_path, container):
        read = read_torch_file(both(tmp_path)[container])
        assert list(read) == ["w"]
        np.testing.assert_array_equal(read["w"], NUMBERS.reshape(3, 4))

    def test_reads_transposed_and_shifted_views(self, tmp_path, container):
        read = read_torch_file(both(tmp_path, size=(3, 2), stride=(1, 4), offset=1)[container])
        np.testing.assert_array_equal(read["w"], NUMBERS.reshape(3, 4)[:2, 1:4].T)

    @pytest.mark.parametrize(
        ("kind", "dtype"),
        [("HalfStorage", "<f2"), ("DoubleStorage", "<f8"), ("LongStorage", "<i8"), ("ByteStorage", "u1")],
    )
    def test_keeps_the_type(self, tmp_path, container, kind, dtype):
        read = read_torch_file(both(tmp_path, kind=kind, raw=NUMBERS.astype(dtype))[container])["w"]
        assert read.dtype == dtype
        np.testing.assert_array_equal(read, NUMBERS.reshape(3, 4))

    def test_bfloat16_becomes_float32(self, tmp_path, container):
        raw = (NUMBERS.view("<u4") >> 16).astype("<u2")
        read = read_torch_file(both(tmp_path, kind="BFloat16Storage", raw=raw)[container])["w"]
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, NUMBERS.reshape(3, 4))  # 0..11 are exact in bfloat16

    @pytest.mark.parametrize(
        "view",
        [
            {"size": (4, 4), "stride": (4, 1)},
            {"size": (3, 4), "stride": (4, 1), "offset": 1},
            {"size": (2,), "stride": (1000000,)},
            {"size": (10**9,), "stride": (0,)},
            {"size": (3,), "stride": (-1,)},
            {"size": (-3, 4), "stride": (4, 1)},
            {"size": (3, 4), "stride": (1,)},
        ],
    )
    def test_refuses_a_view_beyond_its_numbers(self, tmp_path, container, view):
        with pytest.raises(UserError, match="tensor"):
            read_torch_file(both(tmp_path, **view)[container])

    def test_refuses_a_count_that_the_file_does_not_hold(self, tmp_path, container):
        with pytest.raises(UserError, match="tensor data"):
            read_torch_file(both(tmp_path, count=10**12)[container])

    def test_every_truncation_is_a_clear_error(self, tmp_path, container):
        whole = both(tmp_path)[container].read_bytes()
        for cut in range(len(whole)):
            path = tmp_path / "cut.pth"
            path.write_bytes(whole[:cut])
            with pytest.raises(UserError, match="damaged or incomplete"):
                read_torch_file(path)

    def test_every_flipped_byte_is_read_or_refused(self, tmp_path, container):
        whole = both(tmp_path)[container].read_bytes()
        refused = 0
        for place in range(len(whole)):
            damaged = bytearray(whole)
            damaged[place] ^= 0xFF
            path = tmp_path / "damaged.pth"
            path.write_bytes(damaged)
            try:
                read_torch_file(path)
            except UserError:
                refused += 1
        assert refused > len(whole) / 3


HOSTILE = {
    "os.system": global_("os", "system") + b"(" + ops("touch {marker}") + b"tR",
    "posix.system": global_("posix", "system") + b"(" + ops("touch {marker}") + b"tR",
    "builtins.eval": global_("builtins", "eval") + b"(" + ops("open('{marker}', 'w')") + b"tR",
    "builtins.getattr": global_("builtins", "getattr") + b"(" + ops("x") + ops("y") + b"tR",
    "torch.load": global_("torch", "load") + b"(" + ops("{marker}") + b"tR",
    "torch.storage._load_from_bytes": global_("torch.storage", "_load_from_bytes") + b"(" + ops(b"x") + b"tR",
    "collections.namedtuple": global_("collections", "namedtuple"),
    "numpy.core.multiarray._reconstruct": global_("numpy.core.multiarray", "_reconstruct"),
    "argparse.Namespace": global_("argparse", "Namespace") + b")\x81",
    # protocol 4 takes the name off the stack, dots and all
    "collections.OrderedDict.__init__": ops("collections") + ops("OrderedDict.__init__") + b"\x93",
}


@pytest.mark.parametrize("container", ["zip", "legacy"])
@pytest.mark.parametrize("name", HOSTILE)
def test_refuses_any_other_name_and_runs_nothing(tmp_path, name, container):
    marker = tmp_path / "marker"
    hole = b"{marker}"
    code = HOSTILE[name]
    if hole in code:  # a longer string needs its length written anew
        start = code.rindex(b"X", 0, code.index(hole))
        length = struct.unpack("<I", code[start + 1 : start + 5])[0]
        text = code[start + 5 : start + 5 + length].replace(hole, os.fsencode(marker))
        code = code[:start] + b"X" + struct.pack("<I", len(text)) + text + code[start + 5 + length :]
    path = tmp_path / "hostile.pth"
    write = write_zip if container == "zip" else write_legacy
    write(path, {"w": code}, {})
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        read_torch_file(path)
    assert not marker.exists()


def test_hostile_files_do_harm_where_pickle_reads_them(tmp_path):
    """The proof that the files above are live, so that the test that nothing ran can fail."""
    marker = tmp_path / "marker"
    pickle.loads(program({"w": global_("builtins", "eval") + b"(" + ops(f"open({str(marker)!r}, 'w')") + b"tR"}))
    assert marker.exists()


def test_refuses_compressed_numbers(tmp_path):
    entry = {"w": tensor("0", "FloatStorage", 10**6, (10**6,), (1,))}
    path = write_zip(tmp_path / "bomb.pth", entry, {"0": bytes(4 * 10**6)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="data/0: compressed"):
        read_torch_file(path)


STORAGE = b"(" + ops("storage") + global_("torch", "FloatStorage") + ops("7") + ops("cpu") + ops(12) + b"tQ"
REBUILD = global_("torch._utils", "_rebuild_tensor_v2")


def rebuilt(storage: bytes, offset, size, stride) -> bytes:
    hooks = global_("collections", "OrderedDict") + b")R"
    return REBUILD + b"(" + storage + ops(offset) + ops(size) + ops(stride) + ops(False) + hooks + b"tR"


def test_refuses_a_tensor_as_the_storage_of_another(tmp_path):
    """A view of the last number with stride 0 has twelve elements: a view of it would reach eleven numbers too far."""
    code = rebuilt(rebuilt(STORAGE, 11, (12,), (0,)), 0, (12,), (1,))
    path = write_zip(tmp_path / "a.pth", {"w": code}, {"7": NUMBERS.tobytes()})
    with pytest.raises(UserError, match="a tensor without its data"):
        read_torch_file(path)


CHANGES = {
    "an item": ops(3) + ops(1234.5) + b"s",
    "items": b"(" + ops(3) + ops(1234.5) + b"u",
    "its attributes": ops({"offset": 10**9}) + b"b",
    "its slots": ops((None, {"offset": 10**9})) + b"b",
    "its end": ops(1) + b"a",
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("what", [STORAGE, rebuilt(STORAGE, 0, (12,), (1,))], ids=["storage", "tensor"])
def test_a_pickle_changes_neither_tensors_nor_storages(tmp_path, what, change):
    path = write_zip(tmp_path / "a.pth", {"w": what + CHANGES[change]}, {"7": NUMBERS.tobytes()})
    with pytest.raises(UserError):
        read_torch_file(path)


def test_a_size_cannot_grow_after_it_was_checked(tmp_path):
    size = ops([12]) + b"q\x63"  # remembered as number 99 of the memo
    hooks = global_("collections", "OrderedDict") + b")R"
    code = REBUILD + b"(" + STORAGE + ops(0) + size + ops([1]) + ops(False) + hooks + b"tR"
    # behind the tensor: take the list from the memo and put another number on its end
    grown = {"w": code, "z": b"h\x63" + ops(10**9) + b"a"}
    path = write_zip(tmp_path / "a.pth", grown, {"7": NUMBERS.tobytes()})
    np.testing.assert_array_equal(read_torch_file(path)["w"], NUMBERS)


def test_refuses_dicts_that_hold_each_other(tmp_path):
    """Forty dicts, each with the one before twice: unfolded, a million million names."""
    first = 100  # the memo's numbers below are taken by what `ops` makes
    code = b"}q" + bytes([first]) + b"0"
    for number in range(first + 1, first + 41):
        before = b"h" + bytes([number - 1])
        code += b"}(" + ops("a") + before + ops("b") + before + b"uq" + bytes([number]) + b"0"
    filler = {"text": ops("a" * 200)}  # the memo may not run ahead of the pickle
    path = write_zip(tmp_path / "a.pth", filler | {"w": code + b"h" + bytes([first + 40])}, {})
    with pytest.raises(UserError, match="occurs in it twice"):
        read_torch_file(path)


def test_refuses_a_compressed_pickle(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program({"w": ops("a" * 10**7)}), zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="compressed"):
        read_torch_file(path)


def test_refuses_a_memo_larger_than_the_file(tmp_path):
    path = write_zip(tmp_path / "a.pth", {"w": ops(1) + b"r" + struct.pack("<I", 6 * 10**7)}, {})
    with pytest.raises(UserError, match="memo number 60000000"):
        read_torch_file(path)


def test_refuses_storages_that_are_more_than_the_file_together(tmp_path):
    entries = {key: tensor(key, "FloatStorage", 300, (300,), (1,), legacy=True) for key in "abcdefghij"}
    path = write_legacy(tmp_path / "a.pth", entries, {})
    assert 4 * 300 < path.stat().st_size < 10 * 4 * 300  # each alone would fit
    with pytest.raises(UserError, match="more than the file holds"):
        read_torch_file(path)


def test_refuses_numbers_that_never_come(tmp_path):
    path = write_legacy(tmp_path / "a.pth", {"w": tensor("0", "FloatStorage", 3, (3,), (1,), legacy=True)}, {})
    with pytest.raises(UserError, match="missing"):
        read_torch_file(path)


def test_missing_file_and_other_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_torch_file(tmp_path / "none.pth")
    for content in (b"", b"\x89PNG\r\n", b"<html>404</html>", pickle.dumps([1, 2])):
        (tmp_path / "other.pth").write_bytes(content)
        with pytest.raises(UserError, match="not a readable PyTorch checkpoint"):
            read_torch_file(tmp_path / "other.pth")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match=r"data\.pkl"):
        read_torch_file(tmp_path / "other.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_reads_what_torch_writes(tmp_path, legacy):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is no dependency")
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(6, 5, generator=generator)
    state = {
        "float": base,
        "view": base[1:4, ::2].T,
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "double": base.double(),
        "long": torch.arange(7),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(base + 1),
    }
    path = tmp_path / "state.pth"
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    read = read_torch_file(path)
    assert read.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(read[name], value.detach().float().numpy(), err_msg=name)

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
    checkpoint = {"epoch": 3, "state_dict": module.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    assert read_torch_file(path).keys() == module.state_dict().keys()

    torch.save(module, path, _use_new_zipfile_serialization=not legacy)  # a whole module is code
    with pytest.raises(UserError, match=r"names torch\.nn\."):
        read_torch_file(path)
