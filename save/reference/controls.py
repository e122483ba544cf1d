"""Does the discriminator teach the generator anything? Its rewards against the same ones permuted.

python save/reference/controls.py 1 2 3            runs these seeds, but for what controls.csv has
python save/reference/controls.py                  prints the tables and draws controls.png
python save/reference/controls.py full ORACLE 1    runs P at full size, with an oracle's file

From the project's root. The size is that of the README's trial. Each seed has one MLE and one
pre-training of the discriminator; from that same state each condition goes on for 16 adversarial
epochs. A condition's rows are appended when its run is at its end. It can be stopped at any time;
what it has not appended yet, it runs again. At full size it goes on with its run, in save/full/.
"""

import csv
import itertools
import os
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
RESULTS = HERE / "controls.csv"
TRIAL = {
    "TARGET_FILE": str(ROOT / "save/target_params.npz"),
    "DIS_FILTER_SIZES": [1, 2, 3, 4, 5],
    "DIS_NUM_FILTERS": [50, 50, 50, 50, 50],
    "D_STEPS": 1,
    "EVAL_EVERY": 5,  # of MLE; each adversarial epoch is evaluated
}
COLUMNS = (
    "start seed condition stage epoch nll_oracle nll_test entropy kl_generator_oracle "
    "kl_oracle_generator self_bleu_2 reward_mean gradient_norm dis_accuracy dis_accuracy_unseen"
).split()


def as_they_are(rewards, order):
    return rewards


def shuffled(rewards, order):
    return rewards[order]  # whole rows: same sizes, tail and positions


def mean_alone(rewards, order):
    return np.tile(np.mean(rewards, axis=0), [len(rewards), 1])


def centred(rewards, order):
    return rewards - np.mean(rewards, axis=0)


def centred_shuffled(rewards, order):
    return centred(rewards, order)[order]


def none_at_all(rewards, order):
    return 0 * rewards


CONDITIONS = {
    "D": as_they_are,
    "P": shuffled,
    "M": mean_alone,
    "Dc": centred,
    "Pc": centred_shuffled,
    "D, no clip": as_they_are,
    "P, no clip": shuffled,
    "more MLE": none_at_all,  # a step of MLE in place of each step of policy gradient
}
STARTS = {
    "MLE 26": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 5},
    "MLE 6": {"PRE_EPOCH_NUM": 6, "DIS_PRETRAIN_ROUNDS": 5},
    "50 sets": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 50},
    "150 sets": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 150},  # rewards of 0.006 at first
    "MLE 26, new": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 5},  # new real sequences in a set
    "MLE 6, new": {"PRE_EPOCH_NUM": 6, "DIS_PRETRAIN_ROUNDS": 5},
    "MLE 6, small steps": {
        "PRE_EPOCH_NUM": 6,
        "DIS_PRETRAIN_ROUNDS": 5,
        "GEN_ADVERSARIAL_LEARNING_RATE": 0.001,
        "G_STEPS": 10,
        "ROLLOUT_NUM": 4,
    },
    "MLE at 0.001": {"PRE_EPOCH_NUM": 61, "DIS_PRETRAIN_ROUNDS": 0, "GEN_LEARNING_RATE": 0.001},
}
PLAN = [  # start, conditions that go on from it, seeds that have them; what decides comes first
    ("MLE 26", ["D", "P"], range(1, 21)),
    ("MLE 26", ["Dc", "Pc"], range(1, 21)),
    ("MLE 6", ["D", "P", "Dc"], range(1, 21)),
    ("MLE 26", ["D, no clip", "P, no clip"], range(1, 6)),
    ("50 sets", ["D", "P"], range(1, 6)),
    ("MLE 26", ["M"], range(1, 21)),
    ("150 sets", ["D", "P"], range(1, 6)),
    # What follows was planned later, before any of it had run. It decides by Pc - Dc in
    # kl_generator_oracle, from both starts with new real sequences in each set.
    ("MLE 6", ["Pc"], range(1, 21)),
    ("MLE 6, new", ["Dc", "Pc"], range(1, 21)),
    ("MLE 26, new", ["Dc", "Pc"], range(1, 21)),
    ("MLE 6, small steps", ["Dc", "Pc", "more MLE"], range(1, 11)),
    ("MLE at 0.001", [], range(1, 4)),
]
DECIDING = ["kl_generator_oracle", "nll_oracle", "entropy", "kl_oracle_generator"]
MEASURES = [*DECIDING, "self_bleu_2", "reward_mean", "gradient_norm"]
COMPARISONS = [  # the first line was planned; Holm's correction is over the pairs of a line
    ("MLE 26", [("P", "D"), ("Pc", "Dc")]),
    ("MLE 6", [("P", "D"), ("Dc", "D")]),
    ("MLE 26", [("M", "D")]),
    ("MLE 26", [("P, no clip", "D, no clip")]),
    ("50 sets", [("P", "D")]),
    ("150 sets", [("P", "D")]),
]
EQUIVALENT = 0.04  # differences in nats that do not matter


