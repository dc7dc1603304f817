"""Whether the files of a result are the ones that were written."""

from pathlib import Path


def damages(folder: Path, expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return a line for each file of a folder whose checksum is not the expected one, and for each unexpected file.

    Both are checksums by name, as `threefold.base.files.checksums` returns them.
    """
    altered = [f"{folder / name}: missing, cut or altered" for name in expected if found.get(name) != expected[name]]
    return altered + [f"{folder / name}: no part of the result" for name in found if name not in expected]
