"""Does the discriminator teach the generator anything? Its rewards against the same ones permuted.

python save/reference/controls.py 1 2 3            runs these seeds, but for what controls.csv has
python save/reference/controls.py                  prints the tables and draws controls.png

From the project's root. The size is that of the README's trial. Each seed has one MLE and one
pre-training of the discriminator; from that same state each condition goes on for 16 adversarial
epochs. A condition's rows are appended when its run is at its end. It can be stopped at any time;
what it has not appended yet, it runs again.
"""

import csv
import functools
import itertools
import os
import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))  # for the program's modules; this one is imported before them
RESULTS = HERE / "controls.csv"
EXPERIMENT = {  # the default run. The study's runs begin from these, not from sequence_gan.py's.
    "EMB_DIM": 32,
    "HIDDEN_DIM": 32,
    "SEQ_LENGTH": 20,
    "START_TOKEN": 0,
    "VOCAB_SIZE": 5000,
    "PRE_EPOCH_NUM": 120,
    "GEN_LEARNING_RATE": 0.01,
    "GEN_ADVERSARIAL_LEARNING_RATE": None,
    "GEN_GRAD_CLIP": 5.0,
    "SEED": 88,
    "BATCH_SIZE": 64,
    "DIS_EMBEDDING_DIM": 64,
    "DIS_FILTER_SIZES": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20],
    "DIS_NUM_FILTERS": [100, 200, 200, 200, 200, 100, 100, 100, 100, 100, 160, 160],
    "DIS_DROPOUT_KEEP_PROB": 0.75,
    "DIS_L2_REG_LAMBDA": 0.2,
    "DIS_LEARNING_RATE": 1e-4,
    "DIS_BATCH_SIZE": 64,
    "DIS_PRETRAIN_ROUNDS": 50,
    "DIS_EPOCHS": 3,
    "TOTAL_BATCH": 200,
    "G_STEPS": 1,
    "D_STEPS": 5,
    "ROLLOUT_NUM": 16,
    "ROLLOUT_UPDATE_RATE": 0.0,
    "GENERATED_NUM": 10000,
    "EVAL_EVERY": 5,
    "TARGET_FILE": str(ROOT / "save/target_params.npz"),
    "TEXT_FILE": None,
    "TEST_FILE": None,
    "INITIAL_GENERATOR": None,
}
TRIAL = EXPERIMENT | {  # the README's, with 16 adversarial epochs in place of 11
    "DIS_FILTER_SIZES": [1, 2, 3, 4, 5],
    "DIS_NUM_FILTERS": [50, 50, 50, 50, 50],
    "D_STEPS": 1,
    "TOTAL_BATCH": 16,
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
    "logits": centred,  # the discriminator's logits take the place of its probabilities
    "exact": centred,  # exact log ratios do
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
    ("MLE 6", ["Pc"], range(1, 21)),  # planned after the others had run
]
# Planned later, each before it had run. With new real sequences in each set it decides by Pc - Dc
# in kl_generator_oracle, from both starts.
LATER = [
    ("MLE 6, new", ["Dc", "Pc"], range(1, 21)),
    ("MLE 26, new", ["Dc", "Pc"], range(1, 21)),
    ("MLE 6, small steps", ["Dc", "Pc", "more MLE"], range(1, 11)),
    ("MLE at 0.001", [], range(1, 4)),
    # What could a discriminator teach that knows all?
    ("MLE 6, small steps", ["exact"], range(1, 4)),
    ("MLE 6", ["exact"], range(1, 4)),
    ("MLE 26", ["exact"], range(1, 4)),
    # Is it what the exact one knows, or that its rewards are logits?
    ("MLE 6, small steps", ["logits"], range(1, 4)),
]
DRAWN = ["MLE 26", "MLE 6"]  # drawn and in the first table; of others the last three epochs count
MEASURES = {
    "kl_generator_oracle": "KL(generator ‖ oracle)",
    "kl_oracle_generator": "KL(oracle ‖ generator)",
    "nll_oracle": "NLL under the oracle",
    "entropy": "entropy",
}
REWARDS = {  # what the conditions are called in tables and pictures
    "MLE": "end of MLE",
    "D": "the discriminator's rewards",
    "P": "the same, shuffled",
    "M": "their mean at each position",
    "Dc": "minus their mean",
    "Pc": "minus their mean, shuffled",
    "D, no clip": "the discriminator's rewards, no clip",
    "P, no clip": "the same, shuffled, no clip",
    "logits": "the discriminator's logits minus their mean",
    "exact": "exact log ratios minus their mean",
    "more MLE": "as many steps of MLE",
}
BEGINNINGS = {  # and the starts
    "MLE 26": "26 epochs of MLE",
    "MLE 6": "6 epochs of MLE",
    "50 sets": "26 epochs, 50 sets",
    "150 sets": "26 epochs, 150 sets",
    "MLE 26, new": "26 epochs, new sequences",
    "MLE 6, new": "6 epochs, new sequences",
    "MLE 6, small steps": "6 epochs, small steps",
    "MLE at 0.001": "61 epochs at a rate of 0.001",
}
PAIRS = {  # comparisons of the same seed
    ("P", "D"): "shuffled - as they are",
    ("M", "D"): "their mean at each position - as they are",
    ("Pc", "Dc"): "minus their mean: shuffled - not",
    ("P, no clip", "D, no clip"): "no clip: shuffled - as they are",
    ("Dc", "more MLE"): "minus their mean - as many steps of MLE",
    ("Dc", "exact"): "rewards - exact log ratios, both minus their mean",
    ("logits", "exact"): "logits - exact log ratios, both minus their mean",
}
MANY = 10  # seeds that a row of the first table needs
T_QUANTILES = [  # of Student's t, 0.975, with 1 to 19 degrees of freedom
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930,
]  # fmt: skip


