"""Checkpoints: what goes in comes out, and what is broken says so."""

import errno
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import minidiff as md
from minidiff import optim, storage
from minidiff.storage import checkpoints, file_format
from minidiff.storage.file_format import DamagedError


def small(rng: int = 0) -> md.models.UNet:
    return md.models.UNet(width=8, multipliers=(1, 2), classes=3, timesteps=10, rng=rng)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_model_is_rebuilt_from_its_file(tmp_path):
    model = small()
    loaded = md.load(md.save(tmp_path / "new" / "folder" / "m.safetensors", model))
    assert loaded.config == model.config
    assert not loaded.training
    assert same(loaded.state_dict(), model.state_dict())


def test_averaged_weights_come_first_and_raw_ones_on_demand(tmp_path):
    model = small()
    ema = optim.EMA(model, 0.5)
    averaged = {name: array.copy() for name, array in ema.average.items()}
    for parameter in model.parameters():
        parameter.data += 1
    path = md.save(tmp_path / "m.safetensors", model, ema)
    assert same(md.load(path).state_dict(), averaged)
    assert same(md.load(path, weights="raw").state_dict(), model.state_dict())
    with pytest.raises(ValueError, match="weights: given 'best', wanted one of 'ema', 'raw'"):
        md.load(path, weights="best")


def test_notes_come_back_as_they_were(tmp_path):
    history = {"training": [0.1, 1 / 3], "validation": [2e-308]}
    path = md.save(tmp_path / "m.safetensors", small(), step=7, history=history)
    notes = storage.read(path).notes
    assert notes["step"] == 7
    assert notes["history"] == history


def test_numpys_numbers_come_back_as_pythons(tmp_path):
    model = md.models.ConditionalMLP(8, classes=np.int64(3))
    path = md.save(
        tmp_path / "m.safetensors", model, best=np.float32(0.5), low=np.array([-1.0, 2.0])
    )
    assert md.load(path, model).config == {"hidden": 8, "classes": 3, "timesteps": 40}
    assert storage.read(path).notes == {"best": 0.5, "low": [-1.0, 2.0]}


def test_a_module_of_ones_own_is_loaded_into_one_that_is_given(tmp_path):
    here, there = (md.nn.Dense(2, 3, np.random.default_rng(seed)) for seed in (0, 1))
    path = md.save(tmp_path / "m.safetensors", here)
    assert same(md.load(path, there).state_dict(), here.state_dict())
    with pytest.raises(ValueError, match="which holds a Dense, not in minidiff"):
        md.load(path)


def test_saving_does_not_touch_the_live_model(tmp_path):
    model = small()
    before = [parameter.data for parameter in model.parameters()]
    md.save(tmp_path / "m.safetensors", model)
    assert all(a is p.data for a, p in zip(before, model.parameters()))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: given .*nothing.*, wanted a checkpoint"):
        md.load(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = md.save(tmp_path / "m.safetensors", small())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated"):
        md.load(path)


def test_every_flipped_bit_is_found(tmp_path):
    """Of the header's length, the header, the checksum itself, each tensor: no byte is left out."""
    model = md.models.ConditionalMLP(4, classes=1)
    path = md.save(tmp_path / "m.safetensors", model, optim.EMA(model), step=7)
    whole = path.read_bytes()
    bits = np.random.default_rng(0).integers(0, 8, len(whole))
    header = 8 + int.from_bytes(whole[:8], "little")
    flips = [(at, bit) for at in range(header) for bit in range(8)]
    flips += [(at, bits[at]) for at in range(header, len(whole))]
    for at, bit in flips:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with pytest.raises(DamagedError, match=r"path: given .*wanted"):
            storage.read(path)
    path.write_bytes(whole)
    assert storage.read(path).notes == {"step": 7}


def test_the_checksum_is_what_it_is_said_to_be_and_other_tools_read_the_file(tmp_path):
    """SHA-256 of the file, in which zeros stand for the checksum."""
    model = small()
    path = md.save(tmp_path / "m.safetensors", model, text='quotes " and "sha256": "', dash="–")
    content = path.read_bytes()
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["minidiff"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    sha256 = about["sha256"].encode()
    assert content.count(sha256) == 1
    assert hashlib.sha256(content.replace(sha256, b"0" * 64)).hexdigest() == sha256.decode()
    assert same(tensors, {f"model.{name}": array for name, array in model.state_dict().items()})
    assert storage.read(path).notes == {"text": 'quotes " and "sha256": "', "dash": "–"}


def test_a_file_without_a_checksum_is_refused(tmp_path):
    """Else a flipped bit in the checksum's name would switch the check off."""
    path = md.save(tmp_path / "m.safetensors", small())
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["minidiff"])
    del about["sha256"]
    save_file(load_file(path), path, {"minidiff": json.dumps(about)})
    with pytest.raises(DamagedError, match="it has no checksum"):
        md.load(path)


def test_nothing_that_is_not_finite_is_written_over_a_good_file(tmp_path):
    model = small()
    ema = optim.EMA(model)
    optimizer = optim.Adam(model.parameters())
    path = md.save(tmp_path / "m.safetensors", model, ema, optimizer)
    before = path.read_bytes()
    name, parameter = next(iter(model.named_parameters()))
    for array, said in (
        (parameter.data, rf"model\.{name}: given 1 of {parameter.size} numbers"),
        (ema.average[name], rf"ema\.average\.{name}"),
        (optimizer.flats[0][0].flat["v"], r"optimizer\.\d+\.v"),
    ):
        kept = array.flat[0]
        for poison in (np.nan, np.inf, -np.inf):
            array.flat[0] = poison
            with pytest.raises(FloatingPointError, match=said):
                md.save(path, model, ema, optimizer)
        array.flat[0] = kept
    assert path.read_bytes() == before
    model.register_buffer("far", np.array([np.inf], np.float32))
    md.save(path, model)


def test_crafted_metadata_is_damage(tmp_path):
    """With a right checksum, as one who writes files by hand would make it."""
    good = checkpoints.taken(md.models.ConditionalMLP(4, classes=1), None, None, {}, {})
    path = tmp_path / "m.safetensors"
    for change in ({"config": [1]}, {"config": "x"}, {"notes": None}, {"model": 5}):
        path.write_bytes(file_format.to_bytes(good._replace(**change)))
        with pytest.raises(DamagedError, match=r"is no (dict|str)"):
            storage.read(path)
    path.write_bytes(file_format.to_bytes(good._replace(arrays={"else": {"a": np.zeros(2)}})))
    with pytest.raises(DamagedError, match="else"):
        storage.read(path)
    deep = json.dumps({"__metadata__": {"minidiff": "[" * 100_000}}).encode()
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(DamagedError):
        storage.read(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ValueError, match=r"wanted one that minidiff\.save wrote"):
        md.load(path)
    save_file({}, path, {"minidiff": json.dumps({"format": 99})})
    with pytest.raises(ValueError, match="format 99"):
        md.load(path)


def test_a_whole_checkpoint_of_a_later_format_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "later.safetensors"
    with monkeypatch.context() as later:
        later.setattr(file_format, "_FORMAT", 99)
        md.save(path, small())
    with pytest.raises(ValueError, match="of format 99, wanted format 3"):
        md.load(path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    path = md.save(tmp_path / "m.safetensors", small())
    other = md.models.UNet(width=16, multipliers=(1, 2), classes=3, timesteps=10)
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"width=8.*width=16"):
        md.load(path, other)
    with pytest.raises(ValueError, match=r"UNet.*LeNet5"):
        md.load(path, md.models.LeNet5())
    assert same(other.state_dict(), before)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = md.save(tmp_path / "m.safetensors", small())
    before = path.read_bytes()
    with pytest.raises(TypeError, match="notes: given object, wanted what JSON can hold"):
        md.save(path, small(1), notes=object())
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("the disk is full"))
        )
        with pytest.raises(OSError, match="disk is full"):
            md.save(path, small(1))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["m.safetensors"]