def controlled(condition, notes):
    """A Rollout whose rewards the condition changes. It notes their mean before that, and the norm
    of the gradient, before it is clipped, after it."""
    import tensorflow as tf

    import sequence_gan
    from rollout import Rollout

    class Controlled(Rollout):
        def __init__(self, generator, update_rate):
            super().__init__(generator, update_rate)
            if condition.endswith("no clip"):
                generator.grad_clip.assign(1e9)
            if condition == "more MLE":
                vars(generator)["reinforce_step"] = more_mle(generator)

        def get_reward(self, x, rollout_num, score):
            sequence_gan.EVAL_EVERY = 1  # from here on; it does not change a run
            found = super().get_reward(x, rollout_num, score)
            rewards = np.float32(CONDITIONS[condition](found, new_order(x)))
            norm = self.generator.gradients(tf.constant(x), tf.constant(rewards))[2]
            notes.append({"reward_mean": np.mean(found), "gradient_norm": float(norm)})
            return rewards

    return Controlled


def new_order(x):
    """A random order of the sequences x [B, T] in which none keeps its place, drawn by x: so a run
    that is resumed shuffles alike."""
    rng = np.random.default_rng(np.ravel(x))
    circle = rng.permutation(len(x))
    order = np.empty_like(circle)
    order[circle] = np.roll(circle, 1)
    return order


def more_mle(generator):
    """A reinforce_step that does a step of MLE instead, with the adversarial learning rate."""
    from dataloader import pieces

    batches = itertools.cycle(pieces(np.loadtxt("save/real_data.txt", np.int32), 64))

    def step(x, rewards):
        real = next(batches)
        weight = np.full(real.shape, 1 / real.size, np.float32)
        return generator._update(real, weight, generator.reinforce_optimizer)

    return step


def with_new_sequences(oracle):
    """labelled_batches of new sequences of an oracle in place of the positives."""
    import dataloader

    def labelled_batches(positives, negatives, batch_size, rng):
        with oracle.drawing_by(int(rng.integers(2**63))):
            new = oracle.sample(len(positives)).numpy()
        return original(new, negatives, batch_size, rng)

    original = dataloader.labelled_batches
    return labelled_batches


def run(folder, **names):
    """Run sequence_gan in the folder with these names in place of its own; its evaluations."""
    import sequence_gan

    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    vars(sequence_gan).update(names)
    sequence_gan.main()
    epochs = {}  # all that is measured in an epoch, its set included
    with open("save/metrics.csv", newline="") as file:
        for row in csv.DictReader(file):
            epoch = epochs.setdefault((row["stage"], row["epoch"]), {})
            epoch |= {name: value for name, value in row.items() if value}
    return [row for row in epochs.values() if "nll_oracle" in row]


def append(rows, **same):
    """Append rows of an evaluation each to controls.csv."""
    is_new = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerows(row | same for row in rows)


def run_seed(seed, start, conditions):
    """Run those of the conditions from a start that controls.csv does not have."""
    import dataloader
    import sequence_gan
    from rollout import Rollout

    done = {row["condition"] for row in read() if (row["start"], row["seed"]) == (start, str(seed))}
    conditions = [name for name in conditions if name not in done]
    if not conditions and "MLE" in done:
        return
    usual = {"GEN_ADVERSARIAL_LEARNING_RATE": None, "G_STEPS": 1, "ROLLOUT_NUM": 16}
    usual |= {"GEN_LEARNING_RATE": 0.01}
    constants = TRIAL | usual | STARTS[start] | {"SEED": seed}
    labelled_batches = dataloader.labelled_batches
    if start.endswith("new"):
        oracle = sequence_gan.make_data(vars(sequence_gan) | constants)
        dataloader.labelled_batches = with_new_sequences(oracle)
    folder = ROOT / "save/controls" / f"{start}, seed {seed}"
    if not folder.exists():
        begun = folder.with_suffix(".begun")
        rows = run(begun, Rollout=Rollout, TOTAL_BATCH=0, **constants)
        if "MLE" not in done:
            append(rows, start=start, seed=seed, condition="MLE")
        begun.rename(folder)
    for condition in conditions:
        copy = folder / condition
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "save", copy / "save")
        notes = []
        rows = run(copy, Rollout=controlled(condition, notes), **constants | {"TOTAL_BATCH": 16})
        rows = [row for row in rows if row["stage"] == "adversarial"]
        last_of_epoch = notes[constants["G_STEPS"] - 1 :: constants["G_STEPS"]]
        rows = [row | note for row, note in zip(rows, last_of_epoch, strict=True)]
        append(rows, start=start, seed=seed, condition=condition)
        os.chdir(folder)
        shutil.rmtree(copy)
    dataloader.labelled_batches = labelled_batches


