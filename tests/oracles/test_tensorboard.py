"""TensorBoard's files hold what the log of a run does (the dev extra)."""

import json
import struct
from pathlib import Path

import numpy as np
from picture_folders import noise, write
from tensorboardX.proto.event_pb2 import Event, SessionLog

import minidiff as md
from minidiff import commands, ops, optim, recipes
from minidiff.training import Trainer


def events(folder):
    """Of all files, each record of which is: length (8), a checksum (4), an event, another (4)."""
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event()
            event.ParseFromString(content[12 : 12 + length])
            yield event
            content = content[16 + length :]


def trainer(path, board):
    model = md.models.ConditionalMLP(hidden=4)
    loss = lambda x, rng: ops.mean((model(x, 20) - x) ** 2)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    return Trainer(model, loss, optimizer, batch_size=4, path=path, tensorboard=board)


def test_scalars_by_step_and_where_a_resumed_run_begins(tmp_path):
    x = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    path = tmp_path / "run.safetensors"
    board = tmp_path / "board"
    for epochs in (1, 2):
        run = trainer(path, board)
        if epochs == 2:
            run.resume()
        run.fit(x, epochs, x, progress=False)
    found = list(events(board))
    begins = [e.step for e in found if e.session_log.status == SessionLog.START]
    assert begins == [0, 5]
    got = {(v.tag, e.step): v.simple_value for e in found for v in e.summary.value}
    wanted = {}
    for line in path.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for name in entry.keys() - {"time", "step"}:
            wanted[name, entry["step"]] = np.float32(entry[name])
    assert got == wanted
    assert {name for name, _ in got} == {"loss", "rate", "epoch", "training", "validation"}


def test_the_command_writes_them_for_the_painter_and_for_the_judge(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipes, "WIDTHS", (8,))
    monkeypatch.setattr(recipes, "JUDGE_EPOCHS", 1)
    monkeypatch.setattr(recipes, "SAMPLER", {"sampler": "ddim", "steps": 2})
    files = {f"{name}/{i}.png": noise(8, 8, 3, seed=i) for name in "ab" for i in range(30)}
    write(tmp_path / "pictures", files)
    words = ["train", "pictures", "--size", "8", "--epochs", "1", "--tensorboard", "board"]
    commands.main(words)
    for folder, log in (("board", "checkpoint"), ("board/judge", "judge")):
        lines = Path(f"runs/pictures/{log}.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        wanted = [np.float32(entry["loss"]) for entry in entries if "loss" in entry]
        shown = [value for e in events(Path(folder)) for value in e.summary.value]
        assert [value.simple_value for value in shown if value.tag == "loss"] == wanted
