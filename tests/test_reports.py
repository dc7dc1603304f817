import dataclasses
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from docs import reports as published
from tests import fresh, synthetic
from tests.blank import blank
from threefold.base.errors import InputError
from threefold.base.files import write_json
from threefold.profile.design import load
from threefold.report import build, contents, details, fidelity, figures, inputs, style, tables
from threefold.report.available import available
from threefold.report.budgets import Budgets
from threefold.report.plot import Drawn, Plot, write
from threefold.tables import planned, schema
from threefold.tables.collect import collect

ROOT = Path(__file__).parent.parent
PLOTS = [
    "score_against_trajectories",
    "learning_curves",
    "performance_profile",
    "rising",
    "published_scores",
    "variants",
    "training_bc",
    "training_gail",
]
VARIANTS = {
    "constant_positive": {"method": "constant", "tasks": ["InvertedPendulum-v5", "Hopper-v5"]},
    "gail_idle_expert": {"method": "gail", "tasks": ["Hopper-v5"], "expert": "idle"},
}
TABLES = ["summary", "aggregate", "published", "differences", "elsewhere", "cost", "rising", "improvement"]
TABLES += ["returns", "references", "learners", "seeds", "power"]


@pytest.fixture
def undrawn(monkeypatch):
    """Reports in which every figure is an empty picture, for tests of what stands around them."""
    empty = Drawn(style.render(Figure((1, 1)), "png"), 114, [])
    monkeypatch.setattr(build, "write_all", lambda plots, _: dict.fromkeys(plots, empty))


@pytest.fixture
def blanked(monkeypatch):
    """Reports whose figures are laid out, but empty: for tests of their text and files, and of warnings on the way."""
    blank(monkeypatch)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """A collected profile in which one learner failed."""
    mine = {"Hopper-v5": "my-hopper"}
    path = synthetic.design(tmp_path_factory.mktemp("project"), variants=VARIANTS, demonstrations_from=mine)
    write_json({"source": "minari: made/up-v0"}, load(path).demonstrations("Hopper-v5") / "card.json")
    folder = synthetic.fill(path)
    synthetic.fail(folder, "Hopper-v5", "gail", 11, 2, "not finite: loss_1 & <b>more</b> 100 %")
    collect(load(path))
    return path


@pytest.fixture(scope="module")
def given(params):
    return inputs.read(params)


@pytest.fixture(scope="module")
def report(given):
    return build.build(given)