def run_full_size(oracle, seed):
    """Run the whole experiment with shuffled rewards, or go on with it."""
    folder = ROOT / "save/full" / f"{oracle.stem}, seed {seed}"
    run(folder, TARGET_FILE=str(oracle), SEED=seed, Rollout=controlled("P", []))


def read():
    """The rows of controls.csv."""
    if not RESULTS.exists():
        return []
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def outcomes(rows, start, condition, name):
    """{seed: a measure at the end}: of three adversarial evaluations the mean, of MLE the last."""
    last = 1 if condition == "MLE" else 3
    found = {}
    for row in rows:
        if (row["start"], row["condition"]) == (start, condition) and row[name]:
            found.setdefault(int(row["seed"]), []).append(float(row[name]))
    return {seed: np.mean(values[-last:]) for seed, values in found.items()}


def in_pairs(rows, start, conditions, name):
    """A measure at the end for the seeds that have all these conditions, an array for each."""
    found = [outcomes(rows, start, condition, name) for condition in conditions]
    seeds = sorted(set.intersection(*map(set, found)))
    return [np.array([values[seed] for seed in seeds]) for values in found]


def resampled(count):
    """Seeds drawn again with replacement, for intervals (bootstrap): of five or fewer in all ways,
    of more 10,000 times."""
    if count < 6:
        return np.indices([count] * count).reshape(count, -1).T
    return np.random.default_rng(0).integers(0, count, [10_000, count])


def interval(values, level=0.95):
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2])


def sign_flip(differences):
    """How probable a mean at least as far from 0 is where each sign is a coin's (all are tried)."""
    count = len(differences)
    signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    means = abs(signs @ differences) / count
    return np.mean(means >= abs(np.mean(differences)) - 1e-12)


def print_outcomes(rows):
    """MLE's end, ± standard deviation; each condition's change from it, with 95 % intervals."""
    print("| start, condition | seeds | " + " | ".join(MEASURES) + " |")
    print("|---" * (2 + len(MEASURES)) + "|")
    for start in STARTS:
        for condition in ["MLE", *CONDITIONS]:
            seeds = len(outcomes(rows, start, condition, "entropy"))
            if seeds > 2:
                cells = [outcome(rows, start, condition, name) for name in MEASURES]
                print(f"| {start}, {condition} | {seeds} | " + " | ".join(cells) + " |")


def outcome(rows, start, condition, name):
    """A cell of the table of outcomes."""
    mle, end = (outcomes(rows, start, each, name) for each in ("MLE", condition))
    if not mle:  # which has no rewards
        return f"{np.mean(list(end.values())):#.3g}" if end else ""
    values = list(end.values())
    if condition == "MLE":
        return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
    changes = np.array([end[seed] - mle[seed] for seed in sorted(end)])
    low, high = interval(changes[resampled(len(changes))].mean(1))
    return f"{np.mean(changes):+.3f} ({low:+.3f} to {high:+.3f})"


def print_comparisons(rows):
    """What a condition has more than another one of the same seed: mean, 95 % interval, p by Holm;
    and whether the 90 % interval of the first measure is within EQUIVALENT."""
    print(f"| start, difference | seeds | {' | '.join(DECIDING)} | within {EQUIVALENT} |")
    print("|---" * (3 + len(DECIDING)) + "|")
    for start, pairs in COMPARISONS:
        tested = {}  # {pair: {measure: differences, one a seed}}
        for pair in pairs:
            both = {name: in_pairs(rows, start, pair, name) for name in DECIDING}
            if len(both["entropy"][0]) > 2:
                tested[pair] = {name: a - b for name, (a, b) in both.items()}
        for place, (pair, differences) in enumerate(tested.items()):
            count = len(differences["entropy"])
            cells = [f"{start}, {' - '.join(pair)}", str(count)]
            for name in DECIDING:
                low, high = interval(differences[name][resampled(count)].mean(1))
                p = holm([sign_flip(each[name]) for each in tested.values()])[place]
                mean = np.mean(differences[name])
                cells.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {p:.2g}")
            bound = interval(differences[DECIDING[0]][resampled(count)].mean(1), 0.9)
            cells.append("yes" if max(abs(bound)) < EQUIVALENT else "no")
            print(f"| {' | '.join(cells)} |")


