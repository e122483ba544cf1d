"""How good are the samples of a generator? From the project's root:

python save/reference/measure.py         the generator of the run in save/
python save/reference/measure.py FILE    one in a file, such as save/reference/generator-seqgan.npz

A file is judged by the oracle, or the text, that sequence_gan.py names. Prints a table of the
real sequences, uniformly random tokens, and the generator at several temperatures, each with

nll_oracle, nll_test    NLL under the oracle; the generator's own NLL of held-out data
entropy                 its NLL of its own samples; of uniformly random tokens, ln V
kl_generator_oracle     nll_oracle - entropy
kl_oracle_generator     nll_test - entropy of the oracle; these five in nats per token
bleu_2, self_bleu_2     of 1,000 sequences against the held-out data, and against each other
distinct, commonest     share of different sequences among 1,000; how often the commonest occurs
verbatim                share of the 1,000 that stand in the training data as they are
"""

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
from controls import in_one_line

import sequence_gan
from dataloader import Bleu, InputError, self_bleu, token_text
from generator import load
from target_lstm import Oracle

TEMPERATURES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def read_settings():
    """The constants of the run in save/."""
    path = "save/settings.json"
    if not os.path.isfile(path):
        raise InputError(f"{path}: expected that of a run, found no file")
    try:
        constants = json.loads(Path(path).read_bytes())
    except ValueError:  # a damaged file
        constants = {}
    missing = [name for name in sequence_gan.CONSTANTS if name not in constants]
    if missing:
        raise InputError(f"{path}: expected the constants of a run, found no {missing[0]}")
    return constants


def load_data(constants, words):
    """The data of a run, as sequence_gan.py makes them, without a text's report; InputError if a
    file of that run has changed."""
    for name in ("TARGET_FILE", "TEXT_FILE", "TEST_FILE"):
        recorded = constants.get(f"content of {name}")
        if recorded and sequence_gan.content(constants[name]) != recorded:
            raise InputError(f"{constants[name]}: expected what the run began from, found another")
    with contextlib.redirect_stdout(io.StringIO()):
        return sequence_gan.make_data(constants, words)


class Uniform:
    """The model of uniformly random tokens: every one has the probability 1 / V."""

    def __init__(self, vocab_size):
        self.vocab_size = vocab_size

    def nll(self, x):
        return np.log(self.vocab_size)


def of_samples(data, x):
    """The measures of 1,000 sequences among x, int [N, T], whatever drew them."""
    few = x[:1000]
    same, counts = np.unique(few, axis=0, return_counts=True)
    known = set(map(bytes, np.ascontiguousarray(data.positives)))
    return {
        "bleu_2": np.mean(Bleu(data.held_out, 2, data.end)(few)),
        "self_bleu_2": self_bleu(few, 2, data.end),
        "distinct": len(same) / len(few),
        "commonest": counts.max(),
        "verbatim": np.mean([bytes(row) in known for row in np.ascontiguousarray(few)]),
    }


def rows_of(data, model):
    """{name: measures} of the real sequences, random tokens and a model at each temperature."""
    num = 9984 if isinstance(data, Oracle) else 1000
    rng = np.random.default_rng(1)
    uniform = rng.integers(0, data.vocab_size, [num, model.sequence_length], np.int32)
    real = data.measure(data, data.positives) if isinstance(data, Oracle) else {}
    rows = {"real, to learn from": real | of_samples(data, data.positives)}
    measures = data.measure(Uniform(data.vocab_size), uniform)
    rows["uniformly random"] = measures | of_samples(data, uniform)

    params = model.get_params()
    for t in map(np.float32, TEMPERATURES):
        model.set_params([*params[:13], params[13] / t, params[14] / t])
        x = model.sample(num).numpy()
        rows[f"generator, temperature {t:g}"] = data.measure(model, x) | of_samples(data, x)
    model.set_params(params)
    return rows


def main(path=None):
    constants = sequence_gan.settings() if path else read_settings()
    path = path or "save/generator.npz"
    model = load(path, seed=1)
    found = {"SEQ_LENGTH": model.sequence_length, "START_TOKEN": model.start_token}
    for name, value in found.items():
        if value != constants[name]:
            raise InputError(f"{path}: expected a {name} of {constants[name]}, found {value}")
    data = load_data(constants, model.words)
    if model.vocab_size != data.vocab_size or bool(model.words) != bool(data.words):
        raise InputError(f"{path}: expected a generator of the data that are named, found another")
    rows = rows_of(data, model)
    columns = list(rows["uniformly random"])
    print("sequences", *columns, sep=",")
    for name, row in rows.items():
        cells = [f"{row[column]:.4g}" if column in row else "" for column in columns]
        print(f'"{name}"', *cells, sep=",", flush=True)
    print("\nSamples:\n" + token_text(model.sample(3), model.words), end="")


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):  # a notebook's has not
        sys.stdout.reconfigure(errors="replace")
    if len(sys.argv) > 2:
        sys.exit(f"measure.py: expected one file at most, found {sys.argv[1:]}")
    in_one_line(main, *sys.argv[1:])
