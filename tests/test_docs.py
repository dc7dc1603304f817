"""The documentation: it builds, it is in step with code and results, and what it teaches works."""

import hashlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

import algorithms
import envs
from docs import croissant, docstrings, measured, pages, readme, source
from studies import registry
from tests import fresh, synthetic, test_dvc, test_laws, toy
from tests.blank import blank
from threefold.base.errors import InputError
from threefold.cells import study
from threefold.experts import demonstrate, experts
from threefold.profile import design
from threefold.profile.design import load
from threefold.report import build, inputs
from threefold.tables.collect import collect

ROOT = Path(__file__).parents[1]
LISTING = re.compile(r"^```\{code-block\} python\n:caption: (\S+)\n\n(.+?)^```$", re.MULTILINE | re.DOTALL)


def prose() -> list[Path]:
    """Every page that people write."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def listings(page: str) -> dict[str, str]:
    """The files that a tutorial has, by their paths."""
    return dict(LISTING.findall((ROOT / "docs" / "own" / page).read_text()))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the project with what the tutorials add."""
    folder = tmp_path_factory.mktemp("clone")
    test_dvc.copy(folder)
    for page in ("method.md", "task.md", "study.md"):
        for name, text in listings(page).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
    return folder


def run_tests(arguments):
    """Run pytest, in a process that is there for nothing else, on the tests of its folder."""
    for name in [name for name in sys.modules if re.match(r"(tests\b|conftest$|test_)", name)]:
        del sys.modules[name]
    sys.path = [path for path in sys.path if Path(path).resolve() not in (ROOT, ROOT / "tests")]
    return fresh.command(arguments, "pytest")


QUICKER = {"paper": 20, "quick": 10}  # repeats, of profiles with a study each
REPORT = {  # as `dvc repro` makes it; what it does not link stays
    "reports/quick/report.html": '<a href="#a">a</a> <a href="tables/a.csv">a</a> <a href="provenance.html">how</a>',
    "reports/quick/provenance.html": '<a class="x" href="../../results/quick/cells.json">c</a> <a href="report.html">',
    "reports/quick/tables/a.csv": "a\n",
    "reports/quick/compare/a.csv": "a\n",
    "results/quick/cells.json": "{}",
    "results/quick/training.csv": "x\n",
}


@pytest.fixture(scope="module")
def site(clone):
    """The documentation, with what the tutorials add, built with warnings as errors."""
    for name, text in REPORT.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    arguments = ("-W", "--keep-going", "-q", "docs", "docs/_build/html")
    exit_code, said, wrong = fresh.fresh(clone, fresh.command, arguments, "sphinx.cmd.build")
    assert exit_code == 0, said + wrong
    return clone / "docs" / "_build" / "html"


def test_there_is_a_page_of_every_method_task_and_study(site):
    every = {
        "methods": [*algorithms.names(), "example"],
        "tasks": [*envs.names(), "HumanoidStandup-v5"],
        "studies": [*registry.names(), "weights"],
    }
    for folder, names in every.items():
        for name in names:
            assert (site / folder / f"{name}.html").is_file()
            assert f'href="{name}.html"' in (site / folder / "index.html").read_text()


@pytest.mark.parametrize("name", algorithms.names())
def test_every_constant_stands_on_its_methods_page(site, name):
    page = (site / "methods" / f"{name}.html").read_text()
    for constant in source.of_config(algorithms.load(name).Config()):
        assert f">{constant.name}<" in page.replace('<span class="pre">', ">").replace("</span>", "<")


def test_constants_are_read_with_their_comments():
    found = {constant.name: constant for constant in source.of_config(algorithms.load("airl").Config())}
    assert found["state_only"] == ("state_only", "False", "g(s) instead of g(s, a)")
    assert found["loop.reward_rate"][:2] == ("loop.reward_rate", "0.001")
    assert found["loop.reward_rate"].comment.startswith("at 3e-4 f lags behind log pi")
    assert found["loop.reward_steps"].comment == "steps on the reward per iteration"
    assert found["ppo.max_norm"].comment.startswith("Andrychowicz et al. 2021")
    own = {constant.name: constant for constant in source.of_module(ROOT / "envs" / "hopper.py")}
    assert own["HEALTHY_HEIGHT"] == ("HEALTHY_HEIGHT", "0.7", "m, lower bound")


def test_constants_shared_by_methods_have_their_own_source():
    lines = pages.method("gail").splitlines()
    named = {group: next(line for line in lines if line.startswith(f"`{group}`, ")) for group in ("loop.trpo", "ppo")}
    assert "Schulman et al. 2015, arXiv 1502.05477" in named["loop.trpo"]
    assert "2017" not in named["loop.trpo"]
    assert "Schulman et al. 2017" in named["ppo"]
    assert all(group in pages.grouped(source.of_config(algorithms.load("gail").Config())) for group in named)


