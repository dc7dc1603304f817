import numpy as np
import pandas as pd
import pytest

from threefold.base import files
from threefold.base.errors import InputError
from threefold.tables import schema


def training(values):
    rows = [("Hopper-v5", "gail", 4, seed, 1, 100, "loss", value) for seed, value in enumerate(values)]
    return pd.DataFrame(rows, columns=list(schema.TRAINING)).astype(schema.TRAINING)


def test_every_float_comes_back_exactly(tmp_path):
    rng = np.random.default_rng(0)
    values = [0.1 + 0.2, 1e-308, -0.0, np.nan, np.inf, -np.inf, *rng.normal(size=200), *np.exp(rng.normal(0, 200, 200))]
    frame = training(values)
    schema.write_csv(frame, tmp_path / "training.csv", schema.TRAINING)
    again = schema.read_csv(tmp_path / "training.csv", schema.TRAINING)
    assert again["value"].to_numpy().tobytes() == frame["value"].to_numpy().tobytes()
    assert again.equals(frame)
    assert dict(again.dtypes) == dict(frame.dtypes)


def test_bytes_depend_on_values_alone(tmp_path):
    for name in ("a.csv", "b.csv"):
        schema.write_csv(training([0.1, 2.0]), tmp_path / name, schema.TRAINING)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert (tmp_path / "a.csv").read_bytes().endswith(b"Hopper-v5,gail,4,1,1,100,loss,2.0\n")


def test_empty_reason_and_commas_come_back(tmp_path):
    rows = [("t", "bc", 1, 0, "ok", 1, 0, ""), ("t", "bc", 1, 1, "failed", 1, 0, 'loss "x", NaN')]
    frame = pd.DataFrame(rows, columns=list(schema.LEARNERS)).astype(schema.LEARNERS)
    schema.write_csv(frame, tmp_path / "learners.csv", schema.LEARNERS)
    assert schema.read_csv(tmp_path / "learners.csv", schema.LEARNERS).equals(frame)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.rename(columns={"value": "values"}),
        lambda frame: frame[frame.columns[::-1]],
        lambda frame: frame.astype({"seed": "float64"}),
        lambda frame: frame.assign(metric=None).astype({"metric": "str"}),
    ],
)
def test_wrong_frame_is_not_written(tmp_path, change):
    with pytest.raises(InputError, match=r"columns|missing values"):
        schema.write_csv(change(training([1.0])), tmp_path / "training.csv", schema.TRAINING)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "training.csv"
    schema.write_csv(training([1.0]), path, schema.TRAINING)
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        schema.write_csv(training([2.0]), path, schema.TRAINING)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


HEADER = b"task,row,demonstrations,seed,status,iteration,env_steps,reason\n"
ROW = b"Hopper-v5,gail,4,0,ok,3,100,\n"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        HEADER[:-9] + b"\n" + ROW,
        HEADER + ROW[:-1],
        HEADER + ROW + b"Hopper-v5,gail,4\n",
        HEADER + ROW + b"Hopper-v5,gail,4,1,ok,3,100,a,b\n",
        HEADER + ROW + b"Hopper-v5,gail,,1,ok,3,100,\n",
        HEADER + ROW + b"Hopper-v5,gail,4.5,1,ok,3,100,\n",
        HEADER + ROW + b"Hopper-v5,gail,many,1,ok,3,100,\n",
        HEADER + ROW + b'Hopper-v5,"gail,4,1,ok,3,100,\n',
        HEADER + ROW + b"\xff\xfe\n",
    ],
)
def test_damaged_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "learners.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        schema.read_csv(path, schema.LEARNERS)
    message = str(caught.value)
    assert str(path) in message
    assert "dvc" in message
    assert "\n" not in message


def test_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"training\.csv: missing"):
        schema.read_csv(tmp_path / "training.csv", schema.TRAINING)
    with pytest.raises(InputError, match=r"part\.json: missing"):
        schema.read_part(tmp_path / "part.json")


@pytest.mark.parametrize("content", ["{", "[]", '{"made_from": {}}', '{"made_from": 3}'])
def test_damaged_part_is_refused(tmp_path, content):
    (tmp_path / "part.json").write_text(content)
    with pytest.raises(InputError, match=r"part\.json"):
        schema.read_part(tmp_path / "part.json")


def test_a_compressed_table_has_the_same_bytes_each_time_and_reads_back(tmp_path):
    frame = pd.DataFrame([("a", "b", 1, 2, "ok", 3, 4, "")], columns=list(schema.LEARNERS)).astype(schema.LEARNERS)
    for name in ("one.csv.gz", "two.csv.gz", "plain.csv"):
        schema.write_csv(frame, tmp_path / name, schema.LEARNERS)
        assert schema.read_csv(tmp_path / name, schema.LEARNERS).equals(frame)
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()
    data = (tmp_path / "one.csv.gz").read_bytes()
    for damaged in (data[:-4], data[:12], b"", data[:20] + b"xx" + data[22:]):
        (tmp_path / "one.csv.gz").write_bytes(damaged)
        with pytest.raises(InputError, match="truncated or altered"):
            schema.read_csv(tmp_path / "one.csv.gz", schema.LEARNERS)
