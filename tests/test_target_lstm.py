"""The oracle: its measure, its file, and the files of others."""

import hashlib
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import reference

import generator as module
from dataloader import InputError, token_text
from generator import LSTM, Generator, load, param_shapes, read_params, write_params
from target_lstm import Oracle

V, E, H, T = 11, 3, 4, 5
ROOT = Path(__file__).parent.parent


@pytest.fixture
def params():
    return reference.lstm_params(V, E, H)


def test_the_committed_oracle_is_what_its_script_writes(tmp_path):
    (tmp_path / "save").mkdir()
    subprocess.run([sys.executable, ROOT / "target_lstm.py"], cwd=tmp_path, check=True)
    rng = np.random.default_rng(0)
    shapes = reference.lstm_shapes(5000, 32, 32)
    drawn = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    for folder in (ROOT, tmp_path):
        reference.assert_same(read_params(f"{folder}/save/target_params.npz"), drawn)


def test_the_committed_oracle_has_the_known_nll():
    oracle = LSTM(read_params(f"{ROOT}/save/target_params.npz"), 20, seed=1)
    own = oracle.nll(oracle.sample(2000))
    uniform = oracle.nll(np.random.default_rng(1).integers(0, 5000, (2000, 20)))
    # An independent NumPy computation gave 5.78 and 11.33; the means of 2,000 vary by 0.02.
    assert abs(own - 5.78) < 0.06 and abs(uniform - 11.33) < 0.06


def test_an_oracle_draws_its_data_and_measures_by_it(tmp_path, params):
    write_params(tmp_path / "oracle.npz", params)
    oracle = Oracle(tmp_path / "oracle.npz", (V, E, H), T, 0, num=300, seed=2)
    generator = Generator(V, E, H, T)
    samples = np.random.default_rng(1).integers(0, V, (200, T))
    assert oracle.positives.shape == oracle.held_out.shape == (300, T)
    rows = [sorted(x.tolist()) for x in (oracle.positives, oracle.held_out)]
    assert rows[0] != rows[1]
    measured = oracle.measure(generator, samples)

    def nll(params, x):
        return -reference.lstm_log_prob(params, x).mean()

    expected = {
        "nll_oracle": nll(params, samples),
        "nll_test": nll(generator.get_params(), oracle.held_out),
        "entropy": nll(generator.get_params(), samples),
        "kl_generator_oracle": nll(params, samples) - nll(generator.get_params(), samples),
        "kl_oracle_generator": nll(generator.get_params(), oracle.held_out)
        - nll(params, oracle.held_out),
    }
    assert measured.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(measured[name], value, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match=r"oracle\.npz, .*DIM = \(12, 3, 4\): embeddings: expect"):
        Oracle(tmp_path / "oracle.npz", (V + 1, E, H), T, 0, num=300, seed=2)


def test_the_oracle_judged_by_itself_has_no_divergence():
    oracle = Oracle(f"{ROOT}/save/target_params.npz", (5000, 32, 32), 20, 0, num=2000, seed=3)
    measured = oracle.measure(oracle, oracle.positives)
    assert measured["kl_generator_oracle"] == measured["kl_oracle_generator"] == 0
    other = LSTM(oracle.get_params(), 20, seed=9)  # new samples: means of 2,000 vary by 0.02
    assert abs(oracle.nll(other.sample(2000)) - oracle.entropy) < 0.1


def test_a_divergence_is_that_of_the_two_models(tmp_path):
    params = reference.lstm_params(4, E, H)
    write_params(tmp_path / "oracle.npz", params)
    oracle = Oracle(tmp_path / "oracle.npz", (4, E, H), 3, 0, num=20_000, seed=1)
    generator = Generator(4, E, H, 3, seed=2)
    measured = oracle.measure(generator, generator.sample(20_000))
    every = reference.all_sequences(4, 3)
    p, q = (reference.lstm_log_prob(w, every).sum(1) for w in (params, generator.get_params()))
    expected = {
        "kl_generator_oracle": np.exp(q) @ (q - p) / 3,
        "kl_oracle_generator": np.exp(p) @ (p - q) / 3,
        "entropy": -np.exp(q) @ q / 3,
    }
    for name, value in expected.items():
        assert measured[name] == pytest.approx(value, abs=0.02)