def test_what_the_system_refuses_is_no_fault_of_the_path(tmp_path, monkeypatch):
    def refuse(file, mode):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(file))

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    with pytest.raises(OSError, match=r"^\[Errno 24\] Too many open files: '.*run'$"):
        md.save(tmp_path / "run", md.models.LeNet5())


def test_a_link_stays_a_link_and_a_mode_a_mode(tmp_path):
    file = md.save(tmp_path / "real.safetensors", small())
    file.chmod(0o640)
    link = tmp_path / "latest.safetensors"
    link.symlink_to(file.name)
    chain = tmp_path / "chain.safetensors"
    chain.symlink_to(link)
    for path, seed in ((link, 1), (chain, 2), (file, 3)):
        md.save(path, small(seed))
        assert same(md.load(file).state_dict(), small(seed).state_dict())
    assert link.is_symlink() and chain.is_symlink() and not file.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    fresh = tmp_path / "fresh.safetensors"
    link.unlink()
    link.symlink_to(fresh)  # to nothing yet
    md.save(link, small())
    assert link.is_symlink() and fresh.is_file()


def test_home_is_where_the_tilde_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert md.save("~/m.safetensors", small()) == tmp_path / "m.safetensors"
    assert same(md.load("~/m.safetensors").state_dict(), small().state_dict())


def test_arguments_in_another_order_are_named(tmp_path):
    model = small()
    with pytest.raises(TypeError, match=r"path: given UNet, .*type md\.save\('model.*', model\)"):
        md.save(model, tmp_path / "m.safetensors")
    with pytest.raises(TypeError, match="model: given dict, wanted a Module"):
        md.save(tmp_path / "m.safetensors", model.state_dict())
    with pytest.raises(TypeError, match=r"ema: given Adam.*optimizer=\.\.\."):
        md.save(tmp_path / "m.safetensors", model, optim.Adam(model.parameters()))
    with pytest.raises(TypeError, match=r"path: given UNet, wanted a path"):
        md.load(model)
    with pytest.raises(ValueError, match=r"path: given .*, a folder"):
        md.save(tmp_path, model)
    assert not list(tmp_path.iterdir())


def test_what_ships_loads_and_other_names_are_refused():
    assert md.pretrained("lenet").num_parameters == 44_426
    assert md.pretrained("mnist").num_parameters == 420_497
    assert md.pretrained("mnist_adm").num_parameters == 328_305
    assert md.pretrained("judge").num_parameters == 200_874
    names = "'judge', 'lenet', 'mnist'"
    with pytest.raises(ValueError, match=f"name: given 'imagenet', wanted one of {names}"):
        md.pretrained("imagenet")


@pytest.mark.parametrize("name", ["lenet", "judge"])
def test_a_judge_ships_with_its_card(name):
    """A card says what the file says of itself, and the file is small."""
    weights = Path(md.__file__).parent / "weights" / f"{name}.safetensors"
    card = weights.with_suffix(".md").read_text(encoding="utf-8")
    model = md.pretrained(name)
    assert weights.stat().st_size < 2e6
    assert f"{model.num_parameters:,} parameters" in card
    assert (
        f"| accuracy | {storage.read(weights).notes['test_accuracy']:.2%}".replace("%", " %")
        in card
    )
