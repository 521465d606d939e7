"""`minidiff exercises`: its table, its exit status, tries and hints, a student's copy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from minidiff import commands
from minidiff.exercises.__main__ import main
from minidiff.exercises.all_groups import EXERCISES

LESSONS = Path(__file__).parents[2] / "lessons"


@pytest.fixture
def folder(tmp_path):
    """A reader's folder; the exercises are in it, and no notebook beside them."""
    return Path(shutil.copytree(LESSONS / "exercises", tmp_path / "exercises"))


def run(capsys, *words):
    """The exit status, and what was printed."""
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return stop.value.code, printed.out + printed.err


def written(folder, group, text):
    """The group's file with other lines, after its own."""
    path = folder / f"{group}.py"
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_all_are_empty_at_first(capsys, folder):
    status, text = run(capsys, "--folder", folder)
    assert status == 1
    assert text.endswith(f"0 done, 0 wrong, {len(EXERCISES)} empty\n")
    names = [line.split()[0] for line in text.splitlines() if " empty " in line[:30]]
    assert set(names) == set(EXERCISES) and names[0] == "sine_rule"


def test_solutions_are_all_done_and_the_status_is_0(capsys, tmp_path):
    solutions = shutil.copytree(LESSONS / "solutions", tmp_path / "solutions")
    status, text = run(capsys, "--folder", solutions, "tape", "v_target")
    assert status == 0 and "4 done, 0 wrong, 0 empty" in text


@pytest.mark.parametrize(
    "words, status",
    [
        (["tape"], 1),
        (["--folder", "solutions", "v_target", "sine_rule"], 0),
        (["v_targe"], 2),
        (["copy"], 2),
    ],
)
def test_it_is_the_same_as_a_word_of_minidiff(capsys, folder, monkeypatch, words, status):
    shutil.copytree(LESSONS / "solutions", folder.parent / "solutions")
    monkeypatch.chdir(folder.parent)
    here, text = run(capsys, *words)
    with pytest.raises(SystemExit) as stop:
        commands.main(["exercises", *words])
    printed = capsys.readouterr()
    assert stop.value.code == here == status
    assert printed.out + printed.err == text.replace("minidiff.exercises:", "minidiff exercises:")


def test_a_copy_by_minidiff(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(LESSONS.parent)
    commands.main(["exercises", "copy", str(tmp_path / "class")])
    assert capsys.readouterr().out.endswith("class, without solutions\n")
    assert (tmp_path / "class" / "exercises" / "tape.py").is_file()


def test_who_lacks_hypothesis_is_told_and_the_other_commands_work(tmp_path):
    (tmp_path / "hypothesis.py").write_text(
        "raise ModuleNotFoundError('no such thing')", encoding="utf-8"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{LESSONS.parent}"}
    for words, status, said in (
        (["exercises", "tape"], 2, 'pip install "minidiff[testing]"'),
        (["--help"], 0, "mark the lessons' exercises"),
    ):
        command = [sys.executable, "-m", "minidiff", *words]
        done = subprocess.run(
            command, env=environment, cwd=LESSONS, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == status and said in done.stdout + done.stderr


def test_a_group_and_a_name_can_be_asked_for_as_a_program(folder):
    command = [sys.executable, "-m", "minidiff.exercises", "noise", "tanh_rule"]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, encoding="utf-8")
    assert done.returncode == 1, done.stderr
    assert done.stdout.endswith("0 done, 0 wrong, 6 empty\n")


def test_an_answer_gets_its_message_and_later_its_hint(capsys, folder):
    written(folder, "tape", "\n\ndef sine_rule(g, x):\n    return -g * np.cos(x)\n")
    status, text = run(capsys, "--folder", folder, "sine_rule")
    assert status == 1 and "sign is turned" in text and "Hint" not in text
    assert json.loads((folder / ".tries.json").read_text(encoding="utf-8")) == {"sine_rule": 1}
    _, text = run(capsys, "--folder", folder, "sine_rule")
    assert "Hint: The derivative of the sine" in text
    written(folder, "tape", "\n\ndef sine_rule(g, x):\n    return g * np.cos(x)\n")
    status, text = run(capsys, "--folder", folder, "sine_rule")
    assert status == 0 and "1 done" in text
    assert json.loads((folder / ".tries.json").read_text(encoding="utf-8")) == {"sine_rule": 0}


@pytest.mark.parametrize("damaged", [b"{", b"\xff", b"[1]", b'{"sine_rule": "x"}'])
def test_damaged_tries_count_as_none(capsys, folder, damaged):
    (folder / ".tries.json").write_bytes(damaged)
    written(folder, "tape", "\n\ndef sine_rule(g, x):\n    return -g * np.cos(x)\n")
    _, text = run(capsys, "--folder", folder, "sine_rule")
    assert "sign is turned" in text and "Hint" not in text


def test_a_file_that_does_not_run_is_wrong_and_says_where(capsys, folder):
    written(folder, "tape", "\n\ndef sine_rule(g, x)\n    return g\n")
    status, text = run(capsys, "--folder", folder, "tape", "tanh_rule")
    assert status == 1 and "0 done, 3 wrong, 1 empty" in text
    assert "tape.py does not run: SyntaxError" in text and "line" in text


def test_a_function_that_stops_says_in_which_line(capsys, folder):
    written(folder, "tape", "\n\ndef sine_rule(g, x):\n    return g * missing(x)\n")
    line = len((folder / "tape.py").read_text(encoding="utf-8").splitlines())
    _, text = run(capsys, "--folder", folder, "sine_rule")
    assert f"It stops with NameError: name 'missing' is not defined (line {line})" in " ".join(
        text.split()
    )


def test_a_function_that_is_gone_is_wrong(capsys, folder):
    written(folder, "tape", "\n\ndel sine_rule\n")
    _, text = run(capsys, "--folder", folder, "sine_rule")
    assert "tape.py has no function of this name" in text


def test_a_word_that_is_neither_is_refused_with_a_proposal(capsys, folder):
    status, text = run(capsys, "--folder", folder, "tanh_rul")
    assert status == 2 and "given 'tanh_rul', wanted a group (tape, table" in text
    assert "did you mean tanh_rule?" in text


def test_a_place_without_exercises_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, text = run(capsys)
    assert status == 2 and "wanted one with the exercises' files, such as tape.py" in text


def test_a_copy_has_all_but_the_solutions(capsys, tmp_path, monkeypatch):
    lessons = tmp_path / "lessons"
    shutil.copytree(LESSONS, lessons)
    (lessons / "exercises" / ".tries.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    main(["copy", "class"])
    assert capsys.readouterr().out == "written: class, without solutions\n"
    names = {path.name for path in Path("class").rglob("*")}
    assert {"exercises", "tape.py", "01_a_tape.ipynb", "README.md"} <= names
    assert not names & {"solutions", ".tries.json", "__pycache__"}
    assert not list(tmp_path.glob("tmp*"))
    monkeypatch.chdir(tmp_path / "class")
    status, text = run(capsys, "tape")
    assert status == 1 and "0 done, 0 wrong, 3 empty" in text


def test_a_copy_replaces_nothing(capsys, folder):
    (folder.parent / "class").mkdir()
    status, text = run(capsys, "copy", folder.parent / "class", "--folder", folder)
    assert status == 2 and "which exists, wanted a new one" in text
    status, text = run(capsys, "copy", folder / "class", "--folder", folder)
    assert status == 2 and "wanted one outside" in text and not (folder / "class").exists()
    status, text = run(capsys, "copy", "--folder", folder)
    assert status == 2 and "given 0 folders, wanted one" in text