def test_npz_comes_back_as_written_with_names_or_without(tmp_path, params):
    path = tmp_path / "oracle.npz"
    write_params(path, params)
    reference.assert_same(read_params(path), params)
    np.savez(path, *params)
    reference.assert_same(read_params(path), params)
    larger = reference.lstm_params(500, E, H)
    np.savez_compressed(path, *larger)
    reference.assert_same(read_params(path), larger)
    named = dict(sorted(zip(param_shapes(V, E, H), params)))
    np.savez(path, **named)
    with pytest.raises(InputError, match=r"oracle\.npz: expected .* its arrays are \['U"):
        read_params(path)


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


@pytest.mark.parametrize("kind", ["Python 2", "Python 3"])
def test_pickles_of_known_content_are_read(tmp_path, monkeypatch, params, kind):
    data = pickle.dumps(params)
    if kind == "Python 2":
        text = "(l" + "".join(python_2_text(p) + "a" for p in params) + "."
        data = text.encode("latin1")
    (tmp_path / "oracle.pkl").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setattr(module, "PUBLISHED", {digest})
    reference.assert_same(read_params(tmp_path / "oracle.pkl"), params)


def test_any_other_pickle_is_refused_before_anything_of_it_runs(tmp_path, monkeypatch, params):
    monkeypatch.chdir(tmp_path)
    for data in (b"cos\nsystem\n(S'touch HACKED'\ntR.", pickle.dumps(params)):
        Path("target_params.pkl").write_bytes(data)  # as the authors' is named
        with pytest.raises(InputError, match=r"^target_params\.pkl: .* of a trusted pickle"):
            read_params("target_params.pkl")
    assert not Path("HACKED").exists()


def test_an_archive_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        with file.open("embeddings.npy", "w", force_zip64=True) as member:
            for _ in range(36):
                member.write(bytes(2**26))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"bomb\.npz: .* unpacks to over four times its size"):
        read_params(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # kB


def test_a_generator_s_file_is_a_whole_model(tmp_path, params):
    path, words = tmp_path / "generator.npz", ["<end>", "<unknown>", *"abcdefghi"]
    for about in ({"words": words}, {"start_token": 2}):
        LSTM(params, T, **about).save(path)
        reference.assert_same(read_params(path), params)
        model = load(path, seed=4)
        np.testing.assert_array_equal(model.sample(50), LSTM(params, T, **about, seed=4).sample(50))
        assert model.sequence_length == T and model.start_token == about.get("start_token", 0)
        assert token_text([[2, 3, 0]], model.words) == ("a b\n" if "words" in about else "2 3 0\n")
    write_params(path, params)
    with pytest.raises(InputError, match=r"generator\.npz: expected a model that a run wrote"):
        load(path)


DAMAGE = {
    "too few": lambda p: p[:14],
    "another dimension": lambda p: [p[0].ravel(), *p[1:]],
    "another shape": lambda p: [*p[:6], p[6][:2], *p[7:]],
    "integers": lambda p: [*p[:14], np.arange(V)],
    "not finite": lambda p: [*p[:14], p[14] * np.nan],
    "objects": lambda p: [*p[:14], np.array([None] * V, object)],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_arrays_that_are_no_lstm_s_are_refused_in_a_line(tmp_path, params, kind):
    np.savez(tmp_path / "oracle.npz", *DAMAGE[kind](params))
    with pytest.raises(InputError) as error:
        LSTM(read_params(tmp_path / "oracle.npz"), T)
    assert "\n" not in str(error.value) and "expected" in str(error.value)


def test_files_that_are_no_weights_are_refused_by_name(tmp_path, params):
    path = tmp_path / "oracle.npz"
    write_params(path, params)
    whole = path.read_bytes()
    for data in (b"", b"hello", b"PK\x03\x04 and nothing more", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"oracle\.npz: expected"):
            read_params(path)
