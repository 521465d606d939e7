"""TensorBoard's files hold what the log of a run does (the dev extra)."""

import json
import struct

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog

import minidiff as md
from minidiff import ops, optim
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
