"""Does the discriminator teach the generator anything at the paper's size? From the project's root:

python save/reference/full.py shuffled ORACLE SEED
python save/reference/full.py one ORACLE SEED METRICS
python save/reference/full.py                            prints the table, draws full-size.png

Both are the default run, but for the oracle and the seed, in save/full/. The first shuffles the
rewards of each step over the sequences. The second has no discriminator, and takes an hour of one
core: in an epoch all tokens have one reward, the mean one that the epoch had in a run of SeqGAN,
whose metrics.csv is METRICS. The same command resumes an interrupted run. The table and the picture
are of metrics that were copied here, under the names in RUNS. mean-our-oracle.csv is of

python save/reference/full.py one save/target_params.npz 88 save/reference/seqgan-our-oracle.csv

The runs on the authors' oracle were made in the same way, with their pickle. The runs with a reward
of 1 follow the README's recipe.
"""

import sys
from pathlib import Path

import numpy as np
from controls import EXPERIMENT, MEASURES, REWARDS, controlled, in_one_line, print_line, read, run

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
RUNS = {  # {oracle: [(seed, rewards, name of the metrics)]}
    "authors' oracle": [
        (1, "D", "seqgan-authors-oracle-1"),
        (1, "P", "shuffled-authors-oracle-1"),
        (1, "mean", "mean-authors-oracle-1"),
        (88, "D", "seqgan-authors-oracle"),
        (88, "P", "shuffled-authors-oracle"),
        (88, "1", "constant-authors-oracle"),
    ],
    "our oracle": [
        (88, "D", "seqgan-our-oracle"),
        (88, "mean", "mean-our-oracle"),
        (88, "1", "constant-our-oracle"),
    ],
}
LABELS = {
    "D": REWARDS["D"],
    "P": REWARDS["P"],
    "mean": "SeqGAN's mean reward for all tokens",
    "1": "a reward of 1 for all tokens",
}
COLORS = {"D": "C0", "P": "C1", "mean": "C6"}  # of those that are drawn
STYLES = {1: "solid", 88: (0, (1, 1))}  # of a seed's lines
SHOWN = ["nll_oracle", "kl_generator_oracle", "kl_oracle_generator"]
EPOCHS = [10, 20, 50, 199]  # of the table


def recorded(metrics):
    """A Rollout whose rewards are, for all tokens, the mean reward that the same epoch had in the
    run of these metrics. Each of the first twenty epochs is evaluated, and then each fifth."""
    import sequence_gan
    from rollout import Rollout

    try:
        rows = [row for row in read(metrics) if row.get("reward_mean")]
        means = {int(row["epoch"]): float(row["reward_mean"]) for row in rows}
    except (KeyError, ValueError):  # of another kind of file
        means = {}
    if set(means) != set(range(EXPERIMENT["TOTAL_BATCH"])):
        epochs = f"{EXPERIMENT['TOTAL_BATCH']} adversarial epochs"
        sys.exit(f"{metrics}: expected metrics with a reward_mean for each of {epochs}")

    class Recorded(Rollout):
        def get_reward(self, x, rollout_num, score):
            epoch = sum(bool(row.get("pg_loss")) for row in read(Path("save/metrics.csv")))
            sequence_gan.EVAL_EVERY = 1 if epoch < 20 else 5
            return np.full(x.shape, means[epoch], np.float32)

    return Recorded


def changes(name):
    """{measure: {adversarial epoch: its change since the last evaluation of MLE}} of a run."""
    rows = read(HERE / f"{name}.csv")
    found = {}
    for measure in SHOWN:
        column = measure
        if measure == "kl_oracle_generator":
            column = "nll_test"  # they differ by the oracle's entropy, a constant
        values = {"mle": {}, "adversarial": {}}
        for row in rows:
            if row.get(column):
                values[row["stage"]][int(row["epoch"])] = float(row[column])
        mle = list(values["mle"].values())
        found[measure] = {epoch: value - mle[-1] for epoch, value in values["adversarial"].items()}
    return found