def controlled(condition, notes, evaluate_from=0):
    """A Rollout whose rewards the condition changes. It notes the mean of the unchanged rewards,
    and the norm that the gradient of the changed ones has before it is clipped. From step number
    evaluate_from on each epoch is evaluated, which does not change a run."""
    import tensorflow as tf

    import sequence_gan
    from generator import load
    from rollout import Rollout

    class Controlled(Rollout):
        def __init__(self, generator, update_rate):
            super().__init__(generator, update_rate)
            if condition == "exact":
                length = generator.sequence_length
                self.oracle = load(TRIAL["TARGET_FILE"], sequence_length=length)
            if condition == "more MLE":
                vars(generator)["reinforce_step"] = more_mle(generator)

        def get_reward(self, x, rollout_num, score):
            sequence_gan.EVAL_EVERY = 1 if len(notes) >= evaluate_from else 100
            if condition == "logits":
                score = functools.partial(logit, score)
            if condition == "exact":
                score = functools.partial(log_ratio, self.oracle, self.generator)
            found = super().get_reward(x, rollout_num, score)
            rewards = np.float32(CONDITIONS[condition](found, new_order(x)))
            if condition.endswith("no clip"):  # here, as a resumed run assigns the clip, too
                self.generator.grad_clip.assign(1e9)
            norm = self.generator.gradients(tf.constant(x), tf.constant(rewards))[2]
            notes.append({"reward_mean": np.mean(found), "gradient_norm": float(norm)})
            return rewards

    return Controlled


def logit(prob_real, x):
    """log p - log(1 - p), where p is the probability that x [N, T] is real; [N]."""
    p = np.asarray(prob_real(x))
    return np.log(p) - np.log1p(-p)


def log_ratio(oracle, generator, x):
    """log p(x) of the oracle less that of the generator, per token, of x [N, T]: the logit of an
    exact discriminator but for the factor T; [N]."""
    import tensorflow as tf

    return tf.reduce_mean(oracle.log_prob(x) - generator.log_prob(x), axis=1)


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
    import sequence_gan

    def labelled_batches(positives, negatives, batch_size, rng):
        with oracle.drawing_by(int(rng.integers(2**63))):
            new = oracle.sample(len(positives)).numpy()
        return original(new, negatives, batch_size, rng)

    original = sequence_gan.labelled_batches
    return labelled_batches