class Page(html.parser.HTMLParser):
    """Ids, links and visible text of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.sources, self.open, self.text = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.sources += [given["src"]] if "src" in given else []
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_is_whole_and_stands_alone(report):
    text = report.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.sources) == len(PLOTS)
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert not re.search(r"https?://|@import|url\((?!data:)", text)  # the browser's tests see what scripts ask for


def test_every_link_leads_somewhere(given, report):
    page = Page(report.read_text())
    assert len(page.links) > 20
    cells = json.loads(details.details(given))["cells"]
    for link in page.links:
        if link.startswith("#cell="):
            assert link.removeprefix("#cell=") in cells
        elif link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (report.parent / link).is_file(), link


def test_a_published_report_has_all_that_it_links(given, report, tmp_path):
    published.copy(given.design.root, tmp_path)
    there = tmp_path / report.relative_to(given.design.root)
    for page in (there, there.with_name("provenance.html")):
        assert [link for link in Page(page.read_text()).links if not link.startswith("#")]
        for link in Page(page.read_text()).links:
            assert link.startswith("#") or (page.parent / link).is_file(), link


def test_page_says_what_a_reader_must_know(report):
    page = Page(report.read_text())
    for name in PLOTS:
        assert f"threefold figures --params params.yaml --only {name}" in page.text
    assert "Short budget. Environment steps per learner: Hopper-v5 100k. They are too few to rank methods." in page.text
    assert page.text.index("Short budget.") < page.text.index("Takeaways")
    assert "Hopper-v5 (short budget)" in page.text
    assert "InvertedPendulum-v5 (short budget)" not in page.text
    assert "not finite: loss_1 & <b>more</b> 100 %" in page.text  # escaped: seen as text
    assert "1 failed" in page.text
    assert "gymnasium 1.4.0" in page.text


FULL = {task: facts | {"env_steps": 10 * facts["env_steps"]} for task, facts in synthetic.BUDGET.items()}
SIZE = {"energies": 4, "points": [8, 64], "repeats": 10}
SHORT, FEWER = "Hopper-v5 100k (profile paper: 1M)", "InvertedPendulum-v5 20k (profile paper: 200k)"


@pytest.mark.parametrize(
    ("profile", "short", "fewer", "smaller"),
    [
        ({}, SHORT, FEWER, True),
        ({"studies": {"connection": SIZE}}, SHORT, FEWER, False),
        ({"studies": {"connection": SIZE | {"points": [8], "energies": 5}}}, SHORT, FEWER, False),  # larger in part
        ({"budget": FULL}, "Hopper-v5 1M", "", True),
        ({"tasks": ["Reacher-v5"], "budget": {"Reacher-v5": FULL["Hopper-v5"]}}, "Reacher-v5 1M", "", True),
        ({"profile": "paper"}, "Hopper-v5 100k", "", False),
    ],
)
def test_budgets_and_sizes_stand_beside_the_full_ones(tmp_path, profile, short, fewer, smaller):
    """Those of the profile called paper, wherever it is."""
    path = synthetic.design(tmp_path, **{"studies": {"connection": SIZE | {"points": [8]}}} | profile)
    synthetic.design(tmp_path / "full", root="..", profile="paper", budget=FULL, studies={"connection": SIZE})
    (tmp_path / "full" / "dvc.yaml").write_text("")
    found = Budgets(load(path))
    assert (found.steps(found.short), found.steps(found.fewer)) == (short, fewer)
    said = " A check of the chain: the study is smaller here than in the profile paper."
    assert found.note("connection") == (said if smaller else "")


@pytest.mark.parametrize("other", [None, "no: key", "profile: paper\nno: key"])
def test_without_a_profile_of_full_budgets_nothing_stands_beside_ours(tmp_path, other):
    path = synthetic.design(tmp_path, studies={"connection": SIZE})
    if other:
        (tmp_path / "paper").mkdir()
        (tmp_path / "paper" / "dvc.yaml").write_text("")
        (tmp_path / "paper" / "params.yaml").write_text(other)
    found = Budgets(load(path))
    assert (found.steps(found.short), found.fewer, found.note("connection")) == ("Hopper-v5 100k", [], "")


def test_all_files_are_there(report):
    found = {path.relative_to(report.parent).as_posix() for path in report.parent.rglob("*.*")}
    expected = {"report.html", "provenance.html"}
    expected |= {f"figures/{name}.{kind}" for name in PLOTS for kind in ("pdf", "png")}
    expected |= {f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "tex")}
    assert found == expected


def test_what_a_user_imported_is_named_as_the_source(given, report):
    page = Page(report.read_text())
    assert "Hopper-v5: my-hopper (minari: made/up-v0); of the other tasks, the stochastic expert’s" in page.text
    caption = tables.references(given).caption
    assert (
        "the stochastic expert gave the demonstrations (but for Hopper-v5: my-hopper (minari: made/up-v0))" in caption
    )
    own = dataclasses.replace(given, design=given.design.model_copy(update={"demonstrations_from": {}}))
    assert own.sources == ""
    assert "gave the demonstrations. Return" in tables.references(own).caption


def test_building_again_gives_the_same_bytes_but_for_provenance(params, given, report):
    before = {path: path.read_bytes() for path in report.parent.rglob("*.*")}
    provenance = report.parent / "provenance.html"
    assert before.pop(provenance).decode().count("not recorded") == 14
    facts = {"commit": "0123456789abcdef", "dirty": True, "cpu": "x86", "cores": 2, "threads": 1}
    facts |= {"wall_s": 90.0, "cpu_s": 60.0, "env_steps": 540036, "started": "then", "command": "threefold run"}
    sidecar = given.design.results / "provenance" / "Hopper-v5" / "gail" / "4_0-1-2.json"
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text(json.dumps(facts))
    command = [sys.executable, "-m", "threefold", "report", "--params", params]  # in a process that hashes otherwise
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for path, data in before.items():
        assert path.read_bytes() == data, path
        assert b"CreationDate" not in data
    page = provenance.read_text()
    assert page.count("not recorded") == 13
    for text in ("0123456789ab (with uncommitted changes)", "x86, 2 cores, 1 threads", "1.5 min", "1.0 min", "6,000"):
        assert text in page


@pytest.mark.parametrize("commit", [None, ""])
def test_a_commit_that_is_not_known_is_not_recorded(given, commit):
    sidecar = given.design.results / "provenance" / "Hopper-v5" / "bc.json"
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    sidecar.write_text(json.dumps({"commit": commit, "dirty": None}))
    try:
        assert build._sidecar(given, "Hopper-v5 / bc", Path("Hopper-v5") / "bc")[1] == "not recorded"
    finally:
        sidecar.unlink()


def test_one_figure_alone_is_the_same_figure(params, report):
    files = [report.parent / "figures" / f"performance_profile.{kind}" for kind in ("pdf", "png")]
    before = [path.read_bytes() for path in files]
    other = report.parent / "figures" / "learning_curves.png"
    kept = other.read_bytes()
    for path in (*files, other):
        path.unlink()
    exit_code, _, said = fresh.threefold(ROOT, "figures", "--params", str(params), "--only", "performance_profile")
    assert (exit_code, said) == (0, "")
    assert [path.read_bytes() for path in files] == before
    assert not other.exists()
    other.write_bytes(kept)


def test_failed_learner_counts_as_random(given):
    rows = given.stratum("Hopper-v5", "gail", 11).set_index("seed")
    assert rows.at[2, "score"] == 0
    assert rows.at[2, "episode_return"] == given.references.at["Hopper-v5", "random"]
    row = tables.returns(given).data.set_index(["task", "demonstrations", "row"]).loc[("Hopper-v5", 11, "gail")]
    assert (row["learners"], row["failed"]) == (3, 1)
    assert row["score_mean"] == pytest.approx((rows.at[0, "score"] + rows.at[1, "score"]) / 3)


@pytest.fixture
def incomplete(tmp_path):
    """A profile without some of its results: a cell, a method but for one learner, a learner."""
    path = synthetic.design(tmp_path, methods=["bc", "gail", "airl"], keep_going=True)
    folder = synthetic.fill(path)
    cells = folder / "cells"
    shutil.rmtree(cells / "Hopper-v5" / "bc")
    shutil.rmtree(cells / "Hopper-v5" / "airl")
    write_json({"reason": "RuntimeError: <b>"}, cells / "Hopper-v5" / "airl" / "crash.json")
    for name, keep in (("airl", True), ("gail", False)):
        part = cells / "InvertedPendulum-v5" / name / "4_0-1-2"
        rows = schema.read_csv(part / "learners.csv", schema.LEARNERS)
        mine = rows["seed"] == 1
        schema.write_csv(rows[mine if keep else ~mine], part / "learners.csv", schema.LEARNERS)
        synthetic.seal(part)
    shutil.rmtree(cells / "InvertedPendulum-v5" / "airl" / "1_0-1-2")
    collect(load(path))
    return inputs.read(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("blanked")
def test_missing_results_are_left_out_and_said_wherever_something_is_averaged(incomplete):
    page = build.build(incomplete).read_text()
    assert "<strong>18 more have no result</strong>" in page
    assert '<a href="#missing">' in page
    assert "crashed: RuntimeError: &lt;b&gt;" in page
    made = contents.every_table(incomplete)
    for name, table in made.items():
        averages = name not in ("references", "learners")
        assert ("18 of 36 learners have no result and are left out" in table.caption) == averages, name
    shown = made["returns"].shown.set_index(["Task", "Trajectories", "Method"])
    rows = made["returns"].data.set_index(["task", "demonstrations", "row"])
    airl, bc = style.label("airl"), style.label("bc")
    assert rows.loc[("InvertedPendulum-v5", 4, "airl"), "missing"] == 2
    assert shown.loc[("InvertedPendulum-v5", "4", airl), "n"] == "1 of 3"
    assert rows.loc[("Hopper-v5", 4, "bc"), ["learners", "missing"]].tolist() == [0, 3]
    assert np.isnan(rows.loc[("Hopper-v5", 4, "bc"), "score_mean"])
    assert shown.filter(like=bc, axis=0)["n"].tolist() == ["3", "3", "0 of 3", "0 of 3"]
    learners = made["learners"].shown.set_index(["Task", "Method"])
    assert learners.loc[("Hopper-v5", bc), "Learners"] == "0 of 6"
    assert made["aggregate"].shown["Missing"].tolist() == ["6", "1", "11"]
    captions = {name: plot.caption for name, plot in figures.plots(incomplete).items() if not plot.diagnostic}
    assert all("Incomplete: 18 of 36 learners" in caption for caption in captions.values())


@pytest.fixture
def partly(tmp_path):
    """A profile of which one part is there, with its references, and no study."""
    sizes = {"connection": {"energies": 1, "points": [8], "repeats": 10}}
    path = synthetic.design(tmp_path, variants=VARIANTS, studies=sizes)
    folder = synthetic.fill(path)
    for part in [*folder.glob("cells/*/*/*_*"), *folder.glob("variants/*/*/*_*")]:
        if part != folder / "cells" / "Hopper-v5" / "gail" / "4_0-1-2":
            shutil.rmtree(part)
    return load(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.usefixtures("blanked")
def test_a_report_of_what_is_there_lies_beside_the_other_and_says_at_its_top_how_much_it_is(partly):
    kept = {path: path.read_bytes() for path in partly.root.rglob("*.*") if path.is_file()}
    path, note = available(partly, planned.read(partly))
    assert path == partly.root / "reports" / "made-up" / "available" / "report.html"
    assert note == (
        "1 of 14 parts of the profile are there; the others are marked as missing. "
        "Studies that are not there as planned: connection."
    )
    page = Page(path.read_text())
    assert page.text.index(note) < page.text.index("Scores at a glance")
    assert "39 of 42 learners have no result" in page.text
    assert page.text.count("not computed yet") == 7  # each cell
    assert "threefold report --available --params params.yaml" in page.text
    assert "threefold figures" not in page.text
    assert [link for link in page.links if link[0] != "#" and not (path.parent / link).is_file()] == []
    assert {path: path.read_bytes() for path in kept} == kept
    new = {path for path in partly.root.rglob("*.*") if path.is_file()} - set(kept)
    assert all(one.is_relative_to(path.parent) for one in new)


@pytest.mark.usefixtures("undrawn")
def test_a_report_of_all_parts_says_so_and_has_the_same_tables(params, report):
    design = load(params)
    path, note = available(design, planned.read(design))
    assert note == "All 14 parts of the profile are there."
    assert note in path.read_text()
    for table in (report.parent / "tables").iterdir():
        assert (path.parent / "tables" / table.name).read_bytes() == table.read_bytes()
    shutil.rmtree(path.parent)


@pytest.mark.usefixtures("undrawn")
def test_a_report_of_what_is_there_names_what_is_damaged_or_made_from_other_code(partly):
    folder = synthetic.fill(partly.params) / "cells" / "Hopper-v5"
    gail, bc = folder / "gail" / "4_0-1-2", folder / "bc" / "4_0-1-2"
    (gail / "evaluations.csv.gz").write_bytes((gail / "evaluations.csv.gz").read_bytes()[:-1])
    synthetic.edit(bc, made_from={"code": "other"})
    path, note = available(partly, planned.read(partly))
    assert note.startswith("12 of 14 parts")
    text = Page(path.read_text()).text
    assert "evaluations.csv.gz: missing, cut or altered" in text
    assert "made from other code, settings or data than planned" in text


def test_a_study_of_other_code_or_size_is_not_shown(partly):
    plan = planned.read(partly) | {"studies": {"connection": "now"}}
    (partly.results / "studies" / "connection").mkdir(parents=True)
    for made_from in ({}, {"fingerprint": "before"}, {"fingerprint": "now"}):
        write_json(made_from, planned.study_sidecar(partly, "connection"))
        assert planned.is_study_there(partly, plan, "connection") == (made_from == {"fingerprint": "now"})
    shutil.rmtree(partly.results / "studies")
    assert not planned.is_study_there(partly, plan, "connection")


@pytest.mark.usefixtures("undrawn")
def test_what_the_profile_leaves_out_is_no_gap(tmp_path):
    why = {"InvertedPendulum-v5": {"gail": "it is too easy"}}
    path = synthetic.design(tmp_path, left_out=why)
    synthetic.fill(path)
    collect(load(path))
    made = contents.every_table(inputs.read(path))
    for name in ("summary", "cost"):
        column = made[name].shown[style.label("gail")]
        assert set(column[made[name].shown["Task"].str.startswith("Inverted")]) == {"n/a"}
        assert "n/a" not in set(column[made[name].shown["Task"].str.startswith("Hopper")])
    assert f"Not run (n/a): {style.label('gail')} on InvertedPendulum-v5: it is too easy." in made["summary"].caption


def test_the_cure_of_a_damaged_sidecar_of_a_study_is_its_stage_in_the_profiles_own_chain(tmp_path):
    design = load(synthetic.design(tmp_path / "mine", root="..", folder="mine"))
    path = design.results / "provenance" / "studies" / "twin.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(InputError, match="`dvc repro -f -s mine/dvc.yaml:study@twin`"):
        inputs.provenance(design, Path("studies") / "twin")


def test_a_report_of_nothing_is_one_line(partly):
    shutil.rmtree(partly.results / "cells" / "Hopper-v5" / "gail")
    with pytest.raises(InputError) as caught:
        available(partly, planned.read(partly))
    assert str(caught.value) == f"{partly.results}: no cell has a result; run `dvc repro`"
    assert not (partly.root / "reports").exists()


def test_a_complete_report_says_nothing_of_missing_results(given, report):
    assert "ncomplete" not in report.read_text()
    assert given.incomplete == ""
    assert "Missing" not in tables.tables(given)["aggregate"].shown


def test_returns_table_is_the_data(given):
    data = tables.returns(given).data
    assert len(data) == 2 * 2 * 2 + (2 + 1) * 2  # two methods on two tasks; variants on two and on one
    episodes = given.episodes
    for row in data[data["failed"] == 0].itertuples():
        mine = episodes[
            (episodes["task"] == row.task)
            & (episodes["row"] == row.row)
            & (episodes["demonstrations"] == row.demonstrations)
        ]
        mine = mine[mine["env_steps"] == mine["env_steps"].max()]
        means = mine.groupby("seed")["episode_return"].mean()
        assert row.return_mean == pytest.approx(means.mean())
        assert row.return_sd == pytest.approx(means.std(ddof=1))
        random, expert = given.references.loc[row.task, ["random", "expert"]]
        assert row.score_mean == pytest.approx((means.mean() - random) / (expert - random))
        assert row.score_low <= row.score_mean <= row.score_high
        assert row.short_budget == (row.task == "Hopper-v5")


def test_published_numbers_stand_beside_ours(given):
    """Hopper, 4 trajectories, GAIL: 3614.22; that paper's random policy 14.47 and expert 3571.38."""
    data = tables.returns(given).data.set_index(["task", "demonstrations", "row"]).sort_index()
    row = data.loc[("Hopper-v5", 4, "gail")]
    assert row["published_return"] == 3614.22
    assert row["published_runs"] == 1
    assert row["published_score"] == pytest.approx((3614.22 - 14.47) / (3571.38 - 14.47))
    assert data.loc[("Hopper-v5", 4, "bc"), "published_score"] == pytest.approx((50.57 - 14.47) / (3571.38 - 14.47))
    assert data.loc["InvertedPendulum-v5", "published_score"].isna().all()


