"""`collapse lineage`: a cell of a table to its dataset, and a changed byte found where it is."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from tiny_study import snakemake

from collapse.commands.main import main
from collapse.lineage.audit import cells
from collapse.lineage.audit.cells import AuditError, find_row
from collapse.records.provenance import read_record, sha256, write_record
from collapse.study.runs import PROTOCOL

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("workflow")]
TABLE = "results/tiny/tables/table_2.csv"
CELL = ["--row", "Adam", "--column", "NC3"]
CHAIN = ["table", "run table", "metrics", "class statistics", "checkpoint", "dataset"]


@pytest.fixture
def study(finished, tmp_path, monkeypatch):
    """A plain copy of the results somewhere else, without Snakemake's records and params.yaml."""
    shutil.copytree(finished / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lineage(capsys, *arguments):
    """Exit status, what --json says, and the lines on stderr."""
    status = main(["lineage", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out or "null"), captured.err.splitlines()


def pack_of(optimizer):
    return next(Path("results/tiny/packs").glob(f"ResNet9-Fake-{optimizer}-*"))


def flip(file):
    """Change one bit in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def broken_links(found):
    return [link["link"] for link in found["links"] if link["problems"]]


def test_a_cell_is_followed_to_its_dataset(study, capsys):
    status, found, errors = lineage(capsys, TABLE, *CELL)
    assert status == 0 and found["verified"] and not errors
    assert [link["link"] for link in found["links"]] == CHAIN
    assert {file["state"] for link in found["links"] for file in link["files"]} == {"ok"}
    assert sum(len(link["files"]) for link in found["links"]) == 10
    table = pd.read_csv(TABLE).set_index("optimizer")
    assert float(found["subject"]["value"]) == table.NC3["Adam"] == found["metric"]["of_run"]
    assert found["metric"]["convention"] == "reported" and "W / ||W||_F" in found["metric"]["is"]
    run = found["run"]
    assert (run["key"], run["optimizer"], run["seed"]) == (table.key["Adam"], "Adam", 3141)
    assert (
        (run["status"], run["threads"], run["protocol"]) == ("done", 1, PROTOCOL)
        and run["code"]
        and run["commit"]
    )
    assert [job["rule"] for job in found["jobs"]] == [
        "table_2", "collect", "measure", "extract_statistics", "train", "prepare_dataset",
    ]  # fmt: skip
    assert all(job["same_code_here"] for job in found["jobs"])


def test_the_same_for_the_eye(study, capsys):
    assert main(["lineage", TABLE, *CELL]) == 0
    text = capsys.readouterr().out
    order = [*CHAIN[:-1], "run", "dataset", "code", "environment", "jobs"]
    labels = [line[:18].strip() for line in text.splitlines() if line[:1].strip()]
    assert labels[:-1] == ["cell", *order] and "verified: all 10 files" in text
    for words in (
        "learning_rate 0.003",
        "seed 3141",
        "done; 6 epochs",
        "trained by code ",
        "Python 3",
        "commit ",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("file", "link"),
    [
        (TABLE, "table"),
        ("results/tiny/runs.parquet", "run table"),
        ("metrics.parquet", "metrics"),
        ("class_statistics.safetensors", "class statistics"),
        ("weights.safetensors", "checkpoint"),
        ("trajectory.safetensors", "checkpoint"),
        ("outcomes.parquet", "checkpoint"),
        ("results/tiny/datasets/Fake.safetensors", "dataset"),
        ("results/tiny/lineage/table_2.json", "table"),
        ("results/tiny/lineage/prepare_dataset/Fake.json", "dataset"),
    ],
)
def test_a_changed_byte_breaks_its_link_and_no_other(study, capsys, file, link):
    path = Path(file) if "/" in file else pack_of("Adam") / file
    flip(path)
    status, found, errors = lineage(capsys, TABLE, *CELL)
    assert status == 1 and not found["verified"]
    assert broken_links(found) == [link]
    assert len(errors) == 1 and f"broken at {link}: {path}" in errors[0]
    assert main(["lineage", TABLE, *CELL]) == 1
    text = capsys.readouterr().out
    assert "BROKEN" in text and "NOT verified" in text
    assert "learning_rate 0.003" in text or link == "table", "the run is still followed"


def test_a_changed_key_of_a_table_is_a_broken_link_and_no_bad_input(study, capsys):
    table = Path(TABLE)
    key = pd.read_csv(TABLE).set_index("optimizer").key["Adam"]
    table.write_text(table.read_text().replace(key, "0123456789ab"))
    for arguments in ([TABLE, *CELL], [TABLE]):
        status, found, errors = lineage(capsys, *arguments)
        assert status == 1 and broken_links(found) == ["table"] and len(errors) == 1


def test_an_optimizer_without_a_run_ends_at_the_run_table(study, capsys):
    status, found, _ = lineage(capsys, TABLE, "--row", "Signum", "--column", "NC3")
    assert status == 0 and found["runs"] == [] and found["subject"]["value"] == ""
    assert [link["link"] for link in found["links"]] == CHAIN[:2]
    assert main(["lineage", TABLE, "--row", "Signum", "--column", "NC3"]) == 0
    assert "empty (no run of Signum in this study)" in capsys.readouterr().out


def test_a_byte_of_another_pack_does_not_matter_to_a_cell_but_to_the_table(study, capsys):
    flip(pack_of("SGD") / "weights.safetensors")
    assert lineage(capsys, TABLE, *CELL)[0] == 0
    status, found, _ = lineage(capsys, TABLE)
    assert status == 1 and broken_links(found) == ["checkpoint"]
    assert len(found["runs"]) == 4 and found["run"] is None


def test_a_missing_record_and_a_missing_file_are_said(study, capsys):
    record = Path("results/tiny/lineage/measure") / f"{pack_of('Adam').name}.json"
    record.unlink()
    status, found, errors = lineage(capsys, TABLE, *CELL)
    assert status == 1 and broken_links(found) == []
    assert errors == [f"collapse: not verified at metrics: no record {record}; made by an older version"]
    assert found["links"][2]["files"][0]["state"] == "ok", "collect recorded what it read"
    (pack_of("Adam") / "weights.safetensors").unlink()
    status, found, errors = lineage(capsys, TABLE, *CELL)
    assert status == 1 and broken_links(found) == ["checkpoint"]
    assert "weights.safetensors: no such file (and 1 more)" in errors[0]


def test_results_of_an_older_version_say_so_and_still_name_the_run(study, capsys):
    shutil.rmtree("results/tiny/lineage")
    assert main(["lineage", TABLE, *CELL]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("no record results/") == 2 * len(CHAIN) and "BROKEN" not in captured.out
    assert "learning_rate 0.003" in captured.out and "done; 6 epochs" in captured.out
    for what in ("figures/figure_6.pdf", "tables/table_1.html", "tables/table_4.csv", "runs.parquet"):
        assert lineage(capsys, f"results/tiny/{what}")[0] == 1


def test_a_network_trained_again_without_what_follows_is_noticed(study, capsys):
    record = Path("results/tiny/lineage/train") / f"{pack_of('Adam').name}.json"
    weights, content = pack_of("Adam") / "weights.safetensors", read_record(record)
    flip(weights)
    for entry in content["outputs"]:
        entry["sha256"] = sha256(study / "results/tiny" / entry["file"])
    write_record(record, content)
    status, found, errors = lineage(capsys, TABLE, *CELL)
    assert status == 1 and broken_links(found) == ["class statistics"]
    assert f"made from another version of {weights}" in errors[0]


def test_a_figure_its_runs_and_one_of_them(study, capsys):
    for suffix in ("pdf", "png"):
        status, found, _ = lineage(capsys, f"results/tiny/figures/figure_6.{suffix}")
        assert status == 0 and [link["link"] for link in found["links"]][:2] == ["figure", "run table"]
        runs = pd.read_parquet("results/tiny/runs.parquet")
        assert set(found["runs"]) == set(runs[runs.experiment == "table_2"].key)
    assert main(["lineage", "results/tiny/figures/figure_6.pdf"]) == 0
    assert f"{len(found['runs'])} runs; --row KEY follows one" in capsys.readouterr().out
    one = found["runs"][0]
    status, found, _ = lineage(capsys, "results/tiny/figures/figure_6.pdf", "--row", one)
    assert status == 0 and found["run"]["key"] == one
    diverged = runs[runs.status == "diverged"].key.iloc[0]
    assert lineage(capsys, "results/tiny/figures/figure_6.pdf", "--row", diverged)[0] == 2


@pytest.mark.parametrize(
    ("what", "first", "files"),
    [
        ("results/tiny/runs.parquet", "run table", 1),
        ("results/tiny/history.parquet", "run table", 1),
        ("results/tiny/depth.parquet", "depth table", 1),
        ("results/tiny/figures/figure_105.pdf", "figure", 1),
        ("results/tiny/tables/table_2.md", "table", 2),
        ("results/tiny/tables/table_4.html", "table", 2),
        ("results/tiny/tables/claims.csv", "table", 1),
        ("results/tiny/tables/comparison.csv", "table", 2),
        ("results/tiny/summary.html", "page", 1),
        ("results/tiny/tables/table_1.csv", "table", 1),
        ("results/tiny/tables/table_102.csv", "table", 1),
        ("results/tiny/figures/theory.pdf", "figure", 1),
        ("results/tiny/datasets/Fake.safetensors", "dataset", 1),
    ],
)
def test_every_kind_of_file(study, capsys, what, first, files):
    status, found, errors = lineage(capsys, what)
    assert status == 0 and not errors
    assert found["links"][0]["link"] == first and len(found["links"][0]["files"]) == files
    with_runs = not any(name in what for name in ("table_1", "theory", "datasets"))
    assert (found["links"][-1]["link"] == "dataset" and len(found["runs"]) > 0) == with_runs


def test_a_figure_of_depth_to_the_networks_and_the_dataset(study, capsys):
    figure = "results/tiny/figures/figure_105.png"
    status, found, _ = lineage(capsys, figure)
    packs = ["depth"] * 2
    assert status == 0 and len(found["runs"]) == 2
    assert [link["link"] for link in found["links"]][:4] == ["figure", "depth table", *packs]
    assert {"checkpoint", "dataset"} <= {link["link"] for link in found["links"]}
    assert lineage(capsys, "results/tiny/depth.parquet")[1]["runs"] == found["runs"]
    measured = pack_of("AdamW") / "depth.parquet"
    status, found, _ = lineage(capsys, measured)
    assert status == 0 and [link["link"] for link in found["links"]] == ["depth", "checkpoint", "dataset"]
    flip(measured)
    status, found, errors = lineage(capsys, figure)
    assert status == 1 and broken_links(found) == ["depth"] and str(measured) in errors[0]


def test_a_file_of_a_pack(study, capsys):
    status, found, _ = lineage(capsys, pack_of("SGD") / "class_statistics.safetensors")
    assert status == 0 and [link["link"] for link in found["links"]] == CHAIN[3:]


def test_a_run_by_its_key_here_and_in_several_studies(study, capsys):
    runs = pd.read_parquet("results/tiny/runs.parquet")
    diverged = runs[runs.status == "diverged"].iloc[0]
    status, found, _ = lineage(capsys, diverged.key)
    assert status == 0 and [link["link"] for link in found["links"]] == CHAIN[1:]
    assert found["run"]["status"] == "diverged" and "not finite" in found["run"]["reason"]
    shutil.copytree("results/tiny", "results/other")
    status, _, errors = lineage(capsys, diverged.key)
    assert status == 2 and "several studies: other, tiny" in errors[0] and "--study" in errors[0]
    status, found, _ = lineage(capsys, diverged.key, "--study", "other")
    assert status == 0 and found["subject"]["study"] == "other", "a study's folder may be renamed"


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["results/tiny/tables/absent.csv"], "absent.csv: neither a file nor the key of a run"),
        (["0123456789ab"], "no run 0123456789ab in results/tiny"),
        (["0123456789ab", "--study", "absent"], "absent"),
        ([TABLE, "--row", "Adagrad"], "no row has Adagrad; the first column has SGD, SGDW"),
        ([TABLE, "--row", "Adam", "--column", "NC9"], "no column NC9; it has optimizer, NC0"),
        ([TABLE, "--column", "NC3"], "--column needs --row"),
        (["results/tiny/figures/figure_6.pdf", "--column", "NC3"], "--column needs a table"),
        (["results/tiny/tables/table_4.csv", "--row", "ResNet9"], "rows have ResNet9"),
        (["outside.csv"], "not among the results of a study"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(study, capsys, arguments, wanted):
    Path("outside.csv").write_text("a\n1\n")
    status, found, errors = lineage(capsys, *arguments)
    assert status == 2 and found is None
    assert len(errors) == 1 and wanted in errors[0]


def test_no_record_reruns_nothing(finished, tmp_path):
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)  # as deep: see fixture `study` of test_workflow
    shutil.rmtree(tmp_path / "results/tiny/lineage")
    planned = snakemake(tmp_path, "--dry-run")
    assert "Nothing to be done" in planned.stdout + planned.stderr


def test_rows_are_found_by_their_first_cells():
    table = pd.DataFrame({"lr": ["0.001", "0.01"], "n": ["3", "0.001"], "name": ["a", "a"]})
    where = {"file": Path("t.csv")}
    assert find_row(table, ["1e-3"], **where)["n"] == "3"
    assert find_row(table, ["0.01", "a"], **where)["n"] == "0.001"
    with pytest.raises(AuditError, match="2 rows have a"):
        find_row(table, ["a"], **where)


def test_a_column_may_have_its_own_run():
    row = pd.Series({"NC1": "3", "NC1_key": "a b", "key": "c"})
    assert cells.keys_of_row(row, column="NC1") == ["a", "b"]
    assert cells.keys_of_row(row, column="NC2") == ["c"]
    assert cells.keys_of_table(pd.DataFrame({"n": ["1"]})) is None
