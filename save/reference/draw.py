"""Pictures and tables of the study, from the committed numbers. From the project's root:

python save/reference/draw.py             draws the pictures and prints the tables
python save/reference/draw.py LOG ...     draws these experiment logs in one picture, logs.png
"""

import io
import math
import statistics
import sys
from pathlib import Path

from controls import MEASURES, read
from matplotlib.figure import Figure
from PIL import Image

HERE = Path(__file__).parent
EPOCHS = (20, 50, 100, 150, 199)
DIVERGENCES = {name: MEASURES[name] for name in ("kl_generator_oracle", "kl_oracle_generator")}
RANDOM = {  # what uniformly random tokens have, by measure.py
    "authors": {"kl_generator_oracle": 2.912, "kl_oracle_generator": 2.763},
    "our": {"kl_generator_oracle": 2.812, "kl_oracle_generator": 2.721},
}
# Runs of the authors' program on their oracle; the others in the file are something else.
AUTHORS_PROGRAM = """
FrensiZ--SeqGAN--10ee742 FrensiZ--SeqGAN--540dd7e FrensiZ--SeqGAN--34be1f5
GwReader--bamboo_generator--fb6e212 mwnewlin--AFIT--5531621
mhrmm--thesis-jillian-james--7b9b525 liwei606--SeqGAN--25a2c63 L0SG--seqgan-music--3319ce2
zhangxuemiao--SeqGAN--2dc63cf 104ki--SeqGAN--5c6e497
""".split()


def read_log(path):
    """{stage: {epoch: NLL}} of an experiment log; the stages are "mle" and "adversarial"."""
    stages = {"pre-training...": "mle", "adversarial training...": "adversarial"}
    if not Path(path).is_file():
        sys.exit(f"{path}: expected an experiment log, found no file")
    curves, stage = {"mle": {}, "adversarial": {}}, "mle"
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines(), 1):
        words = line.split()
        try:
            if words[:1] == ["epoch:"]:
                _, epoch, name, nll = words
                if name != "nll:" or int(epoch) < 0:
                    raise ValueError
                if math.isfinite(float(nll)):
                    curves[stage][int(epoch)] = float(nll)
            elif words:
                stage = stages[line.strip()]
        except (KeyError, ValueError):
            what = "expected a line of an experiment log"
            sys.exit(f"{path}, line {number}: {what}, found {line!r:.60}")
    if not any(curves.values()):
        sys.exit(f"{path}: expected an experiment log, found no NLL in it")
    return curves


def read_runs():
    """{run: curves as of read_log} of the independent runs."""
    runs = {}
    for row in read(HERE / "independent-runs.csv"):
        curves = runs.setdefault(row["run"], {"mle": {}, "adversarial": {}})
        curves[row["stage"]][int(row["epoch"])] = float(row["nll"])
    return runs


def read_schedules():
    """{"g, d, k": {seed: rows}} of runs with other schedules; the first row is the end of MLE.

    They had VOCAB_SIZE = 500, SEQ_LENGTH = 10, PRE_EPOCH_NUM = 40, EVAL_EVERY = 1,
    DIS_FILTER_SIZES = [1, 2, 3, 4, 5], DIS_NUM_FILTERS = [30] * 5, DIS_DROPOUT_KEEP_PROB = 0.5,
    DIS_LEARNING_RATE = 1e-3, TOTAL_BATCH = 20, 20, 60, 60 and DIS_PRETRAIN_ROUNDS = 3, 1, 3, 10,
    which are 30 epochs of the CNN each.
    """
    schedules = {}
    for row in read(HERE / "schedules.csv"):
        schedules.setdefault(row["schedule"], {}).setdefault(row["seed"], []).append(row)
    return schedules


def spread(values):
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"


def at_epochs(curves):
    """{epoch: NLL} of a run at the tables' epochs, as far as it goes; 200 stands for 199."""
    nlls = curves["adversarial"]
    found = {epoch: nlls.get(epoch) for epoch in EPOCHS}
    found[199] = nlls.get(199, nlls.get(200))
    return {epoch: nll for epoch, nll in found.items() if nll is not None}


def falls(curves):
    """{epoch: fall of the NLL from the run's MLE level, the mean of its last 20 epochs}."""
    last = max(curves["mle"])
    level = statistics.mean(nll for epoch, nll in curves["mle"].items() if epoch >= last - 20)
    return {epoch: level - nll for epoch, nll in at_epochs(curves).items()}