def test_published_reacher_is_the_row_without_entropy_bonus(tmp_path):
    budget = {"Reacher-v5": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [4, 11, 18]}}
    path = synthetic.design(tmp_path, tasks=["Reacher-v5"], budget=budget)
    published = inputs._published(load(path), "gail_table3.csv", ["gail"])
    gail = published[published["row"] == "gail"].set_index("demonstrations")
    assert gail["episode_return"].to_dict() == {4: -67.23, 11: -6.06, 18: -8.25}


def test_published_runs_average_to_the_published_table():
    """The runs are the authors' logs, the table is the paper's: the same numbers by two ways."""
    runs, paper = (pd.read_csv(inputs.PUBLISHED / f"gail_{name}.csv") for name in ("runs", "table3"))
    key = ["task", "trajectories", "method"]
    both = paper.set_index(key)["mean"].to_frame("paper").join(runs.groupby(key)["mean"].mean(), how="inner")
    assert len(both) == 60  # three classic tasks, four methods and numbers; Reacher, three numbers and four rows
    np.testing.assert_allclose(both["paper"], both["mean"], rtol=0.01, atol=0.1)
    assert runs.groupby(key).size().eq(7).all()


def test_runs_are_shown_one_by_one(tmp_path):
    """MountainCar, 4 trajectories, GTAL: three of the paper's seven runs are stuck at -200, random's return."""
    budget = {"MountainCar-v0": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [4]}}
    path = synthetic.design(tmp_path, tasks=["MountainCar-v0"], methods=["bc", "gtal"], budget=budget)
    synthetic.fill(path)
    collect(load(path))
    given = inputs.read(path)
    table = tables.tables(given)["runs"]
    data = table.data.set_index(["row", "source"])
    assert sorted(data.loc[("gtal", "published"), "episode_return"])[:3] == [-200, -200, -200]
    assert data.loc[("gtal", "ours"), "score"].tolist() == sorted(
        given.stratum("MountainCar-v0", "gtal", 4)["score"], reverse=True
    )
    shown = table.shown.set_index("Method").loc[style.label("gtal")]
    assert shown["Scores, published"].endswith("0.00, 0.00, 0.00")
    assert shown["Returns, published"].endswith("−200.0, −200.0, −200.0")
    assert shown["Our mean"] == "within"
    assert table.opens == {"Scores, ours": ["MountainCar-v0/bc", "MountainCar-v0/gtal"]}


