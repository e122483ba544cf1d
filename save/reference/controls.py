"""Does the discriminator teach the generator anything? Its rewards against the same ones permuted.

python save/reference/controls.py 1 2 3    runs these seeds, but for what controls.csv has

From the project's root. The size is that of the README's trial. Each seed has one MLE and one
pre-training of the discriminator; from that same state each condition goes on for 16 adversarial
epochs. A condition's rows are appended when its run is at its end. It can be stopped at any time;
what it has not appended yet, it runs again. It evaluates nothing yet: twenty seeds are planned.
"""

import csv
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
    "EVAL_EVERY": 1,
}
COLUMNS = (
    "start seed condition stage epoch nll_oracle nll_test entropy kl_generator_oracle "
    "kl_oracle_generator self_bleu_2 reward_mean gradient_norm"
).split()


def as_they_are(rewards, rng):
    return rewards


def permuted(rewards, rng):
    return rng.permutation(rewards)  # whole rows: same sizes, tail and positions


def mean_alone(rewards, rng):
    return np.tile(np.mean(rewards, axis=0), [len(rewards), 1])


def centred(rewards, rng):
    return rewards - np.mean(rewards, axis=0)


def centred_permuted(rewards, rng):
    return rng.permutation(rewards - np.mean(rewards, axis=0))


CONDITIONS = {
    "D": as_they_are,
    "P": permuted,
    "M": mean_alone,
    "Dc": centred,
    "Pc": centred_permuted,
    "D, no clip": as_they_are,
    "P, no clip": permuted,
}
STARTS = {
    "MLE 26": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 5},
    "MLE 6": {"PRE_EPOCH_NUM": 6, "DIS_PRETRAIN_ROUNDS": 5},
    "50 sets": {"PRE_EPOCH_NUM": 26, "DIS_PRETRAIN_ROUNDS": 50},
}
PLAN = [  # start, conditions that go on from it, seeds that have them; what decides comes first
    ("MLE 26", ["D", "P"], range(1, 21)),
    ("MLE 26", ["Dc", "Pc"], range(1, 21)),
    ("MLE 6", ["D", "P", "Dc"], range(1, 21)),
    ("MLE 26", ["D, no clip", "P, no clip"], range(1, 6)),
    ("50 sets", ["D", "P"], range(1, 6)),
    ("MLE 26", ["M"], range(1, 21)),
]


def controlled(condition, seed, notes):
    """A Rollout whose rewards the condition changes. It notes their mean before that, and the norm
    of the gradient, before it is clipped, after it."""
    import tensorflow as tf

    from rollout import Rollout

    rng = np.random.default_rng([seed, list(CONDITIONS).index(condition)])

    class Controlled(Rollout):
        def __init__(self, generator, update_rate):
            super().__init__(generator, update_rate)
            if condition.endswith("no clip"):
                generator.grad_clip = 1e9

        def get_reward(self, x, rollout_num, score):
            found = super().get_reward(x, rollout_num, score)
            rewards = np.float32(CONDITIONS[condition](found, rng))
            norm = self.generator.gradients(tf.constant(x), tf.constant(rewards))[2]
            notes.append({"reward_mean": np.mean(found), "gradient_norm": float(norm)})
            return rewards

    return Controlled


def run(folder, **names):
    """Run sequence_gan in the folder with these names in place of its own; its evaluations."""
    import sequence_gan

    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    vars(sequence_gan).update(TRIAL, **names)
    sequence_gan.main()
    with open("save/metrics.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["nll_oracle"]]


def append(rows, **same):
    """Append rows of an evaluation each to controls.csv."""
    is_new = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
        if is_new:
            writer.writeheader()
        writer.writerows(row | same for row in rows)


def seldom(generator, update_rate):
    """A Rollout for MLE, which is evaluated in every fifth epoch: that does not change a run."""
    import sequence_gan
    from rollout import Rollout

    sequence_gan.EVAL_EVERY = 5  # after the settings were recorded
    return Rollout(generator, update_rate)


def run_seed(seed, start, conditions):
    """Run those of the conditions from a start that controls.csv does not have."""
    done = {row["condition"] for row in read() if (row["start"], row["seed"]) == (start, str(seed))}
    conditions = [name for name in conditions if name not in done]
    constants = STARTS[start] | {"SEED": seed}
    folder = ROOT / "save/controls" / f"{start}, seed {seed}"
    if conditions and not folder.exists():
        begun = folder.with_suffix(".begun")
        rows = run(begun, Rollout=seldom, TOTAL_BATCH=0, **constants)
        if "MLE" not in done:
            append(rows, start=start, seed=seed, condition="MLE")
        begun.rename(folder)
    for condition in conditions:
        copy = folder / condition
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder / "save", copy / "save")
        notes = []
        names = {"Rollout": controlled(condition, seed, notes), "TOTAL_BATCH": 16}
        rows = run(copy, **names, **constants)
        rows = [row for row in rows if row["stage"] == "adversarial"]
        rows = [row | note for row, note in zip(rows, notes, strict=True)]
        append(rows, start=start, seed=seed, condition=condition)
        os.chdir(folder)
        shutil.rmtree(copy)


def read():
    """The rows of controls.csv."""
    if not RESULTS.exists():
        return []
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def main():
    sys.path.insert(0, str(ROOT))
    for start, conditions, planned in PLAN:
        for seed in map(int, sys.argv[1:]):
            if seed in planned:
                run_seed(seed, start, conditions)


if __name__ == "__main__":
    main()
