"""Pictures and tables of the study, from the committed numbers. From the project's root:

python save/reference/draw.py             draws the pictures and prints the tables
python save/reference/draw.py LOG ...     draws these experiment logs in one picture, logs.png
"""

import csv
import statistics
import sys
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
EPOCHS = (20, 50, 100, 150, 199)
DIVERGENCES = ("generator_oracle", "oracle_generator")
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
                _, epoch, _, nll = words
                curves[stage][int(epoch)] = float(nll)
            elif words:
                stage = stages[line.strip()]
        except (KeyError, ValueError):
            sys.exit(f"{path}, line {number}: expected a line of an experiment log, found {line!r}")
    if not any(curves.values()):
        sys.exit(f"{path}: expected an experiment log, found no NLL in it")
    return curves


def read_runs():
    """{run: curves as of read_log} of the independent runs."""
    runs = {}
    with open(HERE / "independent-runs.csv", newline="") as file:
        for row in csv.DictReader(file):
            curves = runs.setdefault(row["run"], {"mle": {}, "adversarial": {}})
            curves[row["stage"]][int(row["epoch"])] = float(row["nll"])
    return runs


def read_schedules():
    """{"g, d, k": {seed: rows}} of runs with other schedules; the first row is the end of MLE."""
    schedules = {}
    with open(HERE / "schedules.csv", newline="") as file:
        for row in csv.DictReader(file):
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


def print_table(title, measure, runs, single):
    """A measure, {epoch: value}, of other people's runs together, and of single runs."""
    print(f"| {title} in adversarial epoch | " + " | ".join(map(str, EPOCHS)) + " |")
    print("|---" * (1 + len(EPOCHS)) + "|")
    others = [measure(runs[name]) for name in AUTHORS_PROGRAM]
    columns = [[values[epoch] for values in others if epoch in values] for epoch in EPOCHS]
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
    figure.savefig(path, dpi=150, metadata={"Software": None})
    print(f"{path} is drawn", file=sys.stderr)


def draw_learning_curve(runs, published, ours):
    """Above, the NLL of all runs on the authors' oracle; below, both divergences of our seed 1."""
    figure = Figure(figsize=(7.5, 6.6), layout="constrained")
    axes, below = figure.subplots(2, sharex=True, height_ratios=[5, 3])
    for number, name in enumerate(AUTHORS_PROGRAM):
        label = "the authors' program, ten runs by others" if number == 0 else None
        plot(axes, runs[name], color="silver", linewidth=0.8, label=label)
    plot(axes, published, color="C1", label="the authors' program, the log that they published")
    for (label, curves), color in zip(ours.items(), ("C0", "C2")):
        plot(axes, curves, color=color, label=label)
    axes.set(xlim=(-10, 330), ylim=(8.6, 9.6))
    axes.set_ylabel("NLL under the authors' oracle, nats per token")

    rows = evaluations("seqgan-authors-oracle-1")
    labels = "KL(generator || oracle)", "KL(oracle || generator)"
    for kl, label, color in zip(DIVERGENCES, labels, ("C3", "C4")):
        curves = {"mle": {}, "adversarial": {}}
        for row in rows:
            curves[row["stage"]][int(row["epoch"])] = float(row[f"kl_{kl}"])
        plot(below, curves, color=color, label=label)
    below.set(ylim=(1.8, 3.6), xlabel="epoch: 120 of MLE, then adversarial ones")
    below.set_ylabel("KL of seed 1, nats per token")
    for panel, place in ((axes, "upper right"), (below, "lower right")):
        panel.axvline(120, color="gray", linestyle="--", linewidth=1)
        panel.legend(fontsize="small", loc=place)
    save(figure, ".images/learning-curve.png")


def evaluations(name, **of):
    """The evaluations in a csv whose columns have the values of."""
    with open(HERE / f"{name}.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("nll_oracle")]
    return [row for row in rows if all(row[column] == value for column, value in of.items())]


def draw_trade_off():
    """Both divergences of generators on our oracle, seed 88, from epoch to epoch."""
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()

    def draw(label, rows, style):
        x, y = ([float(row[f"kl_{kl}"]) for row in rows] for kl in DIVERGENCES)
        (line,) = axes.plot(x, y, style, label=label, markersize=4)
        middle = len(x) // 2
        arrow = {"arrowstyle": "->", "color": line.get_color(), "linewidth": 2}
        axes.annotate("", (x[middle], y[middle]), (x[middle - 1], y[middle - 1]), arrowprops=arrow)

    draw("MLE, epochs 0 to 115", evaluations("mle", oracle="our", seed="88"), ".-")
    for label, name in (("a reward of 1", "constant"), ("PG-BLEU", "pg-bleu")):
        rows = evaluations(f"{name}-our-oracle", stage="adversarial")
        draw(f"{label}, adversarial epochs 0 to 199", rows, ".-")
    draw("SeqGAN, adversarial epochs 0, 29, 47, 148, 200", evaluations("divergences"), "s-")
    for epochs in ("6", "11", "116"):
        rows = evaluations("temperature", oracle="our", mle_epochs=epochs)
        draw(f"MLE of {epochs} epochs, temperatures 1 to 0.7", rows, "x--")
    axes.plot(0, 0, "k*", markersize=12, clip_on=False, label="the oracle itself")
    axes.set(xlim=(0, 4.2), ylim=(0, 4.6), title="our oracle, seed 88; arrows: the way of time")
    axes.set(xlabel="KL(G || O), nats per token: what G writes that O would not")
    axes.set_ylabel("KL(O || G): what O writes that G would not")
    axes.legend(fontsize="small", loc="center left")
    save(figure, ".images/trade-off.png")


def draw_schedules(schedules):
    figure = Figure(figsize=(7.5, 4.8), layout="constrained")
    panels = figure.subplots(2, 2).flat
    limits = (2.5, 9), (5.5, 6.2), (5.5, 5.8), (5.5, 5.8)  # the first two swing further
    for axes, limit, (schedule, seeds) in zip(panels, limits, schedules.items()):
        for seed, rows in seeds.items():
            mle, *nlls = (float(row["nll_oracle"]) for row in rows)
            (line,) = axes.plot(nlls, linewidth=1, label=f"seed {seed}")
            axes.axhline(mle, color=line.get_color(), linestyle=":", linewidth=1)
        axes.set(title=f"g, d, k = {schedule}", xlabel="adversarial epoch (dotted: MLE)")
        axes.set(ylim=limit, ylabel="NLL under the oracle")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save(figure, ".images/schedules.png")


def draw_logs(paths):
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    curves = {path: read_log(path) for path in paths}
    end = max(max(c["mle"], default=0) for c in curves.values())
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
        published = read_log(HERE / "published.txt")
        ours = {
            "this program, seed 88": read_log(HERE / "seqgan-authors-oracle.txt"),
            "this program, seed 1": read_log(HERE / "seqgan-authors-oracle-1.txt"),
        }
        single = {"published log": published, **ours}
        print_table("fall", falls, runs, single)
        print()
        print_table("NLL", at_epochs, runs, single)
        print()
        print_schedules(schedules)
        draw_learning_curve(runs, published, ours)
        draw_trade_off()
        draw_schedules(schedules)