def test_entropy_weights_on_reacher_are_shown_with_the_papers_runs(tmp_path):
    """Figure 1(b): variants of GAIL beside the runs of the same weight, 0.1 included, which the paper left out."""
    budget = {"Reacher-v5": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [4, 11, 18]}}
    weights = {"gail_entropy_1e-3": 0.001, "gail_entropy_1e-1": 0.1}
    entropy = {
        name: {"method": "gail", "tasks": ["Reacher-v5"], "config": {"entropy_weight": value}}
        for name, value in weights.items()
    }
    path = synthetic.design(tmp_path, tasks=["Reacher-v5"], budget=budget, variants=entropy)
    synthetic.fill(path)
    collect(load(path))
    given = inputs.read(path)
    assert set(given.published["row"]) == {"bc", "gail"}
    data = tables.tables(given)["runs"].data.set_index(["row", "source", "demonstrations"]).sort_index()
    assert len(data.loc[("gail_entropy_1e-1", "published", 18)]) == 7
    assert data.loc[("gail_entropy_1e-1", "published", 18), "episode_return"].mean() == pytest.approx(-1108, abs=1)
    assert len(data.loc[("gail_entropy_1e-3", "ours", 4)]) == 3
    (panel,) = (ax for ax in figures.published_runs(given).axes if ax.get_title() == "Reacher-v5")
    drawn = sum(np.size(line.get_xdata()) for line in panel.lines if line.get_linestyle() == "None")
    assert drawn == len(data)