def print_table():
    numbers = " / ".join(map(str, EPOCHS))
    print_line("rewards; change by epoch", *(f"{MEASURES[name]}: {numbers}" for name in SHOWN))
    print("|---" * (1 + len(SHOWN)) + "|")
    for oracle, runs in RUNS.items():
        for seed, rewards, name in runs:
            found = changes(name)
            cells = []
            for measure in SHOWN:
                shown = {epoch: f"{value:+.3f}" for epoch, value in found[measure].items()}
                numbers = [shown.get(epoch, "n/a") for epoch in EPOCHS]
                cells.append(" / ".join(numbers) if shown else "n/a")
            print_line(f"{oracle}, seed {seed}: {LABELS[rewards]}", *cells)


def draw():
    """The changes in each fifth epoch; of the last measure those since epoch 0, too, to epoch 20.
    Runs with a reward of 1 are left out: beside them the others could not be told apart."""
    from draw import save
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(12, 6.6), layout="constrained")
    grid = figure.subplots(len(RUNS), 4)
    for panels, (oracle, runs) in zip(grid, RUNS.items()):
        for seed, rewards, name in runs:
            if rewards not in COLORS:
                continue
            found = changes(name)
            for axes, measure in zip(panels, [*SHOWN, "kl_oracle_generator"]):
                line = found[measure]
                if not line:
                    continue
                if axes is panels[3]:
                    line = {epoch: line[epoch] - line[0] for epoch in line if epoch <= 20}
                else:  # from the last evaluation of MLE on, which is five epochs earlier
                    epochs = [epoch for epoch in line if epoch % 5 == 0 or epoch in EPOCHS]
                    line = {-5: 0} | {epoch: line[epoch] for epoch in epochs}
                axes.plot(*zip(*line.items()), linestyle=STYLES[seed], color=COLORS[rewards])
        panels[0].set_ylabel(f"{oracle}\nnats per token")
        for axes, measure in zip(panels, SHOWN):
            axes.set_title(f"change of {MEASURES[measure]}", fontsize="medium")
            axes.axhline(0, color="k", linestyle="--", linewidth=1)
            axes.set_xlabel("adversarial epoch")
        panels[3].set_title(f"since epoch 0: {MEASURES[measure]}", fontsize="medium", loc="right")
        panels[3].axhline(0, color="lightgray", zorder=0)
        panels[3].set_xlabel("adversarial epoch")
    handles = [Line2D([], [], color=COLORS[each], label=LABELS[each]) for each in COLORS]
    for seed, style in STYLES.items():
        handles.append(Line2D([], [], color="gray", linestyle=style, label=f"seed {seed}"))
    handles.append(Line2D([], [], color="k", linestyle="--", linewidth=1, label=REWARDS["MLE"]))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    save(figure, ".images/full-size.png")


def main():
    match sys.argv[1:]:
        case []:
            print_table()
            draw()
        case ["shuffled", oracle, seed]:
            run_full(oracle, seed, "shuffled", Rollout=controlled("P", []))
        case ["one", oracle, seed, metrics]:
            from sequence_gan import content

            none = {"DIS_PRETRAIN_ROUNDS": 0, "D_STEPS": 0}
            metrics = Path(metrics).resolve()
            rollout = recorded(metrics)
            run_full(oracle, seed, f"one of {content(metrics)}", Rollout=rollout, **none)
        case found:
            sys.exit(f"full.py: expected one of the three commands at its top, found {found}")


def run_full(oracle, seed, what, **names):
    """Run the experiment with these names in place of its own."""
    oracle = Path(oracle).resolve()
    if not (oracle.is_file() and seed.isdecimal()):
        sys.exit(f"full.py: expected an oracle's file and a seed, found {str(oracle)!r}, {seed!r}")
    folder = ROOT / "save/full" / f"{oracle.name}, seed {seed}, {what}"
    run(folder, TARGET_FILE=str(oracle), SEED=int(seed), **names)


if __name__ == "__main__":
    in_one_line(main)