def holm(ps):
    """Each p corrected for being one of several (Holm, 1979)."""
    stepped = [(len(ps) - k) * p for k, p in enumerate(sorted(ps))]
    return [min(1, max(stepped[: sum(q <= p for q in ps)])) for p in ps]


def print_shares(rows):
    """The part of the NLL's fall with the discriminator's rewards that permuted rewards make."""
    shares = []
    for start in STARTS:
        mle, d, p = in_pairs(rows, start, ["MLE", "D", "P"], "nll_oracle")
        if len(d) > 2:
            again = resampled(len(d))
            low, high = interval((mle - p)[again].mean(1) / (mle - d)[again].mean(1))
            share = np.mean(mle - p) / np.mean(mle - d)
            shares.append(f"{start} {share:.2f} ({low:.2f} to {high:.2f})")
    print(f"Of the NLL's fall with D (95 % interval) P makes: {', '.join(shares)}.")


def print_trial(rows):
    """The README's trial: the end of MLE, and of adversarial training (D)."""
    for condition, epoch in (("MLE", "25"), ("D", "10")):
        same = {"start": "MLE 26", "condition": condition, "epoch": epoch}
        found = [row for row in rows if row.items() >= same.items()]
        values = {name: [float(row[name]) for row in found] for name in DECIDING}
        cells = [f"{name} {np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for name, v in values.items()]
        print(f"The trial, {condition}, epoch {epoch}, {len(found)} seeds: {', '.join(cells)}")


def draw(rows):
    """Measures over adversarial epochs of the starts that have many seeds: mean, 95 % interval."""
    from matplotlib.figure import Figure

    starts = [start for start in STARTS if len(outcomes(rows, start, "D", "entropy")) > 5]
    names = ["nll_oracle", "kl_generator_oracle", "kl_oracle_generator"]
    figure = Figure(figsize=(9.5, 0.6 + 3 * len(starts)), layout="constrained")
    grid = figure.subplots(len(starts), len(names), squeeze=False)
    for (line, column), axes in np.ndenumerate(grid):
        start, name = starts[line], names[column]
        for color, condition in enumerate(["D", "P", "Dc", "Pc", "M"]):
            curves = {}
            for row in rows:
                if (row["start"], row["condition"]) == (start, condition):
                    curves.setdefault(row["seed"], []).append(float(row[name]))
            if len(curves) < 3:
                continue
            values = np.array(list(curves.values()))  # [seeds, epochs]
            means = values[resampled(len(values))].mean(1)
            low, high = np.quantile(means, [0.025, 0.975], axis=0)
            axes.plot(values.mean(0), f"C{color}.-", label=f"{condition}, {len(values)} seeds")
            axes.fill_between(range(len(low)), low, high, color=f"C{color}", alpha=0.2)
        mle = outcomes(rows, start, "MLE", name).values()
        axes.axhline(np.mean(list(mle)), color="gray", linestyle="--", label="end of MLE")
        axes.set(title=name, xlabel=f"adversarial epoch (from {start})")
        axes.set_xticks(range(0, 16, 5))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.savefig(".images/controls.png", dpi=120, metadata={"Software": None})


def main():
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["full"]:
        return run_full_size(Path(sys.argv[2]).resolve(), int(sys.argv[3]))
    seeds = [int(argument) for argument in sys.argv[1:]]
    if not set(seeds) <= set(range(1, 21)):
        sys.exit(f"controls.py: expected seeds from 1 to 20, found {seeds}")
    for start, conditions, planned in PLAN:
        for seed in seeds:
            if seed in planned:
                run_seed(seed, start, conditions)
    if not seeds:
        rows = read()
        print_outcomes(rows)
        print()
        print_comparisons(rows)
        print()
        print_shares(rows)
        print()
        print_trial(rows)
        draw(rows)


if __name__ == "__main__":
    main()
