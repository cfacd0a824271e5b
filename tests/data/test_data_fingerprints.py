"""Fingerprints: files with another content have another one, wherever they differ."""

import numpy as np

from visiontasks.data.fingerprints import fingerprint


def test_one_byte_anywhere_changes_it(tmp_path):
    content = np.random.default_rng(0).bytes(100_000)
    (tmp_path / "a.jpg").write_bytes(content)
    (tmp_path / "copy.jpg").write_bytes(content)
    seen = {fingerprint(tmp_path / "a.jpg")}
    assert fingerprint(tmp_path / "copy.jpg") in seen
    for position in (0, 20_000, 50_000, 80_000, 99_999):
        changed = bytearray(content)
        changed[position] ^= 1
        (tmp_path / "b.jpg").write_bytes(changed)
        seen.add(fingerprint(tmp_path / "b.jpg"))
    (tmp_path / "b.jpg").write_bytes(content + b"0")
    assert len({*seen, fingerprint(tmp_path / "b.jpg")}) == 7
