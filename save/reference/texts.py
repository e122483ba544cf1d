"""What does SeqGAN do to the paper's real texts? From the project's root:

python save/reference/texts.py my/music.txt 1 2 3    runs a text with these seeds
python save/reference/texts.py                       prints the table of texts.csv

The names are those of ORDERS. A file my/music-test.txt beside the text has the held-out lines;
without one a tenth of the text is held out. It can be stopped at any time, and resumes a run: what
texts.csv has already is not run again.
"""

import itertools
import sys
from pathlib import Path

import controls
import numpy as np
from controls import EXPERIMENT, append, in_one_line, read
from draw import spread

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
RESULTS = HERE / "texts.csv"
SCHEDULE = EXPERIMENT | {  # chosen by trials on the poems, with 11 epochs of MLE
    "PRE_EPOCH_NUM": 16,
    "DIS_FILTER_SIZES": [1, 2, 3, 4, 5],
    "DIS_NUM_FILTERS": [100, 100, 100, 100, 100],
    "DIS_DROPOUT_KEEP_PROB": 0.5,
    "DIS_LEARNING_RATE": 5e-4,
    "DIS_PRETRAIN_ROUNDS": 10,
    "DIS_EPOCHS": 1,
    "GENERATED_NUM": 5000,
    "G_STEPS": 2,
    "D_STEPS": 2,
    "TOTAL_BATCH": 16,
    "EVAL_EVERY": 1,
}
LENGTHS = {"music": 32}  # SEQ_LENGTH; 20 for the others
ORDERS = {"poems": 2, "speech": 3, "music": 4}  # of the BLEU in the table
TEMPERATURES = [1.1, 1.05, 1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6]
COLUMNS = (
    "text seed what epoch nll_test entropy bleu_2 self_bleu_2 bleu_3 self_bleu_3 bleu_4 self_bleu_4"
).split()


def run(folder, **constants):
    """Run sequence_gan in the folder with these constants; its evaluations."""
    rows = controls.run(folder, **SCHEDULE | constants)
    return [row | {"what": row["stage"]} for row in rows]


def bleus(data, x):
    """{name: value} of BLEU and Self-BLEU of 1,000 sequences x, int [1000, T]."""
    from dataloader import Bleu, self_bleu

    row = {}
    for n in 2, 3, 4:
        row[f"bleu_{n}"] = np.mean(Bleu(data.held_out, n, data.end)(x))
        row[f"self_bleu_{n}"] = self_bleu(x, n, data.end)
    return row


def references(data, model, seed):
    """Rows of real lines, and of a model at several temperatures."""
    lines = np.random.default_rng(seed).permutation(data.positives)[:1000]
    rows = [{"what": "real lines"} | bleus(data, lines)]
    *params, weight, bias = model.get_params()
    for temperature in TEMPERATURES:
        sharper = [np.float32(array / temperature) for array in (weight, bias)]
        model.set_params([*params, *sharper])
        x = model.sample(1000).numpy()
        row = {"what": f"temperature {temperature}"}
        rows.append(row | data.measure(model, x) | bleus(data, x))
    return rows


def run_seed(path, seed):
    """Run of a text with a seed what texts.csv does not have."""
    import sequence_gan
    from generator import load

    name, test = path.stem, path.with_name(f"{path.stem}-test.txt")
    done = {row["what"] for row in read(RESULTS) if (row["text"], row["seed"]) == (name, str(seed))}
    files = {"TEXT_FILE": str(path), "TEST_FILE": str(test) if test.exists() else None}
    constants = files | {"SEED": seed, "SEQ_LENGTH": LENGTHS.get(name, 20)}
    folder = ROOT / "save/texts" / f"{name}, seed {seed}"
    if "mle" not in done:
        rows = run(folder, **constants | {"TOTAL_BATCH": 0})
        data = sequence_gan.make_data(SCHEDULE | constants)
        rows += references(data, load("save/generator.npz", seed=seed), seed)
        append(RESULTS, COLUMNS, rows, text=name, seed=seed)
    if "adversarial" not in done:
        rows = run(folder, **constants)
        rows = [row for row in rows if row["what"] == "adversarial"]
        append(RESULTS, COLUMNS, rows, text=name, seed=seed)
    else:
        print(f"{name}, seed {seed}: texts.csv has it already")


def at_bleu(rows, name, value):
    """{measure: value} of MLE at the temperature, coming from warm ones, where its BLEU `name`
    first reaches a value; interpolated between those that were measured."""
    rows = [row for row in rows if row["what"].startswith("temperature")]
    rows = [row | {"temperature": row["what"].split()[1]} for row in rows]
    for warm, cold in itertools.pairwise(rows):
        low, high = float(warm[name]), float(cold[name])
        if low <= value < high:
            part = (value - low) / (high - low)
            measures = ["temperature", *COLUMNS[4:]]
            return {m: (1 - part) * float(warm[m]) + part * float(cold[m]) for m in measures}
    sys.exit(f"{name}: expected {value} between those of two temperatures")


def states(rows, name):
    """The five states of a run that the table has, {measure: value} each."""
    (real,) = (row for row in rows if row["what"] == "real lines")
    mle = [row for row in rows if row["what"] == "mle"]
    lowest = min(mle, key=lambda row: float(row["nll_test"]))
    seqgan = [row for row in rows if row["what"] == "adversarial"][-1]
    return [real, lowest, mle[-1], seqgan, at_bleu(rows, name, float(seqgan[name]))]


def print_table(rows):
    """The measures of each text's states, mean and standard deviation over the seeds."""
    names = "real lines", "MLE, lowest test NLL", "MLE, end", "SeqGAN", "MLE at SeqGAN's BLEU"
    print(f"| | {' | '.join(names)} |")
    print("|---" * 6 + "|")
    for text, order in ORDERS.items():
        seeds = {row["seed"] for row in rows if (row["text"], row["what"]) == (text, "adversarial")}
        runs = [[row for row in rows if (row["text"], row["seed"]) == (text, s)] for s in seeds]
        if len(runs) < 2:
            continue
        bleu = f"bleu_{order}"
        columns = list(zip(*(states(run, bleu) for run in runs)))
        for measure in (bleu, f"self_{bleu}", "nll_test"):
            found = [[float(row[measure]) for row in column if row[measure]] for column in columns]
            cells = [spread(values) if values else "" for values in found]
            if measure == bleu:
                found = [row["temperature"] for row in columns[4]]
                cells[4] += f", temperature {spread(found)}"
            print(f"| {text}, {measure} | {' | '.join(cells)} |")


def main():
    if sys.argv[1:]:
        path = Path(sys.argv[1]).resolve()
        seeds_given = "".join(sys.argv[2:]).isdecimal()
        if path.stem not in ORDERS or not path.is_file() or not seeds_given:
            sys.exit(f"{path}: expected a text named as one of {list(ORDERS)}, and seeds")
        for seed in sys.argv[2:]:
            run_seed(path, int(seed))
    else:
        print_table(read(RESULTS))


if __name__ == "__main__":
    in_one_line(main)
