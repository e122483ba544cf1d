"""What does the discriminator of the run in save/ take for real? From the project's root:

python save/reference/rewards.py

Prints, for the real sequences that it was trained on, for real ones that it has not seen, and for
new ones of the generator: the share with a probability of being real above one half, the mean
probability, the share of all probability that the hundred most probable ones have; and the NLL
under the oracle of all, and of the most probable tenth. With a text it is the generator's own NLL.
"""

import sys

import numpy as np

sys.path.insert(0, ".")

import measure

import sequence_gan
from dataloader import InputError
from discriminator import Discriminator
from generator import Generator


def row(p, x, nll):
    """The figures of sequences x [N, T], probabilities p [N], by a function x -> mean NLL."""
    best = np.argsort(p)[::-1]
    tenth = x[best[: max(1, len(x) // 10)]]
    return np.mean(p > 0.5), np.mean(p), p[best[:100]].sum() / p.sum(), nll(x), nll(tenth)


def main():
    record, arrays = sequence_gan.read_checkpoint()
    if record is None:
        raise InputError("save/checkpoint.npz: expected that of a run, found no file")
    c = record["settings"]
    data = measure.load_data(c, record["words"])
    sizes = data.vocab_size, c["EMB_DIM"], c["HIDDEN_DIM"]
    generator = Generator(*sizes, c["SEQ_LENGTH"], c["START_TOKEN"], data.words)
    discriminator = Discriminator(
        c["SEQ_LENGTH"],
        data.vocab_size,
        c["DIS_EMBEDDING_DIM"],
        c["DIS_FILTER_SIZES"],
        c["DIS_NUM_FILTERS"],
    )
    for name, model in {"generator": generator, "discriminator": discriminator}.items():
        for part, variable in model.state().items():
            if f"{name}/{part}" not in arrays:
                raise InputError(f"save/checkpoint.npz: expected that of a run, with {name}/{part}")
            variable.assign(arrays[f"{name}/{part}"])

    nll = generator.nll if c["TEXT_FILE"] else data.nll
    print("sequences,taken_for_real,mean_probability,share_of_the_best_100,nll,nll_of_best_tenth")
    sets = {"real, trained on": data.positives, "real, new": data.held_out}
    sets["generated"] = generator.sample(len(data.positives)).numpy()
    for name, x in sets.items():
        cells = row(discriminator.prob_real(x).numpy(), x, nll)
        print(f'"{name}"', *(f"{value:.4g}" for value in cells), sep=",")


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        sys.exit(f"rewards.py: {error}")
