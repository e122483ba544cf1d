"""The oracle: a randomly initialised LSTM that stands for real data (paper,
"Synthetic Data Experiments").

Run as a script, it draws an oracle of the sizes below and writes its file.
"""

import io
import pickle

import numpy as np

from dataloader import InputError, write_file
from generator import LSTM, param_shapes

VOCAB_SIZE = 5000
EMB_DIM = 32
HIDDEN_DIM = 32
SEED = 0
TARGET_FILE = "save/target_params.npz"


class TargetLSTM(LSTM):
    """The frozen oracle; its NLL of generated sequences measures the generator."""

    @classmethod
    def load(cls, path, sequence_length, start_token=0, seed=0):
        """Read an oracle file: .npz, or a pickled list as the authors publish theirs.

        Raises:
          InputError: no such file, not an oracle, or not 15 arrays that fit together.
        """
        params = read_params(path)
        try:
            return cls(params, sequence_length, start_token, seed)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


class ArrayUnpickler(pickle.Unpickler):
    """Rebuilds NumPy arrays and refuses every other global before anything of it is called."""

    def find_class(self, module, name):
        module = module.replace("numpy._core", "numpy.core")  # NumPy 2 renamed it
        if (module, name) not in ARRAY_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return ARRAY_GLOBALS[module, name]


# Functions of our own stand in for NumPy's where a pickle could otherwise set their attributes.
ARRAY_GLOBALS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): lambda kind, shape, code: np.ndarray([0], np.int8),
    ("numpy.core.numeric", "_frombuffer"): lambda data, dtype, shape, order: np.frombuffer(
        data, dtype
    ).reshape(shape, order=order),
    ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
}


def read_params(path):
    """The arrays of an oracle file, a list in the file's order.

    Raises:
      InputError: the file cannot be read, or holds anything but arrays.
    """
    try:
        with open(path, "rb") as file:
            if file.read(2) == b"PK":  # a zip archive
                with np.load(path, allow_pickle=False) as arrays:
                    params = [arrays[name] for name in arrays.files]
            else:
                file.seek(0)
                # Python 2 wrote array bytes as text; latin-1 maps each character to its byte.
                params = ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise InputError(f"{path}: expected an oracle file, found: {error.strerror}") from error
    except Exception as error:  # whatever a damaged or hostile file provokes in the readers
        raise InputError(f"{path}: expected an oracle file, but {error}") from error
    if not isinstance(params, (list, tuple)):
        raise InputError(f"{path}: expected a list of arrays, found {type(params).__name__}")
    for number, param in enumerate(params):
        if not isinstance(param, np.ndarray):
            found = type(param).__name__
            raise InputError(f"{path}: expected a list of arrays, found {found} as number {number}")
    return params


def write_params(path, params):
    """Write the 15 arrays as .npz, replacing the file in one step."""
    data = io.BytesIO()
    shapes = param_shapes(*params[0].shape, params[3].shape[0])
    np.savez(data, **dict(zip(shapes, params)))
    write_file(path, data.getvalue())


if __name__ == "__main__":
    rng = np.random.default_rng(SEED)
    write_params(
        TARGET_FILE,
        [
            rng.standard_normal(shape, dtype=np.float32)
            for shape in param_shapes(VOCAB_SIZE, EMB_DIM, HIDDEN_DIM).values()
        ],
    )
    print(f"{TARGET_FILE}: an oracle of {VOCAB_SIZE} tokens, written")
