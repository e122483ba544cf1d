"""What does the discriminator learn, and what does it only remember? From the project's root:

python save/reference/memory.py trial 2 3    trains the trial's CNN, with these seeds
python save/reference/memory.py default 2    trains the CNN of the default run
python save/reference/memory.py exact        prints the AUC of an exact discriminator
python save/reference/memory.py              prints the table of memory.csv

A discriminator is trained on 50 sets, as in the experiment, against a generator that stays as it
is: generator-mle.npz. Half of a set are new sequences of the generator. The other half are real
sequences: the 9,984 that the generator was trained on, the same in each set; or drawn from ten
times as many; or new ones in each set. It can be stopped at any time, and goes on from there: what
memory.csv has already is not trained again.
"""

import itertools
import sys
from pathlib import Path

import numpy as np
from controls import EXPERIMENT, TRIAL, append, in_one_line, log_ratio, print_line, read

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
RESULTS = HERE / "memory.csv"
NUM = 9984  # real sequences in a set, and as many generated ones
MEASURED = [1, 2, 3, 4, 5, 10, 15, 20, 30, 40, 50]  # sets after which it is measured
CNNS = {"trial": TRIAL, "default": EXPERIMENT}
REAL = ["the same", "of ten times as many", "new in each set"]
COLUMNS = (
    "cnn real seed set real_learned real_unseen generated auc_learned auc_unseen rank_correlation"
).split()


def auc(positives, negatives):
    """The probability that a score of positives is above one of negatives; ties count one half."""
    negatives = np.sort(negatives)
    below = np.searchsorted(negatives, positives, "left")
    not_above = np.searchsorted(negatives, positives, "right")
    return np.mean(below + not_above) / (2 * len(negatives))


def rank_correlation(a, b):
    """Spearman's, of a [N] and b [N]; no account is taken of ties."""
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


def measure(discriminator, ratios, learned, unseen, generated):
    """{column: value}: the shares that are taken for real, both AUCs against the generated, and
    among the generated the rank correlation with their exact log ratios."""
    scores = [discriminator.prob_real(x).numpy() for x in (learned, unseen, generated)]
    names = "real_learned", "real_unseen", "generated"
    row = {name: f"{np.mean(score > 0.5):.4f}" for name, score in zip(names, scores)}
    row["auc_learned"] = f"{auc(scores[0], scores[2]):.4f}"
    row["auc_unseen"] = f"{auc(scores[1], scores[2]):.4f}"
    row["rank_correlation"] = f"{rank_correlation(scores[2], ratios):.4f}"
    return row


def drawn(model, seed):
    """NUM sequences of a model, the same for the same seed."""
    with model.drawing_by(seed):
        return model.sample(NUM).numpy()


def make_models(path=HERE / "generator-mle.npz"):
    """The generator of a file, and our oracle with the data of seed 88; InputError if that cannot
    judge the generator."""
    import sequence_gan
    from dataloader import InputError
    from generator import load

    generator, oracle = load(path), sequence_gan.make_data(EXPERIMENT)
    names = "sizes", "sequence_length", "start_token"
    expected, found = ([getattr(model, name) for name in names] for model in (oracle, generator))
    if found != expected:
        raise InputError(f"{path}: expected {', '.join(names)} of {expected}, found {found}")
    return generator, oracle