@pytest.fixture
def limited(tmp_path):
    """Two learners of each classic task. The paper's limit is 200 steps on two of them, in place of 500.

    So an episode of CartPole gives 200 at most there, one of Acrobot -200 at least.
    """
    budget = {
        task: {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [1]}
        for task in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")
    }
    path = synthetic.design(tmp_path, tasks=list(budget), methods=["gail"], seeds=[0, 1], budget=budget)
    final: dict[tuple[str, str, int, int], list[float] | None] = {
        ("CartPole-v1", "random", 0, 0): [10, 30],
        ("CartPole-v1", "expert", 0, 0): [500, 500],
        ("CartPole-v1", "gail", 1, 0): [500, 100],  # 200 and 100: 150, of 20 to 200
        ("CartPole-v1", "gail", 1, 1): [300, 250],
        ("Acrobot-v1", "random", 0, 0): [-500, -400],
        ("Acrobot-v1", "expert", 0, 0): [-80, -120],
        ("Acrobot-v1", "gail", 1, 0): [-500, -100],  # -200 and -100: -150, of -200 to -100
        ("Acrobot-v1", "gail", 1, 1): None,
        ("CartPole-v1", "expert-stochastic", 0, 0): [500, 182],  # 200 and 182: 191
        ("Acrobot-v1", "expert-stochastic", 0, 0): [-500, -100],
        ("MountainCar-v0", "expert-stochastic", 0, 0): [-100, -100],
        ("MountainCar-v0", "random", 0, 0): [-200, -200],
        ("MountainCar-v0", "expert", 0, 0): [-100, -100],
        ("MountainCar-v0", "gail", 1, 0): [-100, -140],
        ("MountainCar-v0", "gail", 1, 1): [-90, -90],
    }
    return synthetic.by_hand(path, final)


CARTPOLE, ACROBOT = "CartPole-v1 (200 steps)", "Acrobot-v1 (200 steps)"


