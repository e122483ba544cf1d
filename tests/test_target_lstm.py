"""The oracle: its measure, its file, and the files of others."""

import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import reference

from dataloader import InputError
from generator import param_shapes
from target_lstm import TargetLSTM, write_params

V, E, H, T = 11, 3, 4, 5
ROOT = Path(__file__).parent.parent


@pytest.fixture
def params():
    return reference.lstm_params(V, E, H)


def load(path, data=None):
    if data is not None:
        path.write_bytes(data)
    return TargetLSTM.load(str(path), T).get_params()


def assert_equal(params, others):
    for p, q in zip(params, others, strict=True):
        np.testing.assert_array_equal(p, q)


def test_nll_is_the_mean_per_token_over_any_number_of_sequences(params):
    x = np.random.default_rng(1).integers(0, V, (1667, T))
    for num in (1, 70, 1667):
        expected = -reference.lstm_log_prob(params, x[:num]).mean()
        np.testing.assert_allclose(TargetLSTM(params, T).nll(x[:num]), expected, rtol=1e-6)


def test_the_committed_oracle_is_what_its_script_writes(tmp_path):
    (tmp_path / "save").mkdir()
    command = [sys.executable, ROOT / "target_lstm.py"]
    done = subprocess.run(command, cwd=tmp_path, check=True, stderr=subprocess.PIPE)
    assert done.stderr == b""
    rng = np.random.default_rng(0)
    gate = [(32, 32), (32, 32), (32,)]
    drawn = [
        rng.standard_normal(shape, dtype=np.float32)
        for shape in [(5000, 32), *gate * 4, (32, 5000), (5000,)]
    ]
    committed, written = (
        TargetLSTM.load(f"{folder}/save/target_params.npz", 20) for folder in (ROOT, tmp_path)
    )
    assert_equal(committed.get_params(), drawn)
    assert_equal(written.get_params(), drawn)


def test_the_committed_oracle_has_the_known_nll():
    oracle = TargetLSTM.load(f"{ROOT}/save/target_params.npz", 20, seed=1)
    own = oracle.nll(oracle.sample(2000))
    uniform = oracle.nll(np.random.default_rng(1).integers(0, 5000, (2000, 20)))
    # An independent NumPy computation gave 5.78 and 11.33; the means of 2,000 vary by 0.02.
    assert abs(own - 5.78) < 0.06 and abs(uniform - 11.33) < 0.06


def test_npz_comes_back_as_written(tmp_path, params):
    write_params(f"{tmp_path}/oracle.npz", params)
    assert_equal(load(tmp_path / "oracle.npz"), params)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_python_3_are_read(tmp_path, params, protocol):
    assert_equal(load(tmp_path / "oracle.pkl", pickle.dumps(params, protocol)), params)


def python_2_text(array):
    """How Python 2 and NumPy 1 pickled a float32 array by protocol 0, in the opcodes' own text."""
    shape = "".join(f"I{n}\n" for n in array.shape)
    data = "".join(f"\\x{byte:02x}" for byte in array.tobytes())
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        f"(I1\n({shape}t"
        "cnumpy\ndtype\n(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
        f"I00\nS'{data}'\ntb"
    )


def test_python_2_pickles_are_read(tmp_path, params):
    text = "(l" + "".join(python_2_text(p) + "a" for p in params) + "."
    assert_equal(load(tmp_path / "oracle.pkl", text.encode("latin1")), params)


HOSTILE = {
    "os.system": b"cos\nsystem\n(S'touch HACKED'\ntR.",
    "builtins.eval": b'cbuiltins\neval\n(S\'open("HACKED", "w")\'\ntR.',
    "a Python 2 builtin": b'c__builtin__\neval\n(S\'open("HACKED", "w")\'\ntR.',
    "by the INST opcode": b"(S'touch HACKED'\nios\nsystem\n.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x09os.system\x93.",
}


