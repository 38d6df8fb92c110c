"""Evidence written while a metric was defined otherwise: kept byte for byte, verified, shown as now."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

from collapse.lineage.audit.evidence import link_of_folder, runs_table
from collapse.measuring.definitions import history_as_defined_now, with_centred, with_sample_deviations
from collapse.measuring.evidence_files import ABOUT, CONVENTION, TABLES, EvidenceError
from collapse.measuring.evidence_tables import Evidence, read_evidence, require_same_metrics, write_evidence
from collapse.measuring.measurement import measured
from collapse.measuring.results import HISTORY_COLUMNS, MEASURES, RUN_COLUMNS, with_settings
from collapse.metrics.class_statistics import class_statistics, to_arrays
from collapse.metrics.further import CENTRED
from collapse.metrics.neural_collapse import singular_values
from collapse.records.provenance import read_record, write_record
from collapse.study.settings import UNSAID
from collapse.training.pack_files import of_run

SIZES = {"of ten": 10, "of three": 3}
CHANGED = ("NC2n", "NC2Wn")


def statistics(num_classes):
    rng = np.random.default_rng(num_classes)
    found = class_statistics(
        features_ND=rng.normal(size=(60, 8)), labels_N=np.arange(60) % num_classes,
        weight_KD=rng.normal(size=(num_classes, 8)), bias_K=None, test_features=None, test_labels=None,
    )  # fmt: skip
    return to_arrays(found)


@pytest.fixture
def evidence():
    """Two runs of different numbers of classes, as they are measured now; one diverged besides.

    Their first epoch is the initialisation, whose metrics the runs have too.
    """
    arrays = {key: statistics(size) for key, size in SIZES.items()}
    values = {key: measured(found, CONVENTION) for key, found in arrays.items()}
    blank = dict.fromkeys(RUN_COLUMNS, 0.5) | UNSAID | {"status": "done"}
    runs = [blank | {"key": key} | {name: values[key][name] for name in MEASURES} for key in SIZES]
    for run in runs:
        run |= {f"{name}_init": values[run["key"]][name] for name in MEASURES}
    lost = [*MEASURES, *(f"{name}_init" for name in MEASURES)]
    runs.append(blank | {"key": "diverged", "status": "diverged"} | dict.fromkeys(lost, math.nan))
    history = [
        dict.fromkeys(HISTORY_COLUMNS, 0.5) | values[key] | {"key": key, "epoch": epoch}
        for key in SIZES
        for epoch in (0, 1)
    ]
    unknown = dict.fromkeys(MEASURES, math.nan)
    history.append(history[-1] | unknown | {"key": "diverged", "singular_values_M": None})
    tensors = {f"{key}/{name}": torch.tensor(a) for key, found in arrays.items() for name, a in found.items()}
    return Evidence(
        with_settings(pd.DataFrame(runs)[RUN_COLUMNS]), pd.DataFrame(history)[HISTORY_COLUMNS], tensors,
        {key: {"settings": key} for key in SIZES},
    )  # fmt: skip


def earlier(table, history):
    """As it was written when std divided by K, and metrics of centred W were not there."""
    sizes = history.drop_duplicates("key").set_index("key").singular_values_W.map(len)
    shrink = np.sqrt((table.key.map(sizes) - 1) / table.key.map(sizes))
    names = [name for name in table if name.removesuffix("_init") in CHANGED]
    table = table.assign(**{name: table[name] * shrink for name in names})
    return table.drop(columns=[name for name in table if name.removesuffix("_init") in CENTRED])


def write(evidence, folder):
    write_evidence(evidence, folder, study="core", experiment="table_2", missing={})


@pytest.fixture
def old_folder(evidence, tmp_path):
    """Evidence of before the change: other numbers, and about.json says nothing of definitions."""
    runs, history = (earlier(table, evidence.history) for table in evidence[:2])
    write(evidence._replace(runs=runs, history=history), tmp_path)
    about = read_record(tmp_path / ABOUT)
    del about["definitions"]
    write_record(tmp_path / ABOUT, about)
    return tmp_path


def test_evidence_of_before_is_verified_and_shown_as_the_code_defines_it(evidence, old_folder):
    before = {name: (old_folder / name).read_bytes() for name in (ABOUT, *TABLES)}
    found = read_evidence(old_folder)
    require_same_metrics(found)
    not_in_history = ["NC2W_centred", "NC2W_centred_init"]
    for one, other in zip(found[:2], evidence[:2], strict=True):
        assert list(one) == list(other)
        other = other.assign(**dict.fromkeys(set(not_in_history) & set(other), math.nan))
        if "NC2W_centred_init" in other:  # of a run's end they are there, by its class statistics
            other["NC2W_centred"] = evidence.runs.NC2W_centred
        pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-12)
    pd.testing.assert_frame_equal(runs_table(link_of_folder(old_folder)), found.runs)
    assert {name: (old_folder / name).read_bytes() for name in before} == before


def test_evidence_of_before_with_a_wrong_number_is_refused(evidence, old_folder):
    """A value that is right by today's definition alone is not what was measured then."""
    about = read_record(old_folder / ABOUT)
    write(evidence, old_folder)
    new = read_record(old_folder / ABOUT)
    write_record(old_folder / ABOUT, {"runs": about["runs"], "definitions": 1, "sha256": new["sha256"]})
    with pytest.raises(EvidenceError, match=r"NC2n of run of ten is .* by its class statistics"):
        require_same_metrics(read_evidence(old_folder))