def test_our_returns_count_beside_published_runs_as_at_their_time_limit(limited):
    table = tables.runs(limited)
    shown = table.shown.set_index("Task")
    assert [*shown.index] == [CARTPOLE, ACROBOT, "MountainCar-v0"]
    assert shown["Returns, ours"].tolist() == ["200.0, 150.0", "−150.0, −200.0", "−90.0, −120.0"]
    assert shown["Scores, ours"].tolist() == ["1.00, 0.72", "0.50, 0.00", "1.10, 0.80"]
    assert shown.loc[CARTPOLE, "Returns, published"] == ", ".join(["200.0"] * 7)
    assert shown.loc[CARTPOLE, "Our mean"] == "below"
    ours = table.data[table.data["source"] == "ours"].set_index(["task", "run"])
    assert ours.loc[("CartPole-v1", 0), "score"] == pytest.approx((150 - 20) / (200 - 20))
    assert "shorter there, 200 steps on CartPole-v1 and 200 steps on Acrobot-v1: our returns" in table.caption
    assert limited.stratum("CartPole-v1", "gail", 1)["episode_return"].tolist() == [300, 275]  # elsewhere as they are


def test_published_scores_are_held_against_ours_at_the_papers_time_limit(limited):
    """By hand: CartPole 150 and 200 between 20 and 200; Acrobot -150 and a failure between -200 and -100."""
    data = fidelity.cells(limited).set_index("task")
    assert data["score_mean"].to_dict() == pytest.approx(
        {"CartPole-v1": (130 / 180 + 1) / 2, "Acrobot-v1": 0.25, "MountainCar-v0": 0.95}
    )
    paper = limited.published.query("demonstrations == 1").set_index("task")["score"]
    assert data["difference"].to_dict() == pytest.approx((data["score_mean"] - paper).to_dict())
    told = fidelity.tables(limited)
    assert told["published"].shown["Task"].tolist() == [CARTPOLE, ACROBOT, "MountainCar-v0"]
    assert "200 steps on CartPole-v1 and 200 steps on Acrobot-v1" in told["published"].caption
    assert fidelity.about(limited)["CartPole-v1/gail/1"].startswith(f"GAIL on {CARTPOLE}, 1 trajectories: 0.86 ")

    table = tables.returns(limited)
    shown, returns = table.shown.set_index("Task"), table.data.set_index("task")
    assert shown["Return"].tolist() == ["287.5 ± 17.7", "−375.0 ± 106.1", "−105.0 ± 21.2"]
    assert [text[:4] for text in shown["Score [95 %]"]] == ["0.56", "0.21", "0.95"]  # (287.5 - 20)/480; 150/350/2
    assert shown["At limit"].tolist() == ["0.86", "0.25", tables.NONE]
    assert returns["verdict"].to_dict() == data["verdict"].to_dict()
    for task in ("CartPole-v1", "Acrobot-v1"):
        assert returns.at[task, "score_at_limit"] == data.at[task, "score_mean"]


def test_a_verdict_is_on_the_score_at_the_papers_time_limit(limited):
    """Learners that stand for 200 steps do as well as the paper's, and at today's 500 they do not."""
    fallen = limited.episodes.assign(
        episode_return=limited.episodes["episode_return"].mask(
            (limited.episodes["task"] == "CartPole-v1") & (limited.episodes["row"] == "gail"), 210.0
        )
    )
    given = dataclasses.replace(limited, episodes=fallen)
    (cell,) = fidelity.cells(given).query("task == 'CartPole-v1'").itertuples()
    assert (cell.score_mean, cell.verdict) == (1.0, "non-inferior")
    returns = tables.returns(given).data.set_index("task")
    assert returns.at["CartPole-v1", "verdict"] == "non-inferior"


def test_a_panel_with_published_marks_has_ours_at_the_papers_time_limit(limited):
    panels = {ax.get_title(): ax for ax in figures.score_against_trajectories(limited).axes}
    assert [*panels] == [CARTPOLE, ACROBOT, "MountainCar-v0"]
    drawn = {y for line in panels[CARTPOLE].lines for y in np.round(np.atleast_1d(line.get_ydata()), 4)}
    assert {0.7222, 1.0, 0.8611, 0.95} <= drawn  # learners, their mean, and the stochastic expert: (191 - 20)/180
    unpublished = dataclasses.replace(limited, published=limited.published.iloc[:0])
    panels = {ax.get_title(): ax for ax in figures.score_against_trajectories(unpublished).axes}
    assert [*panels] == ["CartPole-v1", "Acrobot-v1", "MountainCar-v0"]
    drawn = {y for line in panels["CartPole-v1"].lines for y in np.round(np.atleast_1d(line.get_ydata()), 4)}
    assert {0.5833, 0.5312} <= drawn  # (300 - 20)/480, (275 - 20)/480


def test_an_expert_that_the_paper_would_not_tell_from_random_gives_no_score_there(tmp_path):
    budget = {"Acrobot-v1": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [1]}}
    path = synthetic.design(tmp_path, tasks=["Acrobot-v1"], methods=["gail"], seeds=[0], budget=budget)
    rows = {("random", 0): -500.0, ("expert", 0): -250.0, ("gail", 1): -300.0}
    given = synthetic.by_hand(path, {("Acrobot-v1", row, number, 0): [value] for (row, number), value in rows.items()})
    shown = tables.runs(given).shown.iloc[0]
    assert shown[["Scores, ours", "Returns, ours", "Our mean"]].tolist() == [tables.NONE, "−200.0", tables.NONE]
    shown = tables.returns(given).shown.iloc[0]
    assert shown[["Score [95 %]", "Against it"]].tolist() == ["0.80", "inconclusive"]
    assert "At limit" not in shown


