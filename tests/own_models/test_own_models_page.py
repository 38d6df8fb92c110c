"""docs/own-models.md and docs/metrics.md: what their code prints, and what their numbers are."""

import re
import sys
from types import ModuleType, SimpleNamespace

import pytest
from conftest import ROOT
from metrics_page import PAGE, written
from small_models import data, loader, mlp

from collapse.datasets.torchvision_import import torchvision

TEXT = (ROOT / "docs/own-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def stand_in(name, **parts):
    """A module that is no dependency of the project, of which an example needs a base class."""
    module = ModuleType(name)
    vars(module).update(parts)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Every block of Python, run in order: the names they leave, and (code, printed) of each."""
    patch = pytest.MonkeyPatch()
    patch.chdir(tmp_path_factory.mktemp("page"))
    pl = stand_in("lightning.pytorch", Callback=object)
    for module in (
        stand_in("lightning", pytorch=pl), pl, stand_in("transformers", TrainerCallback=object),
    ):  # fmt: skip
        patch.setitem(sys.modules, module.__name__, module)
    assert torchvision.models  # imported so, it works beside any torch
    names = {"model": mlp(), "train_loader": loader(*data()), "test_loader": loader(*data(80, seed=1))}
    shown = []
    for kind, code in BLOCKS:
        if kind == "text":
            shown[-1] += (code,)
            continue
        printed = []
        names["print"] = lambda *values, to=printed: to.append(" ".join(map(str, values)))
        exec(compile(code, "docs/own-models.md", "exec"), names)
        shown.append((code, "\n".join(printed)))
    yield names, shown
    patch.undo()


def test_the_page_prints_what_it_says(page):
    """The same words, and numbers to what another processor may round in a training."""
    compared = 0
    for _, printed, *said in page[1]:
        for text in said:
            words, wanted = printed.split(), text.split()
            assert len(words) == len(wanted)
            for word, want in zip(words, wanted, strict=True):
                number = re.fullmatch(r"-?[\d.]+", want)
                assert float(word) == pytest.approx(float(want), rel=0.02) if number else word == want
                compared += 1
    assert compared > 40


def test_it_begins_with_the_call(page):
    code, printed = page[1][0]
    assert code == "import collapse\n\nprint(collapse.measure(model, train_loader, test_loader))\n"
    assert printed.startswith("metric ") and "NC4" in printed


def test_the_layer_and_the_rows_are_as_described(page):
    names, _ = page
    assert '# "4", the name of the layer' in TEXT and names["found"].head == "fc"
    frame = names["history"].to_frame()
    assert frame.epoch.tolist() == [7] and frame.NC1.notna().all()
    due = [epoch for epoch in range(101) if names["history"].is_due(epoch)]
    assert due == [0, 50, 100]


def test_the_callbacks_of_lightning_and_hugging_face(page, monkeypatch):
    """Driven by hand: neither is a dependency."""
    names, _ = page
    model, logged = mlp(), {}
    trainer = SimpleNamespace(train_dataloader=loader(*data()), val_dataloaders=None, current_epoch=0)
    monkeypatch.setattr(model, "log_dict", logged.update, raising=False)
    callback = names["Collapse"]()
    callback.on_train_start(trainer, model)
    callback.on_train_epoch_end(trainer, model)
    assert logged["NC1"] > 0 and logged["NC0"] > 0 and "singular_values_W" not in logged
    assert callback.history.rows[0]["epoch"] == 1

    hugging_face = names["CollapseCallback"]()
    for epoch in (1.0, 2.0, 3.0):
        hugging_face.on_epoch_end(
            None, SimpleNamespace(epoch=epoch), None, model=model, train_dataloader=loader(*data()),
            processing_class=None,
        )  # fmt: skip
    assert hugging_face.history.to_frame().NC1.notna().tolist() == [True, True, False]


def test_the_tables_of_the_metrics_page_are_those_of_this_code():
    text = PAGE.read_text(encoding="utf-8")
    assert written(text) == text, "python tests/metrics_page.py writes them"