def run(folder, **names):
    """Run the experiment in the folder, with these names in place of its own; its evaluations."""
    import sequence_gan

    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    vars(sequence_gan).update(EXPERIMENT | names)
    sequence_gan.main()
    epochs = {}  # all that is measured in an epoch, its set included
    for row in read(Path("save/metrics.csv")):
        epoch = epochs.setdefault((row["stage"], row["epoch"]), {})
        epoch |= {name: value for name, value in row.items() if value}
    return [row for row in epochs.values() if "nll_test" in row]


def append(path, columns, rows, **same):
    """Append these columns of the rows, which have the values of `same` besides, to a csv file."""
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(row | same for row in rows)


def run_seed(seed, start, conditions):
    """Run those of the conditions from a start that controls.csv does not have."""
    import sequence_gan
    from rollout import Rollout

    done = {row["condition"] for row in read() if (row["start"], row["seed"]) == (start, str(seed))}
    conditions = [name for name in conditions if name not in done]
    if not conditions and "MLE" in done:
        return
    constants = TRIAL | STARTS[start] | {"SEED": seed}
    steps = constants["G_STEPS"]
    labelled_batches = sequence_gan.labelled_batches
    if start.endswith("new"):
        oracle = sequence_gan.make_data(constants)
        sequence_gan.labelled_batches = with_new_sequences(oracle)
    folder = ROOT / "save/controls" / f"{start}, seed {seed}"
    if not folder.exists():
        begun = folder.with_name(f"{folder.name}, begun")
        rows = run(begun, Rollout=Rollout, **constants | {"TOTAL_BATCH": 0})
        if "MLE" not in done:
            append(RESULTS, COLUMNS, rows, start=start, seed=seed, condition="MLE")
        begun.rename(folder)
    elif "MLE" not in done:
        sys.exit(f"{folder}: delete it, as {RESULTS.name} has no row of its MLE")
    for condition in conditions:
        copy = folder / condition
        shutil.rmtree(copy, ignore_errors=True)
        # run-*: an MLE that was stopped before its rows were written, and run again.
        shutil.copytree(folder / "save", copy / "save", ignore=shutil.ignore_patterns("run-*"))
        notes = []
        drawn = start in DRAWN and condition != "exact"
        rollout = controlled(condition, notes, 0 if drawn else 13 * steps)
        rows = run(copy, Rollout=rollout, **constants)
        if any(copy.glob("save/run-*")):
            sys.exit(f"{folder}: delete it, as it was made with other constants")
        rows = [row for row in rows if row["stage"] == "adversarial"]
        rows = [row | notes[(int(row["epoch"]) + 1) * steps - 1] for row in rows]
        append(RESULTS, COLUMNS, rows, start=start, seed=seed, condition=condition)
        os.chdir(folder)
        shutil.rmtree(copy)
    sequence_gan.labelled_batches = labelled_batches