def test_our_mean_among_published_runs():
    published = pd.Series([0.2, 0.9])
    ours: list[list[float]] = [[0.1], [0.2, 0.6], [0.91], [], [np.nan, 0.5]]
    found = [tables._against_spread(pd.Series(x, dtype=float), published) for x in ours]
    assert found == ["below", "within", "above", tables.NONE, tables.NONE]


def test_csv_tables_hold_numbers(report):
    for name in TABLES:
        frame = pd.read_csv(report.parent / "tables" / f"{name}.csv")
        assert len(frame)
        numbers = [column for column in frame if column.startswith(("score", "return", "probability", "low", "high"))]
        assert all(frame[column].dtype.kind == "f" for column in numbers)


def test_latex_has_no_character_that_breaks_it(report):
    for name in TABLES:
        text = (report.parent / "tables" / f"{name}.tex").read_text()
        assert text.isascii()
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        columns = len(re.findall(r"\\begin{tabular}{([lr]+)}", text)[0])
        rows = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(rows) > 1
        assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
        assert not re.search(r"(?<!\\)[_%#]", text)


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(report, tmp_path):
    files = "\n".join(rf"\input{{{report.parent}/tables/{name}}}" for name in TABLES)
    source = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{files}\end{{document}}"
    (tmp_path / "all.tex").write_text(source)
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]


def test_escaping():
    assert tables.escape("ebm_gan 95 % & #1 {x} ~^ 1 ± 2, −3 → 4") == (
        r"ebm\_gan 95 \% \& \#1 \{x\} \textasciitilde{}\textasciicircum{} 1 $\pm$ 2, $-$3 $\to$ 4"
    )
    assert tables.escape("a\\b") == r"a\textbackslash{}b"


def test_colours_are_fixed_and_new_methods_get_their_own():
    alone, beside = style.colours(["gail", "mine"]), style.colours(["bc", "airl", "gail", "mine", "other"])
    assert alone["gail"] == beside["gail"]
    assert alone["mine"] == beside["mine"]
    assert len(set(beside.values())) == len(beside)
    shapes = style.markers(["mine", "other"])
    assert len(set(shapes.values())) == len(shapes)


def test_numbers_are_written_short():
    assert [style.steps(n) for n in (0, 500, 20000, 1_500_000, 25e6)] == ["0", "500", "20k", "1.5M", "25M"]
    assert style.label("ebm_gan") == "EBM-GAN"
    assert [tables.score_text(x) for x in (-0.004, 0.004, -0.126, np.nan)] == ["0.00", "0.00", "−0.13", "–"]


def points(line):
    return np.asarray(line.get_ydata()).tolist()


def texts(figure):
    return {text.get_text() for ax in figure.axes for text in (ax.title, ax.xaxis.label, ax.yaxis.label)}


def test_figure_1a_shows_every_seed_and_the_published_points(given):
    figure = figures.score_against_trajectories(given)
    hopper = figure.axes[1]
    assert texts(figure) >= {"Hopper-v5 (short budget)", "InvertedPendulum-v5", "score", "expert trajectories"}
    shown = np.concatenate([line.get_ydata() for line in hopper.lines])
    for row in ("bc", "gail"):
        for number in (4, 11):
            assert np.isin(given.stratum("Hopper-v5", row, number)["score"], shown).all()
    hollow = [line for line in hopper.lines if line.get_markerfacecolor() == "none"]
    assert sum(len(points(line)) for line in hollow) == 8  # BC and GAIL at 4, 11, 18, 25
    crosses = [line for line in hopper.lines if line.get_marker() == "x" and points(line)]
    assert [points(line) for line in crosses] == [[0.0]]


def test_learning_curves_have_no_panel_where_nothing_is_there(given):
    own = given.learners
    there = own[(own["task"] != "Hopper-v5") & (own["demonstrations"] == 4)]
    figure = figures.learning_curves(dataclasses.replace(given, learners=there))
    assert [ax.get_title() for ax in figure.axes] == ["InvertedPendulum-v5\n4 trajectories"]


def test_learning_curves_have_a_panel_per_task_and_number_of_demonstrations(given):
    figure = figures.learning_curves(given)
    assert [ax.get_title() for ax in figure.axes] == [
        "InvertedPendulum-v5\n1 trajectory",
        "InvertedPendulum-v5\n4 trajectories",
        "Hopper-v5\n4 trajectories (short budget)",
        "Hopper-v5\n11 trajectories (short budget)",
    ]
    bold = [line for line in figure.axes[0].lines if line.get_linewidth() > 2]
    assert len(bold) == 2
    steps, score = (np.asarray(data).tolist() for data in bold[1].get_data())
    assert steps == [6667, 13333, 20000]
    final = given.stratum("InvertedPendulum-v5", "gail", 1)["score"]
    assert score[-1] == pytest.approx(final.mean())  # three seeds: a quarter of three is none


def test_variants_and_controls_are_rows_and_no_methods(given):
    shown = tables.returns(given).shown
    hopper = shown[shown["Task"].str.startswith("Hopper") & (shown["Trajectories"] == "4")]
    assert hopper["Method"].tolist() == ["BC", "GAIL", "Constant reward, positive", "GAIL, idle expert"]
    assert "GAIL, idle expert" in tables.learners(given).shown["Method"].tolist()
    assert not any("idle" in column or "Constant" in column for column in tables.summary(given).shown)
    assert set(given.methods["row"]) == {"bc", "gail"}