def print_table(title, measure, single, others=()):
    """A measure, {epoch: value}, of other people's runs together, and of single runs."""
    print(f"| {title} in adversarial epoch | " + " | ".join(map(str, EPOCHS)) + " |")
    print("|---" * (1 + len(EPOCHS)) + "|")
    if others:
        found = [measure(curves) for curves in others]
        columns = [[values[epoch] for values in found if epoch in values] for epoch in EPOCHS]
        cells = [spread(c) for c in columns]
        print("| others, mean ± standard deviation | " + " | ".join(cells) + " |")
        cells = [f"{min(c):.3f} to {max(c):.3f}, of {len(c)}" for c in columns]
        print("| others, range and number | " + " | ".join(cells) + " |")
    for label, curves in single.items():
        found = measure(curves)
        cells = [f"{found[epoch]:.3f}" if epoch in found else "" for epoch in EPOCHS]
        print(f"| {label} | " + " | ".join(cells) + " |")


def print_schedules(schedules):
    """The lowest and the last of each schedule; above them the end of MLE, which they share."""

    def cells(rows):
        names = "nll_oracle", "nll_test", "self_bleu_2"
        return " | ".join(spread([float(row[name]) for row in rows]) for name in names)

    print("| g, d, k | g steps | lowest NLL | last NLL | last test NLL | last Self-BLEU-2 |")
    print("|---" * 6 + "|")
    first, *_ = schedules.values()
    print(f"| MLE | | | {cells([rows[0] for rows in first.values()])} |")
    for schedule, seeds in schedules.items():
        lowest = [min(float(row["nll_oracle"]) for row in rows[1:]) for rows in seeds.values()]
        last = [rows[-1] for rows in seeds.values()]
        steps = int(schedule.split(",")[0]) * (1 + int(last[0]["epoch"]))
        print(f"| {schedule} | {steps:,} | {spread(lowest)} | {cells(last)} |")


def plot(axes, curves, end=120, **style):
    """A curve over MLE epochs and, from `end` on, adversarial ones."""
    points = list(curves["mle"].items())
    points += [(end + epoch, nll) for epoch, nll in curves["adversarial"].items()]
    axes.plot(*zip(*points), **style)


def save(figure, path):
    """Save a figure in 128 colours, which takes a third of the bytes."""
    data = io.BytesIO()
    figure.savefig(data, dpi=100, format="png")
    try:
        Image.open(data).convert("RGB").quantize(128).save(path, optimize=True)
    except OSError as error:
        sys.exit(f"{path}: cannot be written: {error.strerror}")
    print(f"{path} is drawn", file=sys.stderr)


def draw_learning_curve(runs, published, ours):
    """Above, the NLL of all runs on the authors' oracle; below, both divergences of our seed 1."""
    figure = Figure(figsize=(8.5, 7.5), layout="constrained")
    axes, below = figure.subplots(2, sharex=True, height_ratios=[5, 4])
    for number, name in enumerate(AUTHORS_PROGRAM):
        label = "the authors' program, ten runs by others" if number == 0 else None
        plot(axes, runs[name], color="gray", linewidth=0.8, alpha=0.7, label=label)
    plot(axes, published, color="C1", label="the authors' program, the log that they published")
    for (label, curves), color in zip(ours.items(), ("C0", "C2")):
        plot(axes, curves, color=color, label=label)
    axes.set(xlim=(-5, 325), ylim=(8.6, 9.6))
    axes.set_ylabel("NLL under the authors' oracle, nats per token")

    rows = evaluations("seqgan-authors-oracle-1")
    for (name, label), color in zip(DIVERGENCES.items(), ("C3", "C4")):
        curves = {"mle": {}, "adversarial": {}}
        for row in rows:
            curves[row["stage"]][int(row["epoch"])] = float(row[name])
        plot(below, curves, color=color, label=f"{label} of seed 1")
        random = RANDOM["authors"][name]
        below.axhline(random, color=color, linestyle=":", label=f"{label} of random tokens")
    below.set(ylim=(1.8, 3.6), ylabel="distance, nats per token")
    epochs = [*range(0, 120, 20), *(120 + epoch for epoch in (0, *EPOCHS))]
    below.set_xticks(epochs, [epoch if epoch < 120 else epoch - 120 for epoch in epochs])
    below.set_xlabel("epochs of MLE, then adversarial epochs")
    for panel in (axes, below):
        panel.axvline(120, color="k", linestyle="--", label="adversarial training begins")
        panel.legend(fontsize="small", loc="upper right" if panel is axes else "lower right")
    save(figure, ".images/learning-curve.png")


def evaluations(name, **of):
    """The evaluations in a csv whose columns have the values of."""
    rows = [row for row in read(HERE / f"{name}.csv") if row.get("nll_oracle")]
    return [row for row in rows if all(row[column] == value for column, value in of.items())]


