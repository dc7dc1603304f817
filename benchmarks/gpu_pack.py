"""Packs the project and what it needs for a GPU machine without a network, in pieces small enough to be carried there.

    python -m benchmarks.gpu_pack                  # from a checkout; some minutes, most of them for the compression

That machine has Python 3.12 (--python), torch with CUDA, numpy, pandas and scipy; all else is in the pack, as pinned in
requirements.lock: wheels unpacked, without what is not used there (Warp's compiler for the CPU, its examples, its tests
and its finite elements), and the tracked files of this checkout, without the two largest sets of demonstrations.

Writes benchmarks/gpu_pack/ (--out): pieces of at most 48 MiB (--piece), SHA256SUMS, and unpack.sh. Bring all of them
into one folder there, then `sh unpack.sh`: it checks, joins and unpacks them below that folder and says how to go on.
To rehearse on a machine without a GPU, `--cpu` keeps Warp's compiler (20 MB more); without it, what was packed runs
there as `python -m benchmarks.gpu --tiny --engine native`.
"""

import argparse
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from threefold.base.errors import InputError, one_line

ROOT = Path(__file__).parents[1]
MIB = 2**20
COMMIT = "COMMIT"  # where git is not
SITE, PROJECT = "site.tar.xz", "project.tar.xz"  # what is needed, and this project
# What benchmarks/gpu.py and the tests that it runs import, and what that needs, but for THERE.
PACKAGES = (
    *("mujoco", "mujoco-core", "mujoco-warp", "warp-lang", "glfw", "absl-py", "etils"),
    *("gymnasium", "cloudpickle", "farama-notifications"),
    *("pydantic", "pydantic-core", "annotated-types", "typing-inspection", "typing-extensions"),
    *("typer", "click", "shellingham", "annotated-doc", "rich", "markdown-it-py", "mdurl", "pygments"),
    *("pytest", "iniconfig", "packaging", "pluggy"),
    *("filelock", "pyyaml", "safetensors"),
)
THERE = ("torch", "numpy", "pandas", "scipy")
COMPILER = "warp/bin/warp-clang.so"  # of Warp's kernels for the CPU
UNUSED = ("warp/examples/", "warp/tests/", "warp/fem/", "mujoco/include/", "mujoco/testdata/", COMPILER)
LARGE = tuple(f"data/demonstrations/{task}/trajectories.safetensors" for task in ("Humanoid-v5", "Ant-v5"))
# pip takes a wheel for exactly these, so each is named.
PLATFORMS = (*(f"manylinux_2_{n}_x86_64" for n in (34, 31, 28, 27, 24, 17)), "manylinux2014_x86_64")
TAKE = "import sys, tarfile; tarfile.open(fileobj=sys.stdin.buffer, mode='r|xz').extractall(sys.argv[1], filter='data')"
UNPACK = f"""\
cd "$(dirname "$0")" && sha256sum --check --quiet SHA256SUMS && \
cat {SITE}.?? | python3 -c "{TAKE}" site && cat {PROJECT}.?? | python3 -c "{TAKE}" project && \
echo "cd $PWD/project && PYTHONPATH=$PWD/site python3 -m benchmarks.gpu --minutes 14"
"""


def pinned(lock: str) -> list[str]:
    """Return the requirements of the pack; raises `InputError` for one that the lock file lacks."""
    versions = dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock, re.MULTILINE))
    if missing := [name for name in PACKAGES if name not in versions]:
        raise InputError(
            f"requirements.lock: {', '.join(missing)}: not there; correct PACKAGES in benchmarks/gpu_pack.py"
        )
    return [f"{name}=={versions[name]}" for name in PACKAGES]


