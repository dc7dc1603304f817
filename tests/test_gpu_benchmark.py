"""benchmarks/gpu.py in tiny sizes on a CPU: everything once, and nothing twice; and the pack that is carried."""

import hashlib
import json
import os
import runpy
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace

import pandas as pd
import pytest

from benchmarks import gpu, gpu_pack
from envs import device
from tests import fresh, synthetic
from threefold.base.errors import InputError
from threefold.profile.design import load
from threefold.tables import schema


@pytest.fixture(autouse=True)
def _environment():
    """What `gpu.main` puts into it is not for the tests after these."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def by_fork(arguments, timeout):
    """Run a module as `gpu.command` does, in a process that has loaded it; pytest in one of its own."""
    if arguments[0] == "pytest":
        return COMMAND(arguments, timeout)
    process = fresh.CONTEXT.Process(target=module, args=arguments)
    process.start()
    process.join(timeout)
    process.kill()  # nothing, if it has ended
    process.join()
    return {"returncode": process.exitcode, "last_line": ""}


COMMAND = gpu.command


def module(name, *arguments):
    sys.argv = [name, *arguments]
    runpy.run_module(name, run_name="__main__")


@pytest.mark.slow
def test_everything_once_and_nothing_twice(tmp_path, monkeypatch):
    """On the native engine, which compiles nothing."""
    out = tmp_path / "out"
    given = ["--tiny", "--engine", "native", "--out", str(out), "--beside", str(out / "profile" / "results" / "paper")]
    monkeypatch.setattr(sys, "argv", ["gpu", *given])
    monkeypatch.setattr(gpu, "command", by_fork)
    gpu.main()
    pieces = {path.relative_to(out).as_posix(): json.loads(path.read_text()) for path in out.glob("*/*.json")}
    assert set(pieces) == {
        "machine/machine.json",
        "iteration/Hopper-v5.json",
        "throughput/Hopper-v5.json",
        "speed/Hopper-v5-1.json",
        "speed/Hopper-v5-2.json",
        "tests/tests.json",
        "cells/Hopper-v5-gail.json",
        "cells/Hopper-v5-bc.json",
        "scores/Hopper-v5-gail.json",
    }
    assert {piece.get("returncode", 0) for piece in pieces.values()} == {0}
    compared = pieces["iteration/Hopper-v5.json"]
    assert (compared["agree"], compared["worst_z"]) == (True, 0)  # here both are the same engine
    assert compared["statistics"] > 25
    assert " passed" in pieces["tests/tests.json"]["last_line"]
    speed = pd.read_csv(out / "speed.csv").set_index("learners").loc[2]
    assert min(speed["physics_s"], speed["policy_s"], speed["learning_s"]) > 0
    assert 0 <= speed["idle_share"] < 1
    assert not speed["reached"]
    scores = pieces["scores/Hopper-v5-gail.json"]
    assert (scores["learners"], scores["difference"], scores["score"]) == (4, 0, scores["beside"])

    monkeypatch.setattr(gpu, "command", lambda *_: pytest.fail("done twice"))
    gpu.main()


def test_a_piece_that_failed_is_done_again_and_none_when_the_time_is_over(tmp_path, monkeypatch):
    codes = iter([3, 0, 7])
    monkeypatch.setattr(gpu, "command", lambda *_: {"returncode": next(codes), "last_line": ""})
    session = gpu.Session(gpu.Pieces(tmp_path), minutes=1)
    for _ in range(3):
        session.do("cells", "one", ["threefold"])
    assert json.loads((tmp_path / "cells" / "one.json").read_text())["returncode"] == 0
    late = gpu.Session(gpu.Pieces(tmp_path), minutes=0)
    late.do("cells", "two", ["threefold"])
    assert next(codes) == 7
    assert not (tmp_path / "cells" / "two.json").exists()


def test_a_command_ends_at_its_time_with_all_that_it_started(tmp_path):
    begun, began = tmp_path / "begun", time.monotonic()
    child = f"import time, pathlib; pathlib.Path({str(begun)!r}).touch(); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    result = gpu.command(("timeit", "-n", "1", "-r", "1", parent), timeout=5.0)
    assert result["returncode"] != 0
    assert begun.exists()
    assert time.monotonic() - began < 30  # what it says ends with the last of those who could say something


def test_another_distribution_does_not_agree(tmp_path, monkeypatch):
    """An engine whose rewards are half of the CPU's."""
    measured = gpu.statistics_of

    def halved(sizes, task):
        found = measured(sizes, task)
        return found if sizes.device == "cpu" else found | {"reward_mean": found["reward_mean"] / 2}

    monkeypatch.setattr(gpu, "statistics_of", halved)
    sizes = replace(gpu.TINY, compared=6, engine="native", device="elsewhere")
    monkeypatch.setattr(gpu.envs, "make", lambda *given, make=gpu.envs.make: make(*given[:4]))
    monkeypatch.setattr(gpu.demonstrations, "load", lambda *given, load=gpu.demonstrations.load: load(*given[:3]))
    gpu.iteration(sizes, gpu.Pieces(tmp_path), "Hopper-v5")
    found = json.loads((tmp_path / "iteration" / "Hopper-v5.json").read_text())
    assert (found["agree"], found["worst"]) == (False, "reward_mean")


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "non-inferior"), (-0.5, "inferior")])
def test_scores_are_held_against_the_same_learners(shift, verdict, tmp_path):
    """Of made-up cells: the same, and one whose returns are lower by half of the expert's."""
    made = [synthetic.design(tmp_path / where) for where in ("ours", "theirs")]
    ours, theirs = (synthetic.fill(params) for params in made)
    card = json.loads((gpu.ROOT / "data" / "experts" / "Hopper-v5" / "card.json").read_text())
    for path in (ours / "cells" / "Hopper-v5" / "gail").glob("*/evaluations.csv.gz"):
        rows = schema.read_csv(path, schema.EVALUATIONS)
        rows["episode_return"] += shift * (card["return_deterministic"]["mean"] - card["random"]["mean"])
        schema.write_csv(rows, path, schema.EVALUATIONS)
    found = gpu.scores(load(made[0]), "Hopper-v5", "gail", theirs)
    assert (found["verdict"], found["learners"]) == (verdict, 6)
    assert found["difference"] == pytest.approx(shift, abs=1e-3)
    nowhere = gpu.scores(load(made[0]), "Hopper-v5", "gail", tmp_path / "nowhere")
    assert nowhere["beside"].endswith("no such cell")


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(ValueError, match="torch finds no CUDA device"):
        gpu.main()


def wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A pack of two small wheels and this checkout, in pieces of 256 KiB."""
    noise = b"".join(hashlib.sha256(str(k).encode()).digest() for k in range(20_000))  # 640 kB, not compressible
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    files = {"warp/__init__.py": "", "warp/bin/warp.so": noise, "warp/bin/warp-clang.so": b"x", "warp/tests/a.py": "1"}
    wheel(wheels / "warp_lang-1.19.0-py3-none-any.whl", files)
    wheel(wheels / "other-1.0-py3-none-any.whl", {"other-1.0.data/purelib/other/a.py": "x = 1\n"})
    monkeypatch.setattr(gpu_pack, "download", lambda *_: sorted(wheels.glob("*.whl")))
    monkeypatch.setattr(gpu_pack, "tracked", lambda: iter([("envs/x.py", b"y = 2\n", False)]))
    return gpu_pack.pack("3.12", False, 2**18, tmp_path / "pack"), tmp_path / "pack"


def test_a_pack_is_pieces_that_unpack_to_what_was_packed(packed):
    carried, folder = packed
    assert [path.name for path in carried if path.name.startswith("site")] == [f"site.tar.xz.0{k}" for k in range(3)]
    assert all(path.stat().st_size <= 2**18 for path in carried)
    said = subprocess.run(["sh", folder / "unpack.sh"], capture_output=True, text=True, check=True).stdout
    assert said == f"cd {folder}/project && PYTHONPATH={folder}/site python3 -m benchmarks.gpu --minutes 14\n"
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob("[sp]*/**/*") if path.is_file())
    assert found == ["project/envs/x.py", "site/other/a.py", "site/warp/__init__.py", "site/warp/bin/warp.so"]


def test_a_pack_that_came_damaged_is_not_unpacked(packed):
    _, folder = packed
    piece = folder / "site.tar.xz.01"
    piece.write_bytes(piece.read_bytes()[:-1] + b"\0")
    done = subprocess.run(["sh", folder / "unpack.sh"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "site.tar.xz.01" in done.stdout + done.stderr
    assert not (folder / "site").exists()


def test_what_is_packed_is_pinned_and_without_the_large_demonstrations():
    lock = "".join(f"{name}==1.{k}            # via somebody\n" for k, name in enumerate(gpu_pack.PACKAGES))
    assert gpu_pack.pinned(lock)[:2] == ["mujoco==1.0", "mujoco-core==1.1"]
    with pytest.raises(InputError, match="requirements.lock: mujoco, "):
        gpu_pack.pinned("")
    gpu_pack.pinned((gpu_pack.ROOT / "requirements.lock").read_text())
    paths = {path for path, *_ in gpu_pack.tracked()}
    assert "benchmarks/gpu.py" in paths
    assert "data/demonstrations/Humanoid-v5/card.json" in paths
    assert not paths & set(gpu_pack.LARGE)


def test_an_archive_of_the_same_files_has_the_same_bytes(tmp_path):
    files = [("a/b.py", b"1", False), ("a/c.so", b"2", True)]
    one, two = tmp_path / "one.tar.xz", tmp_path / "two.tar.xz"
    gpu_pack.compress(files, one)
    gpu_pack.compress(files, two)
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as tar:
        assert [(entry.name, bool(entry.mode & 0o100)) for entry in tar] == [("a/b.py", False), ("a/c.so", True)]
