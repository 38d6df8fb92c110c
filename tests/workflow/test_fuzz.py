"""No traceback reaches the user for bad input: hypothesis looks for one."""

import contextlib
import copy
import io

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tiny_study import save_parameters

from collapse.commands.main import main
from collapse.metrics.conventions import CONVENTIONS
from collapse.paper.comparison.paper_scale import paper_scale
from collapse.paper.scale import face_note, scale_notes, target_note
from collapse.paper.target_checks import check_targets
from collapse.paper.targets import (
    aliases_of,
    lacking_of,
    target_settings,
    targets_of,
)
from collapse.study.parameters import ParameterError, load_parameters
from collapse.study.runs import run_table, runs_by_pack, valid_accuracies

FEW = settings(
    max_examples=120,
    deadline=None,  # a noisy machine is no failure
    derandomize=True,  # CI tries what a developer tried
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NAMES = st.sampled_from(
    ["ResNet9", "VGG9", "UFM", "ViT", "MNIST", "Digits", "Indices", "ImageNet", "SGD", "AdamW",
     "AdamInterpolated", "thirds", "crop_flip", "demo", "paper", "grid", "table_2", "figure_1", "NC0",
     "momentum"]
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 200), st.integers(), st.floats(), st.sampled_from([0, 1, 0.5, 0.999, 1e308, 5e-324])
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, NAMES, st.text(max_size=8), st.dates())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMES, st.text(max_size=5)), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def small():
    """params.yaml with two small studies and a few targets, to be read quickly."""
    parameters = load_parameters(ROOT / "params.yaml")
    studies = parameters["studies"]
    for study in ("demo", "paper"):
        kept = ("table_2", "momentum_heatmap", "interpolation")
        experiments = studies[study]["experiments"]
        studies[study]["experiments"] = {name: experiments[name] for name in kept}
    parameters["studies"] = {name: studies[name] for name in ("demo", "paper")}
    kept = ("figure_5", "figure_6", "figure_8", "figure_2", "figure_10")
    parameters["figures"] = {name: parameters["figures"][name] for name in kept}
    parameters["tables"] = {"table_2": parameters["tables"]["table_2"]}
    parameters["shared"] = {}
    parameters["figures"]["figure_2"]["settings"]["experiment"] = "table_2"
    named = ("claims", "comparison")
    parameters["analysis"] = {name: parameters["analysis"][name] for name in named}
    for target in parameters["analysis"].values():
        experiments = target["settings"]["experiments"]
        target["settings"]["experiments"] = {
            name: ["table_2"] if isinstance(value, list) else "table_2" for name, value in experiments.items()
        }
    return parameters


def read_as_the_workflow_does(file):
    """Every function of the library that the Snakefile calls before it has a job."""
    parameters = load_parameters(file)
    check_targets(parameters)
    study = parameters["study"]
    table = run_table(parameters, study)
    runs_by_pack(table)
    valid_accuracies(parameters, study)
    lacking_of(parameters, study)
    face_note(scale_notes(parameters, study))
    paper_scale(parameters, study)
    for kind in ("tables", "figures"):
        aliases_of(parameters, study, kind)
        for target in targets_of(parameters, study, kind).values():
            target_settings(parameters, study, target["settings"])
            target_note(parameters, study, target["settings"])
    return table


def refused_in_one_line(file):
    """Whether the file was refused; any other error than one line about it is a failure."""
    try:
        read_as_the_workflow_does(file)
    except ParameterError as error:
        assert str(error).strip() and "\n" not in str(error), str(error)
        return True
    return False