def download(requirements: list[str], python: str, folder: Path) -> list[Path]:
    """Return the wheels for that Python on Linux."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        if not any(_named(old) == requirement for requirement in requirements):
            old.unlink()
    there = {_named(wheel) for wheel in folder.glob("*.whl")}
    wanted = [requirement for requirement in requirements if requirement not in there]
    kind = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    kind += [f"--platform={platform}" for platform in PLATFORMS]
    if wanted:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", *kind, "-d", str(folder), *wanted], check=True
        )
    return sorted(folder.glob("*.whl"))


def _named(wheel: Path) -> str:
    name, version, *_ = wheel.name.split("-")
    return f"{name.lower().replace('_', '-')}=={version}"


def installed(wheel: Path, unused: tuple[str, ...]) -> Iterator[tuple[str, bytes, bool]]:
    """Return a wheel's files as they lie in site-packages: path, bytes, and whether it may be run."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = re.sub(r"^[^/]+\.data/(purelib|platlib)/", "", entry.filename)
            if not entry.is_dir() and ".data/" not in path and not path.startswith(unused):
                yield path, archive.read(entry), bool(entry.external_attr >> 16 & 0o100)


def tracked() -> Iterator[tuple[str, bytes, bool]]:
    """Return the project's files that are carried, and the commit that they are of."""
    head = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"], cwd=ROOT, capture_output=True, check=True
    )
    yield COMMIT, head.stdout, False
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for path in filter(None, listed.split("\0")):
        if path not in LARGE:
            yield path, (ROOT / path).read_bytes(), os.access(ROOT / path, os.X_OK)


def compress(files: Iterable[tuple[str, bytes, bool]], archive: Path) -> None:
    """Write an archive; the same files give the same bytes."""
    with tarfile.open(archive, "w:xz", preset=9) as tar:
        for path, content, runs in files:
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755 if runs else 0o644
            tar.addfile(entry, io.BytesIO(content))


def cut(archive: Path, limit: int) -> list[Path]:
    """Cut a file into pieces of at most `limit` bytes beside it; return them. The file itself is removed."""
    for old in archive.parent.glob(f"{archive.name}.??"):
        old.unlink()
    pieces: list[Path] = []
    with archive.open("rb") as whole:
        while content := whole.read(limit):
            pieces.append(archive.with_name(f"{archive.name}.{len(pieces):02}"))
            pieces[-1].write_bytes(content)
    archive.unlink()
    return pieces


def pack(python: str, cpu: bool, limit: int, out: Path) -> list[Path]:
    """Write the pack; return its files. What was compressed before from the same wheels is taken as it is."""
    out.mkdir(parents=True, exist_ok=True)
    wheels = download(pinned((ROOT / "requirements.lock").read_text()), python, out / f"wheels-{python}")
    unused = tuple(path for path in UNUSED if not (cpu and path == COMPILER))
    made_from = f"{[wheel.name for wheel in wheels]} {unused} {limit}\n"
    site, record = out / SITE, out / "site.txt"
    if not record.exists() or record.read_text() != made_from:
        record.unlink(missing_ok=True)
        compress((file for wheel in wheels for file in installed(wheel, unused)), site)
        cut(site, limit)
        record.write_text(made_from)
    compress(tracked(), out / PROJECT)
    carried = [*sorted(out.glob(f"{SITE}.??")), *cut(out / PROJECT, limit)]
    sums = [f"{hashlib.sha256(piece.read_bytes()).hexdigest()}  {piece.name}\n" for piece in carried]
    (out / "SHA256SUMS").write_text("".join(sums))
    (out / "unpack.sh").write_text(UNPACK)
    return [*carried, out / "SHA256SUMS", out / "unpack.sh"]


def main() -> None:
    """Pack, and say what there is to carry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default="3.12", help="of that machine (default: 3.12)")
    parser.add_argument("--piece", type=int, default=48, help="most MiB of a piece (default: 48)")
    parser.add_argument("--cpu", action="store_true", help="keep Warp's compiler for the CPU")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "gpu_pack", help="where the pack is written")
    arguments = parser.parse_args()
    carried = pack(arguments.python, arguments.cpu, arguments.piece * MIB, arguments.out)
    for path in carried:
        print(f"{path.stat().st_size / MIB:6.1f} MiB  {path}")
    print(f"{sum(path.stat().st_size for path in carried) / MIB:6.1f} MiB in all; there: sh unpack.sh")


if __name__ == "__main__":
    with one_line():
        main()