class Nested:
    """An array's reducer that carries another reducer inside."""

    def __reduce__(self):
        return np._core.multiarray._reconstruct, (np.ndarray, (0,), Nested.Inner())

    class Inner:
        def __reduce__(self):
            return open, ("HACKED", "w")


HOSTILE["a nested reducer"] = pickle.dumps([np.zeros(3, np.float32), Nested()], 0)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_pickles_are_refused_before_anything_runs(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"oracle\.pkl: expected an oracle file, but it asks for"):
        load(tmp_path / "oracle.pkl", HOSTILE[kind])
    assert not Path("HACKED").exists()


def described(dtype, state, shape="(I1\n(I2\nt", data=b"C\x10" + b"A" * 16):
    """A pickled array in the opcodes' own text, its dtype's name and state as given."""
    dtype = b"cnumpy\ndtype\n(S'" + dtype + b"'\nI0\nI1\ntR" + state
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR"
    return array + shape.encode() + dtype + b"I00\n" + data + b"tb"


O8 = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR"
RELABELLED = b"(I3\nS'|'\nN(S'a'\nt}S'a'\n(" + O8 + b"I0\ntsI8\nI1\nI63\ntb"
CRAFTED = {
    "bytes relabelled as pointers": described(b"V8", RELABELLED),
    "a float relabelled as pointers": described(b"f8", RELABELLED),
    "a plain object array": described(b"O8", b"(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"),
    "a shape beyond its bytes": described(b"f4", b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb", "(I1\n(I9\nt"),
    "bytes by a number of them": described(
        b"f4", b"(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb", data=b"J\xff\xff\xff\x7f"
    ),
    "an array by its size": b"cnumpy\nndarray\n((I1073741824\nI4\ntS'f4'\ntR",
    "a memo index of 2 ** 31": b"Nr\xff\xff\xff\x7f",
    "a bytearray of 2 ** 35": b"\x96\x00\x00\x00\x00\x08\x00\x00\x00AAAA",
    "bytes of 2 ** 35": b"\x8e\x00\x00\x00\x00\x08\x00\x00\x00AAAA",
    "a number of 5,000 digits": b"I" + b"9" * 5000 + b"\n",
    "depth without end": b"(" * 100_000 + b"t" * 100_000,
}


def write_bomb(path, params):
    """An .npz of 3 MB whose first array is 2.25 GiB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("embeddings.npy", "w", force_zip64=True) as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (2**29 + 2**26, 1)}
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(36):
                member.write(bytes(2**26))
        for name in list(param_shapes(V, E, H))[1:]:
            with file.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, params[1])


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """{name of a crafted file: (how its process ended, what it said)}, a gigabyte for each."""
    folder = tmp_path_factory.mktemp("crafted")
    for kind, array in CRAFTED.items():
        data = b"(" + array * (1 if b"(" * 9 in array else 15) + b"l."
        (folder / f"{kind}.pkl").write_bytes(data)
    write_bomb(folder / "bomb.npz", reference.lstm_params(V, E, H))
    program = """if True:
        import os, resource, sys
        from target_lstm import TargetLSTM
        for path in os.listdir():
            for sizes in (None, (11, 3, 4)):
                print(end=f"{path}\\t", flush=True)
                if os.fork() == 0:
                    pages = int(open("/proc/self/statm").read().split()[0])
                    most = pages * resource.getpagesize() + 2**30
                    resource.setrlimit(resource.RLIMIT_AS, (most, most))
                    try:
                        TargetLSTM.load(path, 5, sizes=sizes)
                    except ValueError as error:
                        print(end=f"{error}", flush=True)
                    os._exit(0)
                print(f"\\t{os.wait()[1]}", flush=True)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = {}
    for line in done.stdout.splitlines():
        path, *rest = line.split("\t")
        said.setdefault(path, []).append(rest)
    return said


@pytest.mark.parametrize("name", [*(f"{kind}.pkl" for kind in CRAFTED), "bomb.npz"])
def test_crafted_files_are_refused_in_one_line_within_a_gigabyte(refusals, name):
    assert len(refusals[name]) == 2
    for message, status in refusals[name]:
        assert status == "0"
        assert re.fullmatch(re.escape(name) + r": expected an oracle file.*, but .+", message)
        if "pointers" in name or "object" in name:
            assert message.endswith("an array of other things than floating-point numbers")


def test_names_in_an_npz_count(tmp_path, params):
    named = dict(zip(param_shapes(V, E, H), params))
    swapped = dict(sorted(named.items()))
    for arrays in (swapped, {f"_{name}": array for name, array in named.items()}):
        np.savez(tmp_path / "oracle.npz", **arrays)
        with pytest.raises(
            InputError, match=r"oracle\.npz: expected an oracle file, but its arrays are"
        ):
            load(tmp_path / "oracle.npz")
    np.savez(tmp_path / "oracle.npz", *params)  # without names, in their order
    assert_equal(load(tmp_path / "oracle.npz"), params)


def test_other_sizes_than_those_asked_for_are_refused(tmp_path, params):
    write_params(f"{tmp_path}/oracle.npz", params)
    (tmp_path / "oracle.pkl").write_bytes(pickle.dumps(params))
    for name in ("oracle.npz", "oracle.pkl"):
        assert TargetLSTM.load(f"{tmp_path}/{name}", T, sizes=(V, E, H)).vocab_size == V
        with pytest.raises(
            InputError, match=r"DIM = \(12, 3, 4\), but array 0 \(embeddings\): exp"
        ):
            TargetLSTM.load(f"{tmp_path}/{name}", T, sizes=(V + 1, E, H))


def test_write_params_takes_15_arrays(tmp_path, params):
    with pytest.raises(InputError, match=r"oracle\.npz: expected 15 arrays, found 14"):
        write_params(f"{tmp_path}/oracle.npz", params[:14])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p[:14], "but (its arrays are|it is no list of 15)"),
        (lambda p: [p[0].ravel(), *p[1:]], "expected 15 arrays as in param_shapes"),
        (
            lambda p: [*p[:6], p[6][:2], *p[7:]],
            r"array 6 \(bf\): expected shape \[4\], found \[2\]",
        ),
        (lambda p: [*p[:13], p[13].T, p[14]], r"array 13 \(W_out\): expected shape \[4, 11\]"),
        (lambda p: [*p[:14], np.arange(V)], r"expected floating-point|than floating-point"),
        (lambda p: [*p[:14], p[14] * np.nan], r"array 14 \(b_out\): expected finite"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, params, damage, message):
    for kind in ("oracle.npz", "oracle.pkl"):
        path = tmp_path / kind
        if kind == "oracle.npz":
            np.savez(path, *damage(params))
        else:
            path.write_bytes(pickle.dumps(damage(params)))
        with pytest.raises(ValueError, match=message) as error:
            load(path)
        assert kind in str(error.value)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"PK\x03\x04 and nothing more", pickle.dumps({1: 2})]
)
def test_files_that_are_no_oracle_are_refused(tmp_path, data):
    with pytest.raises(ValueError, match=r"oracle\.npz: expected"):
        load(tmp_path / "oracle.npz", data)


def test_a_truncated_npz_and_a_missing_file_are_refused(tmp_path, params):
    write_params(f"{tmp_path}/oracle.npz", params)
    whole = (tmp_path / "oracle.npz").read_bytes()
    with pytest.raises(ValueError, match=r"oracle\.npz: expected an oracle"):
        load(tmp_path / "oracle.npz", whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"none\.npz: expected an oracle file, but No such file"):
        load(tmp_path / "none.npz")


def test_object_arrays_in_npz_are_refused(tmp_path, params):
    np.savez(tmp_path / "oracle.npz", *params[:14], np.array([None] * V, object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load(tmp_path / "oracle.npz")
