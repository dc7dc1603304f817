"""The report's page: what it says of the numbers, and what it does in a real browser."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests import synthetic
from tests.blank import blank
from tests.browser import browser, needed
from threefold.profile.design import Remark, load
from threefold.report import (
    build,
    contents,
    cost,
    details,
    elsewhere,
    fidelity,
    figures,
    inputs,
    interactive,
    style,
    tables,
)
from threefold.report.chapter import Chapter
from threefold.report.takeaways import takeaways
from threefold.tables import statistics
from threefold.tables.collect import collect

METHODS = ["bc", "gail", "gcl", "ebm_gan", "fem", "gtal"]
VARIANTS = {
    "constant_positive": {"method": "constant", "tasks": ["InvertedPendulum-v5", "Hopper-v5"]},
    "gail_idle_expert": {"method": "gail", "tasks": ["Hopper-v5"], "demonstrations": [4], "expert": "idle"},
    "gcl_no_absorbing": {"method": "gcl", "tasks": ["Hopper-v5"]},
}
REASON = "not finite: </script> & <b>more</b>"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    path = synthetic.design(tmp_path_factory.mktemp("project"), methods=METHODS, variants=VARIANTS)
    folder = synthetic.fill(path)
    synthetic.fail(folder, "Hopper-v5", "gcl", 11, 2, REASON)
    collect(load(path))
    for name in ("worst-gcl-4-2", "expert"):
        video = folder / "videos" / "Hopper-v5" / f"{name}.webp"
        video.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(video)
    return inputs.read(path)


@pytest.fixture(scope="module")
def every(given):
    return contents.every_table(given)


def alone(tmp_path, **changes):
    """A profile of one method on one task."""
    budget = {"Ant-v5": {"env_steps": 1000, "parallel_episodes": 4, "demonstrations": [3]}}
    path = synthetic.design(tmp_path, tasks=["Ant-v5"], methods=["mine"], seeds=[7], budget=budget, **changes)
    synthetic.fill(path)
    collect(load(path))
    return inputs.read(path)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.95 [0.91,\u00a00.98]", 0.95),
        ("−0.13 [−0.20,\u00a00.01]", -0.13),
        ("−3,160 ± 12.0", -3160.0),
        ("0.45 → 0.98", 0.45),
        ("1.5M (2/3)", 1.5e6),
        ("250k", 250e3),
        ("3 (1 failed)", 3.0),
        ("–", ""),
        ("not reached (1/3)", interactive.LAST),
    ],
)
def test_texts_sort_by_their_estimate(text, number):
    assert interactive.order(text) == number


def test_columns_are_of_numbers_of_names_or_of_prose():
    frame = pd.DataFrame(
        {
            "Task": ["a", "a"],
            "Score": ["0.1", "–"],
            "MGAIL": ["n/a", "0.1"],
            "X": ["n/a", "n/a"],
            "Steps": ["1k", cost.NOT_REACHED],
            "Reason": ["x", "x"],
            "Why": ["x", "y"],
            "P": ["a", "b"],
            "Runs": ["−1.2", "0.1, −0.2"],
            "Interval": ["0.1 [0.0,\u00a00.2]", "3 (1 failed, 2 more)"],
        }
    )
    kinds = ["name", "number", "number", "name", "number", "prose", "prose", "", "number list", "number"]
    assert interactive.kinds_of(frame) == kinds


def test_published_cells_are_those_of_the_paper_with_the_verdict_of_the_statistics(given, every):
    data = every["published"].data.set_index(["task", "row", "demonstrations"])
    assert set(data.index) == {
        ("Hopper-v5", row, number) for row in ("bc", "gail", "fem", "gtal") for number in (4, 11)
    }
    for (task, row, number), line in data.iterrows():
        scores = given.stratum(task, row, number)["score"].to_numpy()
        held = statistics.non_inferiority(scores, line["published_score"], tables.MARGIN)
        assert (line["verdict"], line["low"], line["high"]) == (held.verdict, held.low, held.high)
        assert line["env_steps"] == (0 if row == "bc" else 100_000)
        assert line["published_env_steps"] == (0 if row == "bc" else 25_000_000)
    shown = every["published"].shown.set_index(["Method", "Trajectories"])
    assert shown.loc[("GAIL", "4"), "Published steps"] == "25M"
    assert shown.loc[("BC", "4"), "Published steps"] == tables.NONE


def test_cells_that_differ_from_the_paper_are_listed_with_what_explains_them(given, every):
    told = every["published"].data.set_index(["task", "row", "demonstrations"])
    apart = told[(told["high"] < -tables.MARGIN) | (told["low"] > tables.MARGIN)]
    found = every["differences"].data.set_index(["task", "row", "demonstrations"])
    assert 1 < len(found) < len(told)
    assert [*found.index] == [*apart.index]
    assert set(every["differences"].shown["Why"]) == {"not explained yet"}
    first = fidelity.key(*found.index[0])
    remarks = {first: Remark(why="Here {ours}.", evidence="a file")}
    explained = given.design.model_copy(update={"remarks": remarks})
    shown = fidelity.tables(dataclasses.replace(given, design=explained))["differences"].shown
    scores = [tables.score_text(x) for x in given.stratum(*found.index[0])["score"]]
    assert len(scores) == 3
    assert shown["Why"].iloc[0] == f"Here {scores[0]}, {scores[1]} and {scores[2]}."
    assert shown["Evidence"].iloc[0] == "a file"
    assert set(shown["Why"][1:]) == {"not explained yet"}


def test_numbers_of_trajectories_with_one_remark_share_a_line(given):
    remarks = {fidelity.key("Hopper-v5", "bc", number): Remark(why="So.", evidence="a file") for number in (4, 11)}
    learners = given.learners.assign(score=2.0 - 0.01 * given.learners["seed"])  # all above what is published
    explained = dataclasses.replace(
        given, learners=learners, design=given.design.model_copy(update={"remarks": remarks})
    )
    table = fidelity.tables(explained)["differences"]
    assert len(table.data) == 8
    shown = table.shown.set_index("Method")
    assert shown["Trajectories"].to_dict() == dict.fromkeys(["BC", "GAIL", "FEM", "GTAL"], "4, 11")
    assert shown.loc["BC", ["Why", "Evidence"]].tolist() == ["So.", "a file"]
    apart = table.data.set_index("row").loc["bc", "difference"]
    assert shown.loc["BC", "Difference"] == ", ".join(map(tables.score_text, apart))
    assert table.opens["Difference"] == [f"Hopper-v5/{row}" for row in ("bc", "fem", "gtal", "gail")]


def test_the_scatter_has_a_mark_with_its_verdict_for_every_cell(given, every):
    figure = fidelity.scatter(given)
    assert [ax.get_title() for ax in figure.axes] == ["BC", "GAIL", "FEM", "GTAL"]
    marks = {line.get_gid(): line for ax in figure.axes for line in ax.lines if line.get_gid()}
    data = every["published"].data
    assert (
        set(marks)
        == set(fidelity.about(given))
        == {fidelity.key(x.task, x.row, x.demonstrations) for x in data.itertuples()}
    )
    for x in data.itertuples():
        mark = marks[fidelity.key(x.task, x.row, x.demonstrations)]
        ends = np.clip([x.published_score, x.score_mean], fidelity.LOWEST, fidelity.HIGHEST)
        np.testing.assert_allclose(np.ravel(mark.get_xydata()), ends)
        look = fidelity.LOOKS[x.verdict]
        assert (mark.get_marker(), mark.get_fillstyle()) == (look["marker"], look["fillstyle"])
        assert x.verdict in fidelity.about(given)[str(mark.get_gid())]


def test_cost_is_the_median_of_the_first_evaluations_at_the_bar(given, every):
    data = every["cost"].data
    assert len(data) == 2 * 2 * len(METHODS)
    for x in data.itertuples():
        firsts = []
        for learner in given.stratum(x.task, x.row, x.demonstrations).itertuples():
            keys = {"task": x.task, "row": x.row, "demonstrations": x.demonstrations, "seed": learner.seed}
            curve = given.curves[(given.curves[list(keys)] == pd.Series(keys)).all(axis=1)]
            good = curve[curve["score"] >= cost.BAR]["env_steps"]
            firsts.append(good.min() if len(good) and learner.status == "ok" else np.inf)
        assert x.env_steps == sorted(firsts)[1]  # of three
        assert (x.reached, x.learners) == (np.isfinite(firsts).sum(), 3)


def test_cost_says_what_was_not_reached(given):
    curves = given.curves.copy()
    mine = (curves["task"] == "Hopper-v5") & (curves["row"] == "gail") & (curves["demonstrations"] == 11)
    curves.loc[mine, "score"] = 0.1
    curves.loc[mine & (curves["seed"] == 1), "score"] = 0.95
    shown = cost.table(dataclasses.replace(given, curves=curves)).shown.set_index(["Task", "Trajectories"])
    assert shown.loc[("Hopper-v5 (short budget)", "11"), "GAIL"] == "not reached (1/3)"
    curves.loc[mine & (curves["seed"] == 2) & (curves["env_steps"] == 100_000), "score"] = 0.9
    shown = cost.table(dataclasses.replace(given, curves=curves)).shown.set_index(["Task", "Trajectories"])
    assert shown.loc[("Hopper-v5 (short budget)", "11"), "GAIL"] == "100k (2/3)"


def test_seconds_are_the_cores_by_the_sidecars_and_stand_in_the_provenance_alone(given, tmp_path):
    curves = given.curves.assign(score=1.0)
    given = dataclasses.replace(given, curves=curves, design=given.design.model_copy())
    assert cost.times(given).empty
    sidecar = given.design.results / "provenance" / "Hopper-v5" / "gail" / "4_0-1-2.json"
    sidecar.parent.mkdir(parents=True)
    sidecar.write_text(json.dumps({"wall_s": 900.0, "cpu_s": 300.0}))
    try:
        rows = cost.times(given)
    finally:
        sidecar.unlink()
    first = curves[(curves["task"] == "Hopper-v5") & (curves["row"] == "gail")]["env_steps"].min()
    assert rows.to_numpy().tolist() == [
        ["Hopper-v5", "4", "GAIL", style.steps(first), tables.number_text(300.0 * first / 100_000)]
    ]


def test_takeaways_follow_from_the_tables(given, every):
    found = takeaways(given, every)
    assert {one.table for one in found} <= set(every)
    text = "\n".join(one.text for one in found)
    assert not re.search(r"\bnan\b|\binf\b", text)
    returns = every["returns"].data.set_index(["task", "demonstrations", "row"])
    control = returns.loc[("Hopper-v5", 4, "gail_idle_expert")]
    reaches = tables.estimate_text(control["score_mean"], control["score_low"], control["score_high"])
    assert (
        f"GAIL, idle expert, which knows nothing of the expert, scores {reaches} on Hopper-v5 (short budget): "
        "that much needs no imitation."
    ) in text
    counts = every["published"].data["verdict"].value_counts()
    assert f"Of the 8 cells that Ho & Ermon (2016) publish too, held at a margin of {tables.MARGIN}:" in text
    assert all(f"{count} {verdict}" in text for verdict, count in counts.items())


def test_takeaways_count_tasks_from_the_scores(given, every):
    data = every["summary"].data.copy()
    data["score_mean"] = np.where(data["row"] == "gail", 0.93, 0.2)
    data.loc[(data["row"] == "gail") & (data["task"] == "Hopper-v5"), "score_mean"] = 0.97
    data.loc[(data["row"] == "bc") & (data["demonstrations"] == 4), "score_mean"] = (
        1.0  # Pendulum's most, Hopper's fewest
    )
    text = takeaways(given, every | {"summary": every["summary"]._replace(data=data)})[0].text
    assert "of the expert: GAIL 2 (1), BC 1 (1), EBM-GAN 0 (0)" in text


def test_takeaways_rank_only_where_intervals_lie_apart(given, every):
    data = every["aggregate"].data.copy()
    ends = {"gail": (0.8, 0.9), "ebm_gan": (0.85, 0.95), "bc": (0.1, 0.2)}
    data = data[data["row"].isin(ends)]
    for row, (low, high) in ends.items():
        data.loc[data["row"] == row, ["score_iqm", "score_low", "score_high"]] = [(low + high) / 2, low, high]
    texts = [one.text for one in takeaways(given, every | {"aggregate": every["aggregate"]._replace(data=data)})]
    assert any(text.endswith("with 95 % intervals apart: EBM-GAN above BC; GAIL above BC.") for text in texts)
    assert "Intervals overlap, so these are not ranked: EBM-GAN with GAIL." in texts


def test_methods_are_compared_where_both_have_results(given):
    """BC, which has the easy task alone, has the highest mean of all and is below GAIL."""
    easy = given.learners["task"] == "InvertedPendulum-v5"
    score = given.learners["row"].map({"bc": 0.9, "gail": 0.95}).where(easy, 0.3) + 0.001 * given.learners["seed"]
    kept = given.learners["row"].isin(["gail"]) | (given.learners["row"].eq("bc") & easy)
    lacking = dataclasses.replace(given, learners=given.learners.assign(score=score)[kept])
    found = contents.every_table(lacking)
    overall = found["aggregate"].data.query("demonstrations == 'all'").set_index("row")["score_iqm"]
    assert overall["bc"] > overall["gail"]
    assert [one.text for one in takeaways(lacking, found) if one.table == "aggregate"][0] == (
        "Over all tasks and numbers of trajectories that both of two methods have (short budget on 1 of 2 tasks), with "
        "95 % intervals apart: GAIL above BC."
    )
    said = "Methods have results on different tasks and numbers of trajectories (BC 2, GAIL 4)"
    for caption in (found["summary"].caption, found["aggregate"].caption):
        assert said in caption
    assert said not in contents.every_table(given)["summary"].caption


def test_a_variant_is_compared_where_its_method_is_not_left_out(tmp_path):
    variants = {"gail_slow": {"method": "gail", "tasks": ["InvertedPendulum-v5", "Hopper-v5"]}}
    path = synthetic.design(tmp_path, variants=variants, left_out={"Hopper-v5": {"gail": "as a test"}})
    synthetic.fill(path)
    collect(load(path))
    given = inputs.read(path)
    said = [one.text for one in takeaways(given, contents.every_table(given)) if "lie apart" in one.text]
    assert len(said) == 1
    assert said[0].startswith("GAIL, slow and GAIL lie apart: ")
    assert "on InvertedPendulum-v5 from 1" in said[0]
    assert "Hopper-v5" not in said[0]


def test_a_profile_with_little_says_little(tmp_path, monkeypatch):
    blank(monkeypatch)
    given = alone(tmp_path)
    every = contents.every_table(given)
    assert "published" not in every
    assert "published_scores" not in figures.plots(given)
    assert len(takeaways(given, every)) == 1
    assert "#cell=Ant-v5/mine" in build.build(given).read_text()


def test_a_chapter_says_where_it_and_the_paper_differ(tmp_path, monkeypatch):
    blank(monkeypatch)
    chapters = {"one": Chapter("One", "Lead.", {}, dict, lambda: ["0 < 1."]), "two": Chapter("Two", "Lead.", {}, dict)}
    monkeypatch.setattr(build.studies, "chapters", lambda design: chapters)
    monkeypatch.setattr(build.Budgets, "note", lambda self, study: "")
    page = build.build(alone(tmp_path)).read_text()
    assert page.count("<h3>Where this and the paper differ</h3>") == 1
    assert page.index("<h2>One</h2>") < page.index("<li>0 &lt; 1.</li>") < page.index("<h2>Two</h2>")


def test_details_hold_every_learner_and_end_no_script(given):
    text = details.details(given)
    assert "</" not in text
    found = json.loads(text)
    assert set(found["cells"]) == {f"{task}/{row}" for task in given.design.tasks for row in given.design.rows(task)}
    cell = found["cells"]["Hopper-v5/gcl"]
    assert [(one["number"], one["seed"]) for one in cell["learners"]] == [(n, s) for n in (4, 11) for s in (0, 1, 2)]
    assert [one["failed"] for one in cell["learners"]] == [""] * 5 + [REASON]
    assert cell["learners"][5]["lengths"] == []
    final = given.stratum("Hopper-v5", "gcl", 4)["score"]
    assert [one["score"] for one in cell["learners"][:3]] == pytest.approx(final.tolist(), rel=1e-3)
    assert list(cell["training"])[:2] == ["effective_samples", "log_z"]  # what few methods log comes first
    variant = found["cells"]["Hopper-v5/gcl_no_absorbing"]
    assert all(len(one["curve"]) == 3 for one in variant["learners"])
    names = [one["name"] for one in found["videos"]["Hopper-v5"]]
    assert names == ["The expert", "The worst learner: GCL, 4 trajectories, seed 2"]


def test_the_learner_of_a_video_is_told_whatever_its_rows_name(given):
    assert details._of(given, "best-my-own-method-11-2") == "The best learner: MY-OWN-METHOD, 11 trajectories, seed 2"


def test_long_curves_are_thinned_but_keep_their_ends():
    rows = pd.DataFrame({"iteration": np.arange(1000), "value": np.arange(1000.0)})
    kept = details._pairs(rows, "iteration", "value")
    assert len(kept) == details.POINTS
    assert [kept[0], kept[-1]] == [[0, 0.0], [999, 999.0]]


CUT = """[...document.querySelectorAll('body *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth
    && getComputedStyle(e).overflowX !== 'visible').map(e => e.closest('section')?.id + ' ' + e.className)"""
UNREACHABLE = CUT.replace("!== 'visible'", "=== 'hidden'")
BODY = "document.documentElement.scrollWidth - innerWidth"
SHOWN = "[...document.querySelectorAll('#returns tbody tr')].map(row => row.cells[{column}].innerText)"


@pytest.fixture(scope="module")
def page(given):
    with pytest.MonkeyPatch.context() as patch:
        blank(patch, ["pdf"])
        return build.build(given)


@pytest.fixture(scope="module")
def seen():
    with browser() as one:
        yield one


@pytest.fixture
def quiet(seen):
    """A browser in which a test leaves no error on the console and asks no network for anything."""
    seen.problems.clear()
    seen.requests.clear()
    yield seen
    assert seen.problems == []
    assert [address for address in seen.requests if not address.startswith(("file:", "data:", "blob:"))] == []


@needed
def test_the_browser_reports_errors_and_requests(seen, tmp_path):
    """The other tests would see them: a page that writes an error and asks the network for a picture."""
    bad = tmp_path / "bad.html"
    bad.write_text('<script>console.error("x"); null.y</script><img src="https://threefold.invalid/a.png">')
    seen.open(bad)
    assert len(seen.problems) >= 2
    assert "https://threefold.invalid/a.png" in seen.requests


@needed
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1300, 400])
def test_nothing_is_cut_off(quiet, page, width, dark):
    quiet.open(page, width, dark=dark)
    assert quiet.run("document.querySelectorAll('table.dataTable').length") == 14
    assert quiet.run(BODY) <= 0
    assert quiet.run(UNREACHABLE) == []  # what does not fit can be scrolled to
    if width == 1300:
        assert quiet.run(CUT) == []  # and here all of it fits
    light, ink = quiet.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (light, ink)]
    assert (brightness[0] < brightness[1]) == dark


@needed
def test_numbers_sort_as_numbers(quiet, page):
    quiet.open(page)
    for _ in range(2):
        quiet.click("#returns th:nth-child(5)")
        scores = [interactive.order(text) for text in quiet.run(SHOWN.format(column=4))]
        assert len(scores) == 2 * 2 * len(METHODS) + 2 * 2 + 1 + 2
        assert scores in (sorted(scores), sorted(scores, reverse=True))
    assert len(set(scores)) > 10
    quiet.click("#returns th:nth-child(4)")
    texts = quiet.run(SHOWN.format(column=3))
    returns = [float(interactive.order(text)) for text in texts]
    assert returns == sorted(returns)
    assert texts != sorted(texts)  # as text, 1,500 would come before 200


@needed
def test_rows_are_filtered_by_words(quiet, page):
    quiet.open(page)
    quiet.run(
        "(() => { const e = document.querySelector('#returns input[type=search]'); e.value = 'hopper gcl';"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert set(quiet.run(SHOWN.format(column=2))) == {"GCL", "GCL, no absorbing"}
    assert set(quiet.run(SHOWN.format(column=0))) == {"Hopper-v5 (short budget)"}


@needed
def test_the_last_row_of_the_summary_stays_last(quiet, page):
    quiet.open(page)
    quiet.click("#summary th:nth-child(3)")
    rows = quiet.run("[...document.querySelectorAll('#summary tr')].map(row => row.cells[0].innerText)")
    assert rows[-1] == "All: interquartile mean"


@needed
@pytest.mark.parametrize("width", [1300, 400])
def test_a_click_on_a_score_opens_its_cell(quiet, page, width):
    quiet.open(page, width)
    assert not quiet.run("document.getElementById('cell').open")
    quiet.click("#summary a[href='#cell=Hopper-v5/gcl']")
    assert quiet.run("document.getElementById('cell').open")
    text = quiet.run("document.getElementById('cell').innerText")
    assert "GCL on Hopper-v5" in text
    assert f"11 trajectories, seed 2: {REASON}" in text  # as text
    titles = quiet.run("[...document.querySelectorAll('#cell figcaption')].map(e => e.textContent)")
    assert titles[:3] == ["Learning curves", "Lengths of the final episodes", "The expert"]
    assert titles[4:6] == ["effective samples", "log z"]
    first = "document.querySelectorAll('#cell svg')[0]"
    assert quiet.run(f"{first}.querySelectorAll('path[stroke-width]').length") == 6  # learners
    assert quiet.run(f"{first}.innerHTML.includes('NaN')") is False
    assert quiet.run(UNREACHABLE) == []
    assert quiet.run("(e => e.scrollWidth - e.clientWidth)(document.getElementById('cell'))") <= 0
    quiet.click("#cell button")
    assert not quiet.run("document.getElementById('cell').open")
    assert quiet.run("location.hash") == ""


@needed
def test_every_cell_opens_by_its_address(quiet, page, given):
    quiet.open(page)
    for task in given.design.tasks:
        for row in given.design.rows(task):
            quiet.run(f"location.hash = '#cell={task}/{row}'; new Promise(done => setTimeout(done, 30))")
            assert quiet.run("document.querySelector('#cell h3').textContent") == f"{given.label(row)} on {task}"
            assert "NaN" not in quiet.run("document.getElementById('cell').innerHTML")


@needed
def test_a_mark_of_the_scatter_lies_on_the_figure_and_opens_its_cell(quiet, page):
    quiet.open(page)
    spots = quiet.run("[...document.querySelectorAll('#published_scores .spot')].map(e => e.title)")
    assert len(spots) == 8
    assert any(re.match(r"GAIL on Hopper-v5, 4 trajectories: .*, published 1\.01; \S+$", spot) for spot in spots)
    quiet.click("#published_scores .spot[href='#cell=Hopper-v5/bc']")
    assert quiet.run("document.querySelector('#cell h3').textContent") == "BC on Hopper-v5"


def test_what_others_published_stands_beside_ours(given, every):
    """Worked out by hand: `imitation`'s GAIL on Hopper, 1.004 of its expert; nnabla-rl's, 3,586.23 of 3,609.96."""
    found = every["elsewhere"].data.set_index(["source", "task", "method"])
    assert found.loc[("`imitation`'s benchmark", "Hopper-v5", "GAIL"), "share"] == 1.004
    theirs = found.loc[("nnabla-rl", "Hopper-v5", "GAIL")]
    assert theirs["share"] == pytest.approx(3586.23 / 3609.96)
    rows = given.stratum("Hopper-v5", "gail", 4)  # theirs is not known: the fewest
    expert = given.references["expert"]["Hopper-v5"]
    assert theirs["ours"] == pytest.approx(rows["episode_return"].mean() / expert)
    assert theirs["our_trajectories"] == 4
    assert found.loc[("Garg et al. (2021), table 3", "Hopper-v5", "GAIL"), "share"] == pytest.approx(3252.5 / 3532.7)
    nobody = found.loc[("TRIRL's page (MJX)", "Hopper-v5", "TRIRL")]  # no file of that name
    assert nobody["share"] == 0.49
    assert np.isnan(nobody["ours"])
    unknown = found.loc[("DI-engine", "Hopper-v5", "GAIL")]  # no expert is given there
    assert np.isnan(unknown["share"])
    assert unknown["ours"] == theirs["ours"]


def test_others_random_policies_are_subtracted_where_they_are_known():
    """Fu et al. 2018, table 2: on Swimmer AIRL 139.1, random -11.5, expert 141.1."""
    paper = elsewhere.published()
    paper = paper[(paper["source"] == "Fu et al. (2018), table 2") & (paper["task"] == "Swimmer")].set_index("row")
    assert paper.loc["airl", ["mean", "random", "expert"]].tolist() == [139.1, -11.5, 141.1]
    assert sorted(paper.index) == ["airl", "airl_state_only", "gail", "gcl"]
    assert elsewhere.published()[["task", "method", "mean"]].notna().all(axis=None)
