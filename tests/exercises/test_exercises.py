"""Each exercise: its solution passes, its empty body fails, typical mistakes are named."""

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest
from exercises.other_right import RIGHT
from mutants import mutants

from minidiff.exercises import mark
from minidiff.exercises.all_groups import EXERCISES, GROUPS
from minidiff.exercises.marking import marked_once

LESSONS = Path(__file__).parents[2] / "lessons"


def loaded(path):
    module = ModuleType(path.stem)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(module))
    return module


SOLUTIONS = {group: loaded(LESSONS / "solutions" / f"{group}.py") for group in GROUPS}
TEXTS = {group: loaded(LESSONS / "exercises" / f"{group}.py") for group in GROUPS}
WRONG = {}
for group in GROUPS:
    WRONG |= importlib.import_module(f"exercises.wrong_{group}").WRONG
MISTAKES = [
    pytest.param(name, answer, words, id=f"{name}-{i}")
    for name, answers in WRONG.items()
    for i, (answer, words) in enumerate(answers)
]


# These change no result.
SAME = {
    "'a.mean(axis=0) - b.mean(axis=0)' becomes 'b.mean(axis=0) - a.mean(axis=0)'",
    "'C_a @ C_b' becomes 'C_b @ C_a'",
    "'model(x_t, t, None) - v' becomes 'v - model(x_t, t, None)'",
}


def functions(module):
    """The names of the functions that a file defines, in its order."""
    return [n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__]


@pytest.mark.parametrize("group", GROUPS)
def test_the_texts_have_what_is_marked(group):
    marked = {name for name, each in EXERCISES.items() if each.group == group}
    assert marked == set(functions(TEXTS[group]))
    assert marked <= set(functions(SOLUTIONS[group]))


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes(name):
    solution = getattr(SOLUTIONS[EXERCISES[name].group], name)
    marked = marked_once(solution, name)
    assert marked.state == "done", marked


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_of_another_kind_passes(name):
    marked = marked_once(RIGHT[name], name)
    assert marked.state == "done", marked


@pytest.mark.parametrize("name", EXERCISES)
def test_a_fault_that_is_planted_in_the_solution_is_seen(name):
    solution = getattr(SOLUTIONS[EXERCISES[name].group], name)
    faults = dict(mutants(solution))
    unseen = {what for what, faulty in faults.items() if marked_once(faulty, name).state == "done"}
    assert not unseen - SAME


@pytest.mark.parametrize("name", EXERCISES)
def test_the_empty_body_is_called_empty(name):
    marked = marked_once(getattr(TEXTS[EXERCISES[name].group], name), name)
    assert marked.state == "empty" and "body is missing" in marked.message, marked


@pytest.mark.parametrize("name, answer, words", MISTAKES)
def test_a_typical_mistake_is_named(name, answer, words):
    marked = marked_once(answer, name)
    assert marked.state == "wrong" and words in marked.message, marked


@pytest.mark.parametrize("name", EXERCISES)
def test_each_has_at_least_three_mistakes_a_text_and_a_hint(name):
    assert len(WRONG[name]) >= 3
    text = getattr(TEXTS[EXERCISES[name].group], name).__doc__
    assert len(text) > 100 and EXERCISES[name].hint


@pytest.mark.parametrize("group", GROUPS)
def test_the_examples_of_the_texts_hold_for_the_solutions(group):
    finder = doctest.DocTestFinder()
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in functions(TEXTS[group]):
        text = getattr(TEXTS[group], name).__doc__
        globs = dict(vars(SOLUTIONS[group]))
        for example in finder.find(ModuleType(name, text), name):
            example.globs = globs
            runner.run(example)
    assert runner.failures == 0


def test_a_second_wrong_try_gets_a_hint():
    hint = EXERCISES["tanh_rule"].hint
    wrong = lambda g: g
    assert mark(SOLUTIONS["table"].tanh_rule, "tanh_rule").state == "done"
    assert hint not in mark(wrong, "tanh_rule").message
    assert hint in mark(wrong, "tanh_rule").message
    assert mark(SOLUTIONS["table"].tanh_rule, "tanh_rule").state == "done"
    assert hint not in mark(wrong, "tanh_rule").message


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name: given 'tan', wanted one of '"):
        mark(lambda g: g, "tan")
