"""The oracle (paper, "Synthetic Data Experiments") and its file; run as a script, it draws one."""

import hashlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np

from dataloader import InputError, write_file
from generator import LSTM, param_shapes

# A pickle can run code when it is read. These two are the authors', and are known not to.
PUBLISHED = {
    "6a0b3b967aa03a952b353709493e2b430fc261d15f9dd658823019b4eaab6c1c",  # target_params.pkl
    "5ac794a695dd6e0eb2bb689f3dfda55e4e0053e8c0399e6242630a95f1e60e8a",  # target_params_py3.pkl
}


class Oracle(LSTM):
    """A randomly initialised LSTM: its samples are the real data, and it judges the generator's.

    Args:
      path: its weights, as read_params takes them; InputError if V, E, H are other than `sizes`.
      sequence_length, start_token, seed: as in LSTM.
      num: of sequences to draw, for positives and as many for held_out, int32 [num, T].
    """

    words, end, bleu_orders = None, None, (2,)
    judge = "nll_oracle"  # the measure that the log holds

    def __init__(self, path, sizes, sequence_length, start_token, num, seed):
        super().__init__(read_params(path), sequence_length, start_token, seed)
        if (found := (self.vocab_size, self.emb_dim, self.hidden_dim)) != sizes:
            what = f"VOCAB_SIZE, EMB_DIM, HIDDEN_DIM = {sizes}, found {found}"
            raise InputError(f"{path}: expected an oracle of {what}")
        self.num_eval = num  # sequences drawn for an evaluation
        self.positives = self.sample(num).numpy()
        self.held_out = self.sample(num).numpy()

    def measure(self, generator, samples):
        """{name: NLL in nats per token}: of samples under the oracle, of held-out sequences."""
        return {"nll_oracle": self.nll(samples), "nll_test": generator.nll(self.held_out)}


def read_params(path):
    """The 15 arrays of a weights file: .npz, or one of the pickles that the authors published;
    InputError where it is none. No file can run code or fill the memory."""
    try:
        data = Path(path).read_bytes()
        if hashlib.sha256(data).hexdigest() in PUBLISHED:
            # Python 2 wrote array bytes as text; latin-1 maps each character to its byte.
            return pickle.loads(data, encoding="latin1")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > 4 * len(data):
            raise InputError("it unpacks to over four times its size")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if arrays.files not in (list(param_shapes(1, 1, 1)), [f"arr_{n}" for n in range(15)]):
                raise InputError(f"its arrays are {arrays.files}")
            return list(arrays.values())
    except Exception as error:  # whatever a damaged file provokes in the readers
        why = str(error) or repr(error)
    hint = "np.savez(path, *pickle.load(file)) makes one of a trusted pickle"
    raise InputError(f"{path}: expected an .npz of the 15 arrays of an LSTM, but {why} ({hint})")


def write_params(path, params):
    """Write the 15 arrays of an LSTM as .npz, replacing the file in one step."""
    data = io.BytesIO()
    np.savez(data, **dict(zip(param_shapes(1, 1, 1), params, strict=True)))
    write_file(path, data.getvalue())


if __name__ == "__main__":  # for another oracle, change seed, sizes or path
    rng = np.random.default_rng(0)
    shapes = param_shapes(vocab_size=5000, emb_dim=32, hidden_dim=32).values()
    params = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    write_params("save/target_params.npz", params)
    print("save/target_params.npz: an oracle, written")