def places(value, path=()):
    """Every place in nested mappings and lists, the branches too."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def spoilt(draw, parameters):
    """The parameters with one to three places removed, renamed or given another value."""
    changed = copy.deepcopy(parameters)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(list(places(changed))))
        parent = changed
        for key in above:
            parent = parent[key]
        match draw(st.sampled_from(["value", "value", "value", "remove", "rename", "add"])):
            case "value":
                parent[last] = draw(VALUES)
            case "remove":
                del parent[last]
            case "rename" if isinstance(parent, dict):
                parent[draw(st.one_of(NAMES, st.text(max_size=6)))] = parent.pop(last)
            case _:
                new = draw(VALUES)
                parent.append(new) if isinstance(parent, list) else parent.update({draw(NAMES): new})
    return changed


def test_the_small_file_is_good(small, tmp_path):
    save_parameters(small, tmp_path)
    assert not refused_in_one_line(tmp_path / "params.yaml")


@FEW
@given(data=st.data())
def test_a_spoilt_params_yaml_is_refused_in_one_line_or_works(small, tmp_path, data):
    save_parameters(data.draw(spoilt(small)), tmp_path)
    refused_in_one_line(tmp_path / "params.yaml")


@FEW
@given(data=st.data())
def test_a_params_yaml_of_other_bytes_is_refused_in_one_line_or_works(small, tmp_path, data):
    save_parameters({**small, "figures": {}, "tables": {}}, tmp_path)
    file = tmp_path / data.draw(st.sampled_from(["params.yaml", "targets.yaml"]))
    text = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        text[start : start + data.draw(st.integers(0, 12))] = data.draw(
            st.one_of(
                st.binary(max_size=6), st.text("{}[]:,&*!|>-?#'\"%@`\n\t 0e", max_size=6).map(str.encode)
            )
        )
    file.write_bytes(text)
    refused_in_one_line(tmp_path / "params.yaml")


DTYPES = st.sampled_from(["f4", "f8", ">f8", "f2", "i8", "i2", "u1", "?", "c8", "U3", "S2", "M8[s]"])
SHAPES = st.one_of(
    st.sampled_from([(20, 3), (20,), (4, 3), (4,)]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=20),
)
ANY_ARRAY = st.tuples(DTYPES, SHAPES).flatmap(lambda what: arrays.arrays(*what))


def good_arrays():
    rng = np.random.default_rng(0)
    return {
        "features": rng.normal(size=(20, 3)),
        "labels": np.arange(20) % 4,
        "weight": rng.normal(size=(4, 3)),
        "bias": rng.normal(size=4),
        "test_features": rng.normal(size=(20, 3)),
        "test_labels": np.arange(20) % 4,
    }


def measured(file, *arguments):
    """Exit status and what is printed, of `collapse measure FILE`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["measure", str(file), *arguments])
    return status, out.getvalue(), err.getvalue()


def assert_said_in_one_line(file, *arguments):
    status, out, err = measured(file, *arguments)
    assert status in (0, 2) and "Traceback" not in err
    if status == 2:
        assert not out and err.startswith(f"collapse measure: {file}: ") and err.count("\n") == 1


@FEW
@given(data=st.data())
def test_any_arrays_are_measured_or_refused_in_one_line(tmp_path, data):
    content = good_arrays()
    for name in data.draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=2, unique=True)):
        how = data.draw(st.sampled_from(["any", "scaled", "one value", "absent"]))
        if how == "any":
            content[name] = data.draw(ANY_ARRAY)
        elif how == "scaled":
            with np.errstate(all="ignore"):
                content[name] = content[name] * data.draw(st.floats())
        elif how == "one value":
            content[name] = content[name].astype("f8")
            content[name].flat[0] = data.draw(st.floats())
        else:
            del content[name]
    file = tmp_path / "features.npz"
    with np.errstate(all="ignore"):
        np.savez(file, **content)
    assert_said_in_one_line(file, "--json", "--convention", data.draw(st.sampled_from(sorted(CONVENTIONS))))


@FEW
@given(data=st.data())
def test_any_bytes_are_measured_or_refused_in_one_line(tmp_path, data):
    whole = io.BytesIO()
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(whole, **good_arrays())
    content = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        content[start : start + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=8))
    file = tmp_path / "features.npz"
    file.write_bytes(content)
    assert_said_in_one_line(file)