def train(cnn, real, seed):
    """Train a discriminator on 50 sets, and append a row to memory.csv for each measurement."""
    from dataloader import labelled_batches
    from discriminator import Discriminator

    generator, oracle = make_models()
    pool = oracle.positives
    if real == "of ten times as many":
        pool = np.concatenate([pool, *(drawn(oracle, 1000 + n) for n in range(9))])
    names = "SEQ_LENGTH", "VOCAB_SIZE", "DIS_EMBEDDING_DIM", "DIS_FILTER_SIZES", "DIS_NUM_FILTERS"
    discriminator = Discriminator(*(CNNS[cnn][name] for name in names), seed=seed)
    checkpoint = ROOT / f"save/memory, {cnn}, {real}, {seed}.npz"
    begin = 1
    if checkpoint.exists():
        with np.load(checkpoint) as arrays:
            begin = 1 + int(arrays["set"])
            for name, variable in discriminator.state().items():
                variable.assign(arrays[name])

    for number in range(begin, max(MEASURED) + 1):
        rng = np.random.default_rng([seed, number])
        learned = rng.choice(pool, NUM, replace=False)
        if real == "new in each set":
            learned = drawn(oracle, 2000 + number)
        x, y = labelled_batches(learned, drawn(generator, 3000 + number), 64, rng)
        for _ in range(3):
            for start in range(0, len(x), 26):
                discriminator.train_steps(x[start : start + 26], y[start : start + 26])
        if number in MEASURED:
            generated = drawn(generator, 4000 + number)
            ratios = log_ratio(oracle, generator, generated)
            row = measure(discriminator, ratios, learned, oracle.held_out, generated)
            row |= {"cnn": cnn, "real": real, "seed": seed, "set": number}
            print(row, flush=True)
            append(RESULTS, COLUMNS, [row])
        state = {name: variable.numpy() for name, variable in discriminator.state().items()}
        beside = checkpoint.with_suffix(".tmp.npz")
        np.savez(beside, set=number, **state)
        beside.replace(checkpoint)
    checkpoint.unlink()


def measured():
    """The rows of memory.csv; what was measured twice, as a run was stopped, counts once."""
    return list({tuple(row[name] for name in COLUMNS[:4]): row for row in read(RESULTS)}.values())


def print_table(rows):
    """What is taken for real, and the AUCs, after some of the sets, and the rank correlation after
    the last one; means over the seeds."""
    sets = "5", "10", "50"
    taken, aucs, ranks = COLUMNS[4:7], COLUMNS[7:9], COLUMNS[9:]
    print_line(
        "discriminator, real sequences",
        *("taken for real: trained on / unseen / generated, after set 5", "10", "50"),
        *("AUC: trained on / unseen, after set 5", "10", "50", "rank correlation, set 50"),
    )
    print("|---" * 8 + "|")
    for cnn, real in itertools.product(CNNS, REAL):
        same = [row for row in rows if (row["cnn"], row["real"]) == (cnn, real)]
        cells = [mean_cell(same, number, taken, 2) for number in sets]
        cells += [mean_cell(same, number, aucs, 2) for number in sets]
        cells.append(mean_cell(same, sets[-1], ranks, 3))
        if same:
            print_line(f"{cnn} CNN, {real}", *cells)


def mean_cell(rows, number, names, digits):
    """The means of these columns after set `number`; empty if it was not measured."""
    group = [row for row in rows if row["set"] == number]
    means = [np.mean([float(row[name]) for row in group]) for name in names if group]
    return " / ".join(f"{mean:.{digits}f}" for mean in means)


def main():
    if not sys.argv[1:]:
        return print_table(measured())
    if sys.argv[1:] == ["exact"]:
        generator, oracle = make_models()
        sequences = oracle.held_out, drawn(generator, 4050)
        ratios = [log_ratio(oracle, generator, x) for x in sequences]
        return print(f"AUC of the exact log ratio: {auc(*ratios):.5f}")
    cnn, *seeds = sys.argv[1:]
    if cnn not in CNNS or not seeds or not all(map(str.isdecimal, seeds)):
        sys.exit(f"memory.py: expected one of {list(CNNS)}, and seeds, found {sys.argv[1:]}")
    for seed in map(int, seeds):
        for real in REAL:
            last = {"cnn": cnn, "real": real, "seed": str(seed), "set": "50"}
            if any(last.items() <= row.items() for row in measured()):
                print(f"{cnn}, {real}, seed {seed}: memory.csv has it already")
            else:
                train(cnn, real, seed)


if __name__ == "__main__":
    in_one_line(main)
