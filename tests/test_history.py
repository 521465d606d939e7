"""What `fit` gives: a dict as ever, and a table to look at."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidiff as md
from minidiff import ops, optim
from minidiff.training import Trainer
from minidiff.training.history import History

losses = st.lists(st.floats(1e-6, 1e6), max_size=40)


@given(training=losses, validation=losses)
def test_each_line_is_an_epoch_and_each_column_has_its_losses(training, validation):
    history = History(training=training, validation=validation)
    epochs = max(len(training), len(validation))
    if epochs == 0:
        assert repr(history) == "History(no epoch yet)"
        return
    head, *lines = repr(history).splitlines()
    names = [name for name in history if history[name]]
    assert head.split() == ["epoch", *names]
    assert len(lines) <= 12
    shown = [int(line.split()[0]) for line in lines if "…" not in line]
    assert shown == sorted(set(shown)) and shown[0] == 1 and shown[-1] == epochs
    assert (len(shown) == epochs) == (epochs <= 12)
    ends = [head.index(name) + len(name) for name in names]
    for line in lines:
        for name, end in zip(names, ends):
            cell = line[end - 12 : end].strip()
            if "…" not in line and int(line.split()[0]) <= len(history[name]):
                assert float(cell) == pytest.approx(history[name][int(line[:5]) - 1], rel=1e-3)
            else:
                assert cell == ""


def test_it_is_a_dict_still():
    history = History(training=[1.0, 0.5], validation=[])
    plain = {"training": [1.0, 0.5], "validation": []}
    assert history == plain and json.loads(json.dumps(history)) == plain
    for other in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert other == history and repr(other) == repr(history)


def test_a_trainer_gives_it_and_a_resumed_one_has_it_again(tmp_path):
    def trainer():
        model = md.nn.Dense(2, 1, 0)
        return Trainer(
            model,
            lambda x, rng: ops.mean(model(x) ** 2),
            optim.SGD(model.parameters(), 0.01),
            path=tmp_path / "run.safetensors",
        )

    points = md.data.moons(20, 0)
    given = trainer().fit(points, 2, progress=False)
    assert repr(given).splitlines()[0] == "epoch    training"
    resumed = trainer()
    resumed.resume()
    assert repr(resumed.history) == repr(given)