def read(path=RESULTS):
    """The rows of a csv file; none if there is no such file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
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


def differences(rows, start, pair, name):
    """{seed: how much more of a measure the first of two conditions has at the end}."""
    one, other = (outcomes(rows, start, condition, name) for condition in pair)
    return {seed: one[seed] - other[seed] for seed in one if seed in other}


def mean_and_interval(values):
    """The mean of values, one a seed [N, ...], and how far its 95 % interval by Student's t goes to
    either side."""
    values = np.asarray(values)
    error = np.std(values, axis=0, ddof=1) / np.sqrt(len(values))
    return np.mean(values, axis=0), T_QUANTILES[len(values) - 2] * error


def shown(values):
    """A cell of a table: mean and interval."""
    return "{:+.3f} ± {:.3f}".format(*mean_and_interval(values))


def print_line(*cells):
    print(f"| {' | '.join(map(str, cells))} |")


def print_outcomes(rows):
    """MLE's end, ± standard deviation; each condition's change from it, ± 95 % interval."""
    print_line("start, rewards", "seeds", *MEASURES.values())
    print("|---" * (2 + len(MEASURES)) + "|")
    for start, condition in itertools.product(DRAWN, REWARDS):
        cells = []
        for name in MEASURES:
            mle, end = in_pairs(rows, start, ["MLE", condition], name)
            if condition == "MLE" and len(mle) >= MANY:
                cells.append(f"{np.mean(mle):.3f} ± {np.std(mle, ddof=1):.3f}")
            elif len(mle) >= MANY:
                cells.append(shown(end - mle))
        if cells:
            print_line(f"{BEGINNINGS[start]}: {REWARDS[condition]}", len(mle), *cells)


def print_later(rows):
    """The same changes with what was planned later, of two seeds or more."""
    names = list(MEASURES)[:2]
    print_line("planned later: start, rewards", "seeds", *[MEASURES[name] for name in names])
    print("|---" * (2 + len(names)) + "|")
    for start, conditions, _ in LATER:
        for condition in conditions:
            found = [in_pairs(rows, start, ["MLE", condition], name) for name in names]
            seeds = len(found[0][0])
            if seeds > 1:
                cells = [shown(end - mle) for mle, end in found]
                print_line(f"{BEGINNINGS[start]}: {REWARDS[condition]}", seeds, *cells)


def curve(rows, start, condition, seed, name):
    """A measure at the end of MLE and in each adversarial epoch of a condition; [17]."""
    same = [row for row in rows if (row["start"], row["seed"]) == (start, str(seed))]
    begin = [row for row in same if row["condition"] == "MLE"][-1:]
    return np.float64([r[name] for r in begin + [r for r in same if r["condition"] == condition]])


def at_equal_entropy(rows, start, name, seeds):
    """How much more of a measure shuffled rewards have than unshuffled ones where both have lost as
    much entropy, one a seed: by a parabola of the measure over entropy, at the end of the one that
    has lost less."""
    differences = []
    for seed in seeds:
        entropies = [curve(rows, start, each, seed, "entropy") for each in ("D", "P")]
        values = [curve(rows, start, each, seed, name) for each in ("D", "P")]
        common = max(np.mean(entropy[-3:]) for entropy in entropies)
        fits = [np.polyfit(x, y, 2) for x, y in zip(entropies, values)]
        differences.append(np.polyval(fits[1], common) - np.polyval(fits[0], common))
    return differences


def print_further(rows):
    """What the text says besides: conditions compared, MLE at a rate of 0.001, fresh seeds, equal
    entropy, the trial."""
    for start, (pair, label), name in itertools.product(STARTS, PAIRS.items(), MEASURES):
        one, other = in_pairs(rows, start, pair, name)
        if len(one) > 1:
            found = f"{MEASURES[name]}, of {len(one)}: {shown(one - other)}"
            print(f"{BEGINNINGS[start]}: {label}, {found}")
    pairs = [("Dc", "MLE"), ("Pc", "Dc")]
    for base, pair, name in itertools.product(DRAWN, pairs, list(MEASURES)[:2]):
        new, same = (differences(rows, start, pair, name) for start in (f"{base}, new", base))
        values = [new[seed] - same[seed] for seed in new if seed in same]
        if len(values) > 1:
            what = " - ".join(REWARDS[condition] for condition in pair)
            found = f"{MEASURES[name]}, of {len(values)}: {shown(values)}"
            print(f"{BEGINNINGS[base]}, new minus same real sequences: {what}, {found}")
    slow = [row for row in rows if row["start"] == "MLE at 0.001"]
    for seed, name in itertools.product(sorted({row["seed"] for row in slow}), list(MEASURES)[:2]):
        nearest = min((float(row[name]), row["epoch"]) for row in slow if row["seed"] == seed)
        print(f"MLE at 0.001, seed {seed}: lowest {MEASURES[name]} and its epoch: {nearest}")
    fresh = [row for row in rows if int(row["seed"]) >= 10]  # the others had been seen before
    d, p = in_pairs(fresh, "MLE 26", ["D", "P"], "kl_generator_oracle")
    print(f"Of seeds 10 to 20 alone, 26 epochs, KL(generator ‖ oracle): {shown(p - d)}")
    for start, name in itertools.product(DRAWN, list(MEASURES)[:2]):
        difference = at_equal_entropy(rows, start, name, range(1, 21))
        print(f"At equal entropy, {BEGINNINGS[start]}, {MEASURES[name]}: {shown(difference)}")
    for condition, epoch in (("MLE", "25"), ("D", "10")):  # of the README's trial
        same = {"start": "MLE 26", "condition": condition, "epoch": epoch}
        found = [row for row in rows if row.items() >= same.items()]
        for name in ("nll_oracle", "entropy"):
            values = [float(row[name]) for row in found]
            spread = f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
            print(f"The trial, {REWARDS[condition]}, epoch {epoch}, {MEASURES[name]}: {spread}")


def draw(rows):
    """The change of three measures from the end of MLE, and one distance against entropy."""
    from draw import save
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.6), layout="constrained")
    grid = figure.subplots(2, 4)
    names = ["nll_oracle", "kl_generator_oracle", "kl_oracle_generator"]
    for panels, start in zip(grid, DRAWN):
        for color, condition in enumerate(["D", "P", "M", "Dc", "Pc"]):
            seeds = outcomes(rows, start, condition, "entropy")
            if len(seeds) < 3:
                continue
            values = {n: [curve(rows, start, condition, s, n) for s in seeds] for n in MEASURES}
            for axes, name in zip(panels, names):
                changes = [each - each[0] for each in values[name]]
                mean, half = mean_and_interval(changes)
                axes.plot(mean, f"C{color}.-", markersize=4, label=REWARDS[condition])
                axes.fill_between(range(17), mean - half, mean + half, color=f"C{color}", alpha=0.2)
            x, y = (np.mean(values[n], axis=0) for n in ("entropy", "kl_generator_oracle"))
            panels[3].plot(x, y, f"C{color}.-", markersize=4)
            panels[3].plot(x[0], y[0], "ko", markersize=5)
        for axes, name in zip(panels, names):
            axes.axhline(0, color="gray", linestyle="--", label=REWARDS["MLE"])
            axes.fill_between([], [], color="gray", alpha=0.2, label="95 % interval, of the seeds")
            axes.set_title(f"change of {MEASURES[name]}", fontsize="medium")
            axes.set_xlabel("adversarial epochs")
        panels[0].set_ylabel(f"after {BEGINNINGS[start]}\nnats per token")
        panels[3].set_title("distance against entropy", fontsize="medium")
        panels[3].set_xlabel("entropy, nats per token, falling")
        panels[3].set_ylabel(MEASURES["kl_generator_oracle"])
        panels[3].invert_xaxis()
    handles = dict(zip(*grid[0, 0].get_legend_handles_labels()[::-1]))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    save(figure, ".images/controls.png")


def in_one_line(main, *arguments):
    """Call main; it ends in one line where a file or an argument is not what it must be, and where
    a run diverges. Ctrl-C ends it, too."""
    from dataloader import DivergenceError, InputError

    try:
        main(*arguments)
    except (InputError, DivergenceError, OSError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def main():
    seeds = sys.argv[1:]
    if not set(seeds) <= set(map(str, range(1, 21))):
        sys.exit(f"controls.py: expected seeds from 1 to 20, found {seeds}")
    for start, conditions, planned in PLAN + LATER:
        for seed in map(int, seeds):
            if seed in planned:
                run_seed(seed, start, conditions)
    if not seeds:
        rows = read()
        print_outcomes(rows)
        print()
        print_later(rows)
        draw(rows)
        # What follows compares all twenty seeds.
        if all(len(outcomes(rows, start, "P", "entropy")) == 20 for start in DRAWN):
            print()
            print_further(rows)


if __name__ == "__main__":
    in_one_line(main)