def test_evidence_of_now_is_read_as_it_is(evidence, tmp_path):
    write(evidence, tmp_path)
    found = read_evidence(tmp_path)
    require_same_metrics(found)
    for one, other in zip(found[:2], evidence[:2], strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_taken_up_again_the_old_evidence_is_written_as_of_now(old_folder, tmp_path):
    again = tmp_path / "again"
    write(read_evidence(old_folder), again)
    require_same_metrics(read_evidence(again))
    assert read_record(again / ABOUT)["definitions"] == 3


def test_only_what_changed_is_converted(evidence):
    old = with_sample_deviations(evidence.runs, evidence.history)
    same = [name for name in RUN_COLUMNS if name.removesuffix("_init") not in CHANGED]
    pd.testing.assert_frame_equal(old[same], evidence.runs[same])
    assert (old.NC2n[:2] / evidence.runs.NC2n[:2]).tolist() == pytest.approx(
        [math.sqrt(10 / 9), math.sqrt(3 / 2)]
    )


def test_a_history_of_definition_2_gets_its_new_columns_alone(evidence):
    old = evidence.history.drop(columns=list(CENTRED))
    found = history_as_defined_now(old, definitions=2)
    pd.testing.assert_frame_equal(found[list(old)], old)
    assert list(found) == HISTORY_COLUMNS and found.NC2W_centred.isna().all()
    for name in ("gauge_share", "NC3_centred"):
        np.testing.assert_allclose(found[name], evidence.history[name], rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_what_has_no_share_has_none(evidence):
    """W = 0 and an epoch whose features were not looked at; equal rows are row sum alone."""
    ones = np.full(8, 0.3)
    rows = pd.DataFrame(
        {
            "NC0": [0.0, 1.0, 10 * np.linalg.norm(ones)],
            "NC3": [math.nan, math.nan, math.sqrt(2)],
            "singular_values_W": [[0.0] * 10, [1.0] * 10, singular_values(np.tile(ones, (10, 1)))],
        }
    )
    found = with_centred(rows)
    assert found.gauge_share.isna().tolist() == [True, True, False]
    assert found.gauge_share[2] == pytest.approx(1, abs=1e-12) and found.gauge_share[2] <= 1


@pytest.mark.parametrize("about", sorted((ROOT / "evidence").glob("*/*/about.json")), ids=str)
def test_the_evidence_in_git_is_verified_and_has_the_numbers_of_this_code(about):
    """To its last digits the code's own, from the class statistics; what is on the way is as consistent."""
    found = read_evidence(about.parent)
    require_same_metrics(found)
    for run in found.runs[found.runs.status == "done"].to_dict("records"):
        arrays = {name: tensor.numpy() for name, tensor in of_run(found.statistics, run["key"]).items()}
        again = measured(arrays, CONVENTION)
        rows = found.history[found.history.key == run["key"]]
        first, last = rows[rows.epoch == 0].iloc[0], rows[rows.NC2n.notna()].iloc[-1]
        for name in CHANGED:
            assert run[name] == pytest.approx(again[name], rel=1e-9)
            assert run[f"{name}_init"] == pytest.approx(first[name], rel=1e-12)
            assert last[name] == pytest.approx(run[name], rel=1e-6)
        for name in CENTRED:
            assert run[name] == pytest.approx(again[name], rel=1e-12)
        for name in ("gauge_share", "NC3_centred"):
            assert last[name] == pytest.approx(run[name], rel=1e-6)
        assert nc3_of(run) == pytest.approx(run["NC3"], abs=1e-9)


def nc3_of(run):
    """NC3 of what it is without the row sum, and the row sum's share."""
    return math.sqrt(2 - (2 - run["NC3_centred"] ** 2) * math.sqrt(1 - run["gauge_share"]))
