"""The oracle: its measure, its file, and the files of others."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference

import generator as module
from dataloader import InputError, token_text
from generator import LSTM, Generator, load, read_model
from target_lstm import Oracle

V, E, H, T = 4, 3, 4, 3
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
        reference.assert_same(read_model(f"{folder}/save/target_params.npz")[0], drawn)


def test_an_oracle_draws_its_data_and_measures_by_it(tmp_path, params):
    path = tmp_path / "oracle.npz"
    np.savez(path, *params)
    other, oracle = (Oracle(path, (V, E, H), T, 1, num=20_000, seed=seed) for seed in (3, 2))
    assert (other.positives != oracle.positives).any()
    assert oracle.positives.shape == oracle.held_out.shape == (oracle.num_eval, T) == (20_000, T)
    in_order = [np.sort(x @ [16, 4, 1]) for x in (oracle.positives, oracle.held_out)]
    assert (in_order[0] != in_order[1]).any()  # not the same ones in another order

    generator = Generator(V, E, H, T, start_token=1, seed=2)
    samples = generator.sample(20_000).numpy()
    measured = oracle.measure(generator, samples)
    weights = params, generator.get_params()
    nll, entropy = (-reference.lstm_log_prob(p, samples, 1).mean() for p in weights)
    of_real, nll_test = (-reference.lstm_log_prob(p, oracle.held_out, 1).mean() for p in weights)
    expected = {
        "nll_oracle": nll, "nll_test": nll_test, "entropy": entropy,
        "kl_generator_oracle": nll - entropy, "kl_oracle_generator": nll_test - of_real,
    }  # fmt: skip
    assert measured == pytest.approx(expected, abs=1e-5)

    every = reference.all_sequences(V, T)  # enumerated: what these means are means of
    p, q = (reference.lstm_log_prob(w, every, 1).sum(1) for w in weights)
    assert oracle.nll_of_random_tokens == pytest.approx(-p.mean() / T, rel=0.03)
    assert measured["entropy"] == pytest.approx(-np.exp(q) @ q / T, abs=0.02)
    assert measured["kl_generator_oracle"] == pytest.approx(np.exp(q) @ (q - p) / T, abs=0.02)
    assert measured["kl_oracle_generator"] == pytest.approx(np.exp(p) @ (p - q) / T, abs=0.02)


def test_a_pickle_of_known_content_is_read_though_python_2_wrote_it(tmp_path, monkeypatch):
    data = b"(lS'\\x80'\na."  # a list of a byte; Python 2 wrote the bytes of arrays so
    (tmp_path / "oracle.pkl").write_bytes(data)
    monkeypatch.setattr(module, "PUBLISHED", {hashlib.sha256(data).hexdigest()})
    assert read_model(tmp_path / "oracle.pkl") == (["\x80"], {})


def test_any_other_pickle_is_refused_before_anything_of_it_runs(tmp_path, monkeypatch, params):
    monkeypatch.chdir(tmp_path)
    for data in (b"cos\nsystem\n(S'touch HACKED'\ntR.", pickle.dumps(params)):
        Path("target_params.pkl").write_bytes(data)  # as the authors' is named
        with pytest.raises(InputError, match=r"^target_params\.pkl: .* of a trusted pickle"):
            read_model("target_params.pkl")
    assert not Path("HACKED").exists()


def test_a_generator_s_file_is_a_whole_model(tmp_path, params):
    path, words = tmp_path / "generator.npz", ["<end>", "<unknown>", "a", "b"]
    for about, shown in (({"words": words}, "a b\n"), ({"start_token": 2}, "2 3 0\n")):
        LSTM(params, T, **about).save(path)
        reference.assert_same(read_model(path)[0], params)
        model, same = load(path, seed=4), LSTM(params, T, **about, seed=4)
        np.testing.assert_array_equal(model.sample(50), same.sample(50))
        assert token_text([[2, 3, 0]], model.words) == shown
    np.savez(path, **dict(np.load(path)) | {"start_token": V})
    message = f"{path}: start_token: expected a whole number from 0 to 3, found 4"
    reference.assert_refused(lambda: load(path), message)
    np.savez(path, *params)
    message = f"{path}: expected a model that a run wrote"
    reference.assert_refused(lambda: load(path), message)


def test_files_that_are_no_lstm_s_are_refused_by_name(tmp_path, params):
    path = tmp_path / "oracle.npz"
    reference.assert_refused(lambda: read_model(path), f"{path}: cannot be read: No such file")
    np.savez(path, **dict(zip(module.PARAM_NAMES[::-1], params[::-1])))
    with pytest.raises(InputError, match=r"oracle\.npz: expected .* its arrays are \['b_out', 'W"):
        read_model(path)
    np.savez(path, *params)
    whole = path.read_bytes()
    for data in (b"hello", whole[: len(whole) // 2]):
        path.write_bytes(data)
        reference.assert_refused(lambda: read_model(path), f"{path}: expected")
    np.savez_compressed(path, np.zeros(10**6))
    with pytest.raises(InputError, match=r"oracle\.npz: .* unpacks to over four times its size"):
        read_model(path)
    objects = np.array([None] * V, object)
    for arrays in (params[:14], [params[0].ravel(), *params[1:]], [*params[:14], objects]):
        np.savez(path, *arrays)
        reference.assert_refused(lambda: load(path, sequence_length=T), f"{path}: ")
    np.savez(path, *params[:14], np.arange(V))
    message = f"{path}: b_out: expected finite floating-point numbers"
    reference.assert_refused(lambda: load(path, sequence_length=T), message)
