"""Does the discriminator teach the generator anything at the paper's size? From the project's root:

python save/reference/full.py shuffled ORACLE SEED
python save/reference/full.py mean ORACLE SEED METRICS
python save/reference/full.py                             prints the table, draws full-size.png

ORACLE is an oracle's file. Both run the whole experiment. The first shuffles the rewards of each
step over the sequences. The second has no discriminator: all rewards of an adversarial epoch are
the mean reward that the epoch had in a run of SeqGAN, whose metrics.csv is METRICS. The same
command goes on with a run, in save/full/.
"""

import sys
from pathlib import Path

import numpy as np
from controls import MEASURES, REWARDS, controlled, print_line, read, run

HERE = Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
RUNS = {  # {oracle and seed: {rewards: name of the metrics}}
    "authors' oracle, seed 1": {
        "D": "seqgan-authors-oracle-1",
        "M": "mean-authors-oracle-1",
    },
    "our oracle, seed 88": {
        "D": "seqgan-our-oracle",
        "M": "mean-our-oracle",
        "1": "constant-our-oracle",
    },
}
LABELS = REWARDS | {"1": "a reward of 1"}
COLORS = {"D": "C0", "P": "C1", "M": "C2", "1": "C5"}  # as in controls.png
EPOCHS = {  # of the table
    "nll_oracle": [20, 50, 199],
    "kl_generator_oracle": [20, 50, 199],
    "kl_oracle_generator": [5, 10, 20, 50, 199],
}


def recorded(metrics):
    """A Rollout whose rewards are, for all tokens, the mean reward that the same epoch had in the
    run of these metrics, or the latest one before it that is known."""
    import sequence_gan
    from rollout import Rollout

    rows = [row for row in read(metrics) if row["reward_mean"]]
    means = {int(row["epoch"]): float(row["reward_mean"]) for row in rows}

    class Recorded(Rollout):
        def get_reward(self, x, rollout_num, score):
            epoch = sum(bool(row.get("pg_loss")) for row in read(Path("save/metrics.csv")))
            sequence_gan.EVAL_EVERY = 1 if epoch < 20 else 5
            latest = max(known for known in means if known <= epoch)
            return np.full(x.shape, means[latest], np.float32)

    return Recorded


def changes(name):
    """{measure: {adversarial epoch: its change from the last evaluation of MLE}} of a run."""
    rows = [row for row in read(HERE / f"{name}.csv") if row["nll_oracle"]]
    found = {}
    for measure in EPOCHS:
        column = measure
        if measure == "kl_oracle_generator":
            column = "nll_test"  # they differ by the oracle's entropy, a constant
        values = {"mle": {}, "adversarial": {}}
        for row in rows:
            if row.get(column):
                values[row["stage"]][int(row["epoch"])] = float(row[column])
        end = [*values["mle"].values()][-1:]
        found[measure] = {epoch: value - end[0] for epoch, value in values["adversarial"].items()}
    if name == "seqgan-our-oracle":  # its entropy was measured at five points only
        begin, *points = read(HERE / "divergences.csv")
        for row in points:
            change = float(row["kl_generator_oracle"]) - float(begin["kl_generator_oracle"])
            found["kl_generator_oracle"][int(row["adversarial_epochs"]) - 1] = change
    return found


def print_table():
    titles = [f"{MEASURES[name]}: {' / '.join(map(str, of))}" for name, of in EPOCHS.items()]
    print_line("rewards; change by epoch", *titles)
    print("|---" * (1 + len(EPOCHS)) + "|")
    for where, runs in RUNS.items():
        for rewards, name in runs.items():
            found = changes(name)
            cells = []
            for measure, epochs in EPOCHS.items():
                shown = {epoch: f"{value:+.3f}" for epoch, value in found[measure].items()}
                cells.append(" / ".join(shown.get(epoch, "n/a") for epoch in epochs))
            print_line(f"{where}: {LABELS[rewards]}", *cells)


def draw():
    """The changes from epoch to epoch, and once more those of the first twenty."""
    from draw import save
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.6), layout="constrained")
    grid = figure.subplots(len(RUNS), 4)
    for panels, (where, runs) in zip(grid, RUNS.items()):
        for rewards, name in runs.items():
            found = changes(name)
            for axes, measure in zip(panels, [*EPOCHS, "kl_oracle_generator"]):
                line = found[measure]
                if axes is panels[3]:
                    line = {epoch: value for epoch, value in line.items() if epoch <= 20}
                style = {"color": COLORS[rewards], "marker": ".", "markersize": 4}
                axes.plot(line.keys(), line.values(), label=LABELS[rewards], **style)
        panels[0].set_ylabel(f"{where}\nnats per token")
        for axes, measure in zip(panels, EPOCHS):
            axes.set_title(f"change of {MEASURES[measure]}", fontsize="medium")
        panels[3].set_title("the same, first epochs", fontsize="medium")
        for axes in panels:
            axes.axhline(0, color="gray", linestyle="--", label="end of MLE")
            axes.set_xlabel("adversarial epochs")
    handles = {}
    for axes in grid[:, 0]:
        handles |= dict(zip(*axes.get_legend_handles_labels()[::-1]))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=6)
    save(figure, ".images/full-size.png")


def main():
    sys.path.insert(0, str(ROOT))
    if not sys.argv[1:]:
        print_table()
        return draw()
    what, oracle, seed, *metrics = sys.argv[1:]
    folder = ROOT / "save/full" / f"{Path(oracle).stem}, seed {seed}, {what}"
    names = {"TARGET_FILE": str(Path(oracle).resolve()), "SEED": int(seed)}
    if what == "shuffled":
        names["Rollout"] = controlled("P", [])
    else:
        names |= {"Rollout": recorded(Path(*metrics)), "DIS_PRETRAIN_ROUNDS": 0, "D_STEPS": 0}
    run(folder, **names)


if __name__ == "__main__":
    main()