def test_variants_stand_below_their_method(given):
    axes = figures.variants(given).axes
    labels = [[tick.get_text() for tick in ax.get_yticklabels()] for ax in axes]
    control = "Constant reward, positive"
    assert labels == [[control], [""], ["GAIL", "GAIL, idle expert", control], ["", "", ""]]
    means = given.stratum("Hopper-v5", "gail_idle_expert", 11)["episode_length"].mean()
    strokes = [np.ravel(line.get_xydata()) for line in axes[3].lines if line.get_marker() == "|"]
    assert any(x == means and y > 0.5 for x, y in strokes)


def test_score_far_outside_is_a_triangle_at_the_edge(given):
    learners = given.learners.copy()
    where = (learners["task"] == "Hopper-v5") & (learners["row"] == "bc") & (learners["demonstrations"] == 4)
    learners.loc[where, "score"] = [-7.0, 0.5, 0.6]
    ax = figures.score_against_trajectories(dataclasses.replace(given, learners=learners)).axes[1]
    down = [line for line in ax.lines if line.get_marker() == "v" and points(line)]
    assert {tuple(points(line)) for line in down} == {(figures.LOWEST,)}
    assert ax.get_ylim()[0] < figures.LOWEST


def test_every_figure_has_caption_and_its_data_exist(given):
    for name, plot in figures.plots(given).items():
        assert plot.caption.endswith("."), name
        assert all((given.design.results / file).is_file() for file in plot.data)


@pytest.mark.usefixtures("blanked")
def test_a_profile_with_one_of_everything(tmp_path):
    """One task, seed, method and number of demonstrations: no interval, but a report."""
    path = synthetic.design(
        tmp_path / "paper",
        root="..",
        profile="paper",
        tasks=["Reacher-v5"],
        methods=["my_method"],
        seeds=[7],
        budget={"Reacher-v5": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [3]}},
    )
    synthetic.fill(path)
    collect(load(path))
    text = Page(build.build(inputs.read(path)).read_text()).text
    assert (tmp_path / "reports" / "paper" / "report.html").is_file()
    assert "MY-METHOD on 1 task\n" in text
    assert "--params paper/params.yaml --only learning_curves" in text
    assert "With 1 seed, intervals are rough." in text
    assert "All: interquartile mean" in text
    assert not re.search(r"\bnan\b|\[–|± –", text)


def test_missing_input_is_one_line(tmp_path):
    path = synthetic.design(tmp_path)
    synthetic.fill(path)
    for verb in ("report", "figures"):
        exit_code, out, said = fresh.threefold(ROOT, verb, "--params", str(path))
        assert (exit_code, out) == (2, "")
        assert len(said.splitlines()) == 1
        assert "evaluations.csv: missing" in said
    assert not (tmp_path / "reports").exists()


def test_results_of_another_design_are_refused(tmp_path):
    path = synthetic.design(tmp_path)
    synthetic.fill(path)
    collect(load(path))
    with pytest.raises(InputError, match=r"learners\.csv: lacks InvertedPendulum-v5, bc, 1 demonstrations, seed 3"):
        inputs.read(synthetic.design(tmp_path, seeds=[0, 1, 2, 3]))


@pytest.mark.parametrize("cell", ["cells.InvertedPendulum-v5.bc", "references.Hopper-v5"])
def test_tables_older_than_the_plan_are_refused(tmp_path, cell):
    path = synthetic.design(tmp_path)
    synthetic.fill(path)
    design = load(path)
    collect(design)
    inputs.read(path)
    plan = json.loads(design.plan.read_text())
    kind, task, *row = cell.split(".")
    if row:
        plan[kind][task][row[0]] = dict.fromkeys(plan[kind][task][row[0]], "another")
    else:
        plan[kind][task] = "another"
    design.plan.write_text(json.dumps(plan))
    named = f"{task}/{(*row, 'reference')[0]}"
    with pytest.raises(InputError, match=f"cells.json: {named}: collected before .*run `threefold collect --params"):
        inputs.read(path)


def test_unknown_figure_is_one_line(params):
    exit_code, _, said = fresh.threefold(ROOT, "figures", "--params", str(params), "--only", "learning_curve")
    assert exit_code == 2
    assert said.startswith("error: --only learning_curve: no such figure; choose from score_against_trajectories")
    assert len(said.splitlines()) == 1


def test_labels_of_panels_above_each_other_stand_in_line(tmp_path):
    """Whatever their numbers' widths, and each clear of them."""
    figure = Figure(layout="constrained")
    panels = figure.subplots(3, 2)
    for row, scale in zip(panels, (1.0, 1e3, -1e-3), strict=True):
        row[0].plot([0, scale])
        row[0].set_ylabel("score")
    write(Plot(lambda: figure, "", "", ()), tmp_path, "panels")
    boxes = [row[0].yaxis.label.get_window_extent() for row in panels]
    numbers = [min(text.get_window_extent().x0 for text in row[0].get_yticklabels()) for row in panels]
    assert np.ptp([box.x0 for box in boxes]) < 1  # pixel
    assert max(box.x1 for box in boxes) < min(numbers)
