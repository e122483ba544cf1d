"""How good are the samples of the run in save/? From the project's root:

python save/reference/measure.py

Prints a table of the real sequences, uniformly random tokens, and the generator at several
temperatures, each with

nll_oracle    NLL under the oracle, in nats per token (with a text: empty)
nll_test      the generator's own NLL of held-out data
bleu_2        of 1,000 sequences against the held-out data
self_bleu_2   of 1,000 sequences, each against the others: higher is less diverse
distinct      share of different sequences among 1,000
commonest     how often the commonest of these occurs
verbatim      share of the 1,000 that stand in the training data as they are
"""

import contextlib
import io
import json
import os
import sys

import numpy as np

sys.path.insert(0, ".")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dataloader import Text
from generator import LSTM
from rollout import Bleu, self_bleu
from target_lstm import Oracle, read_params

TEMPERATURES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7)


def read_settings():
    """The constants of the run in save/."""
    if not os.path.isfile("save/settings.json"):
        sys.exit("save/settings.json: expected that of a run, found no file")
    with open("save/settings.json") as file:
        return json.load(file)


def load_data(c):
    """The data of a run with the constants c, as sequence_gan.py makes them."""
    seed = int(np.random.SeedSequence(c["SEED"]).generate_state(1)[0])
    if c["TEXT_FILE"]:
        files = c["TEXT_FILE"], c["TEST_FILE"]
        with contextlib.redirect_stdout(io.StringIO()):
            return Text(*files, c["VOCAB_SIZE"], c["SEQ_LENGTH"], seed)
    sizes = c["VOCAB_SIZE"], c["EMB_DIM"], c["HIDDEN_DIM"]
    num = c["GENERATED_NUM"] // c["BATCH_SIZE"] * c["BATCH_SIZE"]
    return Oracle(c["TARGET_FILE"], sizes, c["SEQ_LENGTH"], c["START_TOKEN"], num, seed)


def measure(data, x, model=None):
    """The row of sequences x, int [N, T], and of the model that drew them, if it is one."""
    few = x[:1000]
    same, counts = np.unique(few, axis=0, return_counts=True)
    known = set(map(bytes, np.ascontiguousarray(data.positives)))
    return {
        "nll_oracle": data.nll(x) if isinstance(data, Oracle) else "",
        "nll_test": model.nll(data.held_out, data.end) if model else "",
        "bleu_2": np.mean(Bleu(data.held_out, 2, data.end)(few)),
        "self_bleu_2": self_bleu(few, 2, data.end),
        "distinct": len(same) / len(few),
        "commonest": counts.max(),
        "verbatim": np.mean([bytes(row) in known for row in np.ascontiguousarray(few)]),
    }


def main():
    constants = read_settings()
    data = load_data(constants)
    length, start = constants["SEQ_LENGTH"], constants["START_TOKEN"]
    num = 9984 if isinstance(data, Oracle) else 1000
    uniform = np.random.default_rng(constants["SEED"]).integers(0, data.vocab_size, [num, length])
    rows = {
        "real, to learn from": measure(data, data.positives),
        "uniformly random": measure(data, uniform.astype(np.int32)),
    }
    params = read_params("save/generator.npz")
    model = LSTM(params, length, start, seed=1)
    for t in TEMPERATURES:
        model.set_params([*params[:13], params[13] / t, params[14] / t])
        rows[f"generator, temperature {t}"] = measure(data, model.sample(num).numpy(), model)
    print("sequences", *next(iter(rows.values())), sep=",")
    for name, row in rows.items():
        cells = [f"{value:.4g}" if value != "" else "" for value in row.values()]
        print(f'"{name}"', *cells, sep=",", flush=True)


if __name__ == "__main__":
    main()