def draw_trade_off():
    """Both divergences of generators on our oracle, seed 88, from epoch to epoch."""
    figure = Figure(figsize=(8.5, 6.5), layout="constrained")
    axes = figure.subplots()

    def draw(label, rows, style, named=(), offset=(6, -9)):
        """A way through both divergences; `named`: {number of a row: what is written there}."""
        x, y = ([float(row[name]) for row in rows] for name in DIVERGENCES)
        (line,) = axes.plot(x, y, style, label=label, markersize=4)
        for number, text in dict(named).items():
            at = {
                "ha": "left" if offset[0] > 0 else "right",
                "xytext": offset,
                "textcoords": "offset points",
                "color": line.get_color(),
            }
            axes.annotate(text, (x[number], y[number]), fontsize="small", **at)

    mle = evaluations("mle", oracle="our", seed="88")
    draw("MLE of 1 to 116 epochs", mle, "ko-", {0: "1", 1: "6", 2: "11", 4: "21", -1: "116"})
    points = evaluations("divergences")
    label = "from there SeqGAN after 0, 29, 47, 148, 200 epochs"
    draw(label, points, "C0s-", {-1: "200: NLL 8.62"})
    for label, name, color in (("1", "constant", "C1"), ("BLEU", "pg-bleu", "C2")):
        rows = evaluations(f"{name}-our-oracle", stage="adversarial")
        draw(f"from there rewards of {label}, to epoch 199", rows, f"{color}.-", {-1: "199"})
    for epochs, color in (("6", "C3"), ("11", "C4"), ("116", "C5")):
        rows = evaluations("temperature", oracle="our", mle_epochs=epochs)
        named, offset = {-1: "0.7"}, (6, -9)
        if epochs == "6":
            named, offset = {4: "0.83: NLL 8.61", -1: "0.7"}, (-6, 3)
        label = f"MLE of {epochs} epochs, sampled at temperatures from 1 to 0.7"
        draw(label, rows, f"{color}x:", named, offset)
    axes.plot(*RANDOM["our"].values(), "k*", markersize=10, label="uniformly random tokens")
    axes.set(xlim=(1.85, 4.1), ylim=(1.7, 4.8), title="our oracle, seed 88; best is below, left")
    axes.set_xlabel(
        "KL(generator ‖ oracle), nats per token: what it writes and the oracle would not"
    )
    axes.set_ylabel(
        "KL(oracle ‖ generator), nats per token: what the oracle writes and it would not"
    )
    axes.legend(fontsize="small", loc="upper left")
    save(figure, ".images/trade-off.png")


def draw_schedules(schedules):
    figure = Figure(figsize=(8.5, 6), layout="constrained")
    panels = figure.subplots(2, 2, sharey="row")
    for axes, (schedule, seeds) in zip(panels.flat, schedules.items()):
        for seed, rows in seeds.items():
            mle, *nlls = (float(row["nll_oracle"]) for row in rows)
            (line,) = axes.plot(nlls, linewidth=1, label=f"seed {seed}")
            axes.axhline(mle, color=line.get_color(), linestyle=":", linewidth=1)
        steps = int(schedule.split(",")[0]) * len(nlls)
        axes.set(title=f"g, d, k = {schedule}: {steps:,} generator steps")
        axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[:, 0]:
        axes.set_ylabel("NLL under the oracle,\nnats per token")
    for axes in panels[1]:
        axes.set_xlabel("adversarial epoch")
    lines, labels = axes.get_legend_handles_labels()
    dotted = axes.axhline(mle, color="gray", linestyle=":", linewidth=1)
    legend = [*lines, dotted], [*labels, "end of MLE"]
    figure.legend(*legend, loc="outside lower center", ncols=4)
    save(figure, ".images/schedules.png")


def draw_logs(paths):
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    curves = {path: read_log(path) for path in paths}
    end = 1 + max(max(c["mle"], default=0) for c in curves.values())
    for path in paths:
        plot(axes, curves[path], end, label=path)
    axes.set(xlabel="epoch: MLE, then adversarial ones", ylabel="NLL, nats per token")
    axes.legend(fontsize="small")
    save(figure, "logs.png")


if __name__ == "__main__":
    if sys.argv[1:]:
        draw_logs(sys.argv[1:])
    else:
        runs, schedules = read_runs(), read_schedules()
        others = [runs[name] for name in AUTHORS_PROGRAM]
        published = read_log(HERE / "published.txt")
        ours = {
            "this program, seed 88": read_log(HERE / "seqgan-authors-oracle.txt"),
            "this program, seed 1": read_log(HERE / "seqgan-authors-oracle-1.txt"),
        }
        shuffled = {
            "shuffled rewards, seed 88": read_log(HERE / "shuffled-authors-oracle.txt"),
            "shuffled rewards, seed 1": read_log(HERE / "shuffled-authors-oracle-1.txt"),
        }
        same_reward = {
            "a reward of 1 for all": read_log(HERE / "constant-authors-oracle.txt"),
            "a reward of 2 for all, by somebody else": runs["kstats--SeqGAN--6d54928"],
        }
        single = {"published log": published, **ours, **shuffled, **same_reward}
        print_table("fall", falls, single, others)
        print()
        print_schedules(schedules)
        draw_learning_curve(runs, published, ours)
        draw_trade_off()
        draw_schedules(schedules)