@pytest.mark.parametrize("model", ["Design", "Evaluation", "Budget", "Variant", "Wave", "Remark"])
def test_every_key_of_a_profile_is_explained(site, model):
    page = (site / "reference" / "params.html").read_text()
    rows = pages.keys_of(model)
    assert len(rows) == len(getattr(design, model).model_fields) - (model == "Design")  # less the file itself
    for key, default, meaning in rows:
        assert f'<span class="pre">{key.strip("`")}</span>' in page
        assert default
        assert meaning


def test_an_excerpt_has_the_comments_on_and_above_it(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("# above\na:\n  x: {k: 1}\n  # of y\n  y:\n    k: 2  # beside\n\n# below\nb: 3\n")
    assert source.excerpt(path, "a", "y") == "# above\na:\n  # of y\n  y:\n    k: 2  # beside"
    assert source.excerpt(path, "a", "x") == "# above\na:\n  x: {k: 1}"
    assert source.excerpt(path, "a", "z") == ""


def test_a_docstring_is_text_lists_and_blocks():
    said = ["One |x|^2 of `code` and a_.", "Sign: l.", "    loss = a*b", "Departures:", "- one", "  more", "- two"]
    assert docstrings.restructured(said) == [
        r"One \|x\|^2 of \ ``code``\  and a\_.",
        "",
        "Sign: l.",
        "",
        "::",
        "",
        "    loss = a*b",
        "",
        "Departures:",
        "",
        "- one",
        "  more",
        "",
        "- two",
        "",
    ]


@pytest.mark.parametrize("name", algorithms.names())
def test_the_glossary_explains_what_a_method_logs_and_nothing_else(name):
    method, seeds, counts = algorithms.load(name), [5, 2], [4, 6]
    config = test_laws.small(method.Config())
    training = method.train(toy.Puck(seeds, 3), toy.demonstrations(counts), seeds, config)
    logged = {metric for progress in itertools.islice(training, 4) for metric in progress.metrics}
    logged |= {metric for progress in training for metric in progress.metrics} if name == "bc" else set()
    if hasattr(config, "loop"):  # and what the other inner loop logs
        trpo = replace(config, loop=replace(config.loop, inner="trpo"))
        logged |= set(next(method.train(toy.Puck(seeds, 3), toy.demonstrations(counts), seeds, trpo)).metrics)
    every = {"episode_return", "episode_length"}  # of any method's training episodes: `Record.take`
    assert logged | every == set(pages.explained(name))
    assert set(pages.glossary()["methods"]) <= set(algorithms.names())


def test_readme_is_short_and_its_results_are_in_step():
    page = readme.PATH.read_text()
    assert len(page.split()) <= 900
    assert readme.text(page) == page


def test_the_readme_says_which_methods_are_not_run_everywhere():
    columns, mean = ["Task", "BC", "MGAIL", "X"], ["All", "1", "1", "n/a"]
    rows = [["a (short budget)", "1", "n/a", "n/a"], ["b", "4", "1", "n/a"], ["b", "4", "1", "n/a"]]
    assert readme._left_out({"columns": columns, "rows": [*rows, mean]}) == (
        "MGAIL is not run on a; X is not run on a and b."
    )
    assert readme._left_out({"columns": ["Task", "BC"], "rows": [["a", "1"], ["All", "1"]]}) == ""


def test_nothing_is_measured_of_a_profile_that_is_gone():
    assert measured.measured().keys() <= measured.profiles().keys()


@pytest.mark.parametrize("profile", measured.profiles())
def test_measured_results_are_those_of_the_lock_file(profile):
    """On a clone without results too: what a profile's lock file names is what the documentation was made from."""
    shown, params = measured.measured().get(profile), measured.profiles()[profile]
    if shown is None:
        assert not (measured.FOLDER / profile).exists()
    else:
        assert shown["made_from"] == measured.locked(params)
        figures = {plot["name"] for plot in shown["plots"]}
        assert figures == {path.stem for path in (measured.FOLDER / profile).glob("*.png")}


@pytest.mark.parametrize("name", registry.names())
def test_a_studys_page_has_the_paper_profiles_results_where_they_are_shipped(name):
    """And else the quick profile's. They are those of the files that git has, or that the lock file names."""
    shown, folder = measured.studies()[name], measured.FOLDER / measured.STUDIES / name
    shipped = (ROOT / "results" / "paper" / "studies" / name).is_dir()
    assert shown["profile"] == ("paper" if shipped else "quick")
    assert shown["made_from"] == measured.sums(load(measured.profiles()[shown["profile"]]), name)
    assert {plot["name"] for plot in shown["plots"]} == {path.stem for path in folder.glob("*.png")}
    assert max(path.stat().st_size for path in folder.glob("*.png")) < 100_000
    page = pages.study(name)
    assert f"## Measured at the size of the profile {shown['profile']}\n" in page
    assert ("**The size of the profile `paper` is not computed yet.**" in page) != shipped
    assert f"It took {shown['minutes']} minutes of a core" in page
    captions = [one["caption"] for kind in ("plots", "tables") for one in shown[kind]]
    assert page.count(f" Size: that of the profile `{shown['profile']}`.") == len(captions)
    assert all(f"* {difference}\n" in page for difference in shown["differences"])


@pytest.fixture(scope="module")
def reported(tmp_path_factory) -> Path:
    """A project with the made-up results of a profile named quick, collected, reported and locked."""
    folder = tmp_path_factory.mktemp("reported")
    params = synthetic.design(folder, profile="quick")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    synthetic.fill(params)
    collect(load(params))
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        build.build(inputs.read(params))
    paths = [f"results/quick/{name}" for name in measured.COLLECTED]
    outs = [{"path": path, "md5": hashlib.md5((folder / path).read_bytes()).hexdigest()} for path in paths]
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": {"collect": {"outs": outs}}}))
    return params


@pytest.fixture
def project(reported, tmp_path, monkeypatch) -> Path:
    """A copy of it, in the place of this project."""
    shutil.copytree(reported.parent, tmp_path, dirs_exist_ok=True)
    params = tmp_path / reported.name
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    monkeypatch.setattr(measured, "FOLDER", tmp_path / "docs" / "measured")
    monkeypatch.setattr(pages, "designs", lambda: [load(params)])
    return params


def test_results_are_taken_and_shown(project):
    (folder,) = measured.take(project)
    assert (folder / "learning_curves.png").read_bytes()[1:4] == b"PNG"
    shown = measured.measured()["quick"]
    assert set(shown["made_from"]) == {f"results/quick/{name}" for name in measured.COLLECTED}
    page = readme.text("<!-- results: x -->\nold\n<!-- end of results -->\n")
    assert "old" not in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert [row.split(" | ")[0] for row in rows] == ["| Method", "| ---", "| BC", "| GAIL"]
    cautious = "A check of the chain, with too few environment steps per learner to rank methods: Hopper-v5 100k."
    assert f"from the profile `quick`. {cautious}\n" in page
    assert "## Equations" in pages.method("airl")  # of docs/notes
    assert "## From a camera" in pages.study("visual")
    assert "## From a camera" not in pages.study("twin")
    gail, hopper, results = pages.method("gail"), pages.task("Hopper-v5"), pages.render("results", reports=[])
    assert "training_gail.png" in gail
    assert "| Hopper-v5 (short budget) | 4 | GAIL |" in gail
    assert "| Hopper-v5 (short budget) | 4 | BC |" not in gail
    assert "| 4 | BC |" in hopper
    for text, there in ((gail, True), (hopper, True), (pages.method("fem"), False), (pages.task("Swimmer-v5"), False)):
        assert ("No results are shipped yet" not in text) == there  # where a profile has results, and not of this one
    assert all(caption in results for caption in ("### Aggregate", "learning_curves.png", "published", cautious))


def test_studies_are_taken_as_they_are_computed_and_the_papers_before_the_quick_ones(project, monkeypatch):
    sizes = {profile: {"connection": {"energies": 1, "points": [8], "repeats": n}} for profile, n in QUICKER.items()}
    folders = {profile: project.parent / profile for profile in sizes}
    for profile, folder in folders.items():
        (folder / "data").mkdir(parents=True)
        synthetic.design(folder, profile=profile, root="..", studies=sizes[profile] | {"density": None})
    paper, quick = (folder / "params.yaml" for folder in folders.values())
    blank(monkeypatch)
    monkeypatch.setattr(pages, "designs", lambda: [load(quick), load(paper)])

    assert measured.take_studies(quick) == []
    study.run("connection", quick)
    (folder,) = measured.take_studies(quick)
    assert folder == measured.FOLDER / "studies" / "connection"
    assert [*measured.studies()] == ["connection"]
    page = pages.study("connection")
    assert (
        "## Measured at the size of the profile quick\n\n**The size of the profile `paper` is not computed yet.**"
        in page
    )
    assert "![Three claims](../measured/studies/connection/connection_claims.png)" in page

    study.run("connection", paper)
    assert measured.take_studies(paper) == [folder]
    assert measured.take_studies(quick) == []  # the paper's is there
    shown = measured.studies()["connection"]
    results = project.parent / "results" / "paper" / "studies" / "connection"
    assert shown["made_from"] == {
        f"results/paper/studies/connection/{path.name}": hashlib.md5(path.read_bytes()).hexdigest()
        for path in results.iterdir()
    }
    assert "not computed yet" not in pages.study("connection")
    (results / "claims.csv.gz").write_bytes(b"")
    assert shown["made_from"] != measured.sums(load(paper), "connection")
    synthetic.design(paper.parent, profile="paper", root="..", studies=sizes["quick"])
    assert measured.take_studies(paper) == []  # made at another size than is planned now


def test_results_that_are_not_the_lock_files_are_refused(project):
    path = project.parent / "results" / "quick" / "learners.csv"
    path.write_text(path.read_text().replace(",ok,10,", ",ok,11,"))
    with pytest.raises(InputError, match=r"learners\.csv: not what .*dvc\.lock records; run `dvc repro`"):
        measured.take(project)
    assert not (project.parent / "docs").exists()
    (project.parent / "dvc.lock").unlink()
    with pytest.raises(InputError, match=r"dvc\.lock: missing; run `dvc repro`"):
        measured.take(project)


def test_each_bar_of_an_expert_is_shown_with_whether_it_is_reached_itself():
    """MountainCar's expert reaches the bar of the return, and misses that of its score as it draws actions."""
    card = json.loads((ROOT / "data" / "experts" / "MountainCar-v0" / "card.json").read_text())
    assert (card["bars"]["return"]["reached"], card["reached"]) == (True, False)
    page = pages.task("MountainCar-v0")
    assert "| mean return, mean action | −105.34 | at least −110 | yes |" in page
    (drawn,) = (line for line in page.splitlines() if line.startswith(f"| {pages.BARS['stochastic_score']} |"))
    assert drawn.endswith("| 0.925945 | at least 0.95 | no |")
    assert {
        name
        for path in (ROOT / "data" / "experts").glob("*/card.json")
        for name in json.loads(path.read_text())["bars"]
    } <= pages.BARS.keys()


def test_croissant_is_valid_and_in_step_with_the_cards(caplog):
    import mlcroissant  # takes a second, which no other worker of these tests should wait for

    assert croissant.CROISSANT.read_text() == croissant.text(), "run `python -m docs.generate`"
    dataset = mlcroissant.Dataset(jsonld=croissant.CROISSANT)
    assert not dataset.metadata.ctx.issues.errors
    assert not dataset.metadata.ctx.issues.warnings
    assert not caplog.records
    card = json.loads((ROOT / "data" / "demonstrations" / "Hopper-v5" / "card.json").read_text())
    records = list(dataset.records(record_set="Hopper-v5-trajectories"))
    assert [record["Hopper-v5-trajectories/returns"] for record in records] == card["returns"]
    assert {one.name.split("/")[0] for one in dataset.metadata.distribution} == {
        path.parent.name for path in (ROOT / "data" / "demonstrations").glob("*/card.json")
    }


def test_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'version = "{cited["version"]}"' in (ROOT / "pyproject.toml").read_text()
    assert {"cff-version", "message", "title", "authors"} <= set(cited)


def test_every_file_that_the_checklist_names_exists():
    named = re.findall(r"`([\w./<>-]+)`", (ROOT / "CHECKLIST.md").read_text())
    paths = [name for name in named if "/" in name and not re.search(r"<|^(results|reports)/", name)]
    assert len(paths) > 30
    assert [name for name in paths if not (ROOT / name).exists()] == []


def test_every_test_that_the_notes_name_exists():
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    notes = [path.read_text() for path in (ROOT / "docs" / "notes").rglob("*.md")]
    named = {name for note in notes for name in re.findall(r"`(test_\w+)`", note)}
    assert named
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []


def test_links_between_files_lead_somewhere(clone, site):
    """In the copy whose documentation is built, with the pages that it writes itself."""
    broken = []
    for path in prose():
        here = clone / path.parent.relative_to(ROOT)
        if "notes" in path.parts:
            here = clone / "docs" / path.parent.name  # they are part of a page there
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", path.read_text()):
            if not (here / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert not broken


def test_a_page_that_is_not_in_the_repository_is_linked_with_what_is():
    """Who reads a link in a clone is told which file has the same, or that the page is built."""
    pages_of_people, made, alone = set(prose()), 0, []
    for path in sorted(pages_of_people):
        here, text = path.parent, path.read_text()
        if "notes" in path.parts:
            here = ROOT / "docs" / path.parent.name  # they are part of a page there
        for block in text.split("\n\n"):
            linked = [here / target for target in re.findall(r"\]\(([^)#:\s]+\.md)\b", block)]
            strange = [page for page in linked if Path(os.path.normpath(page)) not in pages_of_people]
            files = [name for name in re.findall(r"`([\w.]+/[\w./]+)`", block) if (ROOT / name).exists()]
            made += len(strange)
            if strange and not files and "built documentation" not in text:
                alone.append(f"{path.relative_to(ROOT)}: {strange}")
    assert made > 5
    assert not alone


def test_reports_that_are_made_are_published_and_linked_with_all_that_they_link(site):
    assert '<a href="reports/quick/report.html">The report of quick</a>' in (site / "results.html").read_text()
    published = {name for name in REPORT if (site / name).exists()}
    assert published == {*REPORT} - {"reports/quick/compare/a.csv", "results/quick/training.csv"}
    assert (site / "results" / "quick" / "cells.json").read_text() == "{}"


def test_every_command_that_the_pages_show_exists():
    verbs, seen = pages.verbs(), 0
    for path in prose():
        for words in re.findall(r"^\s*(?:python -m )?threefold ([^#\n`]+)", path.read_text(), re.MULTILINE):
            typed = words.split()
            if typed[0].startswith("-"):
                continue
            verb = next((name for name in (" ".join(typed[:2]), typed[0]) if name in verbs), None)
            assert verb, f"{path.name}: threefold {words}"
            known = {option for parameter in verbs[verb].params for option in parameter.opts}
            assert {word for word in typed if word.startswith("--")} <= known, f"{path.name}: threefold {words}"
            seen += 1
    assert seen > 10


def test_continuous_integration_runs_the_readmes_command_with_pinned_actions():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "python -m pip install tox && python -m tox -e test\n" in workflow
    assert "python -m pip install tox && python -m tox -e test " in readme.PATH.read_text()
    quick, docs = (workflow.index(f"tox -e {name}\n") for name in ("quick", "docs"))
    assert quick < docs < workflow.index("path: docs/_build/html\n")
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used)


@pytest.mark.slow
def test_the_tutorials_method_obeys_the_laws_and_its_task_equals_gymnasiums(clone):
    files = [f"tests/test_{name}.py" for name in ("laws", "envs", "envs_gymnasium")]
    arguments = ("-q", "-rA", *files, "-k", "example or HumanoidStandup")
    exit_code, said, wrong = fresh.fresh(clone, run_tests, arguments)
    assert exit_code == 0, said + wrong
    passed = re.findall(r"^PASSED (\S+)", said, re.MULTILINE)
    assert all(any(file in one for one in passed) for file in files)


def test_the_tutorials_expert_and_demonstrations_may_be_written_so(tmp_path):
    page = (ROOT / "docs" / "own" / "task.md").read_text()
    (rows,) = re.findall(r"```yaml\n(experts:.+?)```", page, re.DOTALL)
    path = tmp_path / "params.yaml"
    path.write_text(rows)
    assert experts.read_design(path, "HumanoidStandup-v5").required_return == 100000
    assert demonstrate.Design(**yaml.safe_load(rows)["demonstrations"]["HumanoidStandup-v5"]).whole


@pytest.mark.slow
def test_the_tutorials_study_runs_and_has_a_chapter(clone):
    page = (ROOT / "docs" / "own" / "study.md").read_text()
    (size,) = re.findall(r"```yaml\n(studies:.+?)```", page, re.DOTALL)
    (clone / "params.yaml").write_text(yaml.safe_dump(test_dvc.PARAMS | yaml.safe_load(size)))
    for command in (["plan"], ["study", "weights"], ["figures", "--only", "weights_share"]):
        exit_code, _, said = fresh.threefold(clone, *command)
        assert exit_code == 0, said
    assert (clone / "reports" / "quick" / "figures" / "weights_share.png").is_file()
    shares = list(pd.read_csv(clone / "results" / "quick" / "studies" / "weights" / "shares.csv.gz")["share"])
    assert shares == sorted(shares, reverse=True)
    assert 0.75 < shares[0] < 0.82  # exp(-0.25) = 0.779


def test_mathematics_is_drawn_without_a_script(site):
    page = (site / "methods" / "gail.html").read_text()
    assert "<math " in page
    assert not re.search(r"<script[^>]*mathjax", page, re.IGNORECASE)
