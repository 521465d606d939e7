"""Where MNIST is not to be had, a script ends with one sentence, as it does for a wrong option."""

from pathlib import Path

import pytest

from minidiff import command_line

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_a_script_ends_with_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MINIDIFF_DATA", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        command_line.mnist("train", None)
    text = capsys.readouterr().err
    assert end.value.code == 2
    assert text.count("\n") == 1 and str(tmp_path) in text and "type --data FOLDER" in text


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_asks_so(script):
    text = script.read_text(encoding="utf-8")
    assert " data.mnist(" not in text and "(data.mnist(" not in text
    assert ("command_line.add_mnist(" in text) == ("command_line.mnist(" in text)
