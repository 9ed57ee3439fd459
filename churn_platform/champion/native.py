"""LightGBM's C library by ctypes: load a model from text, margins and TreeSHAP, and nothing else.

The ``lightgbm`` Python package imports scikit-learn and pandas where they are installed, which a replica that
only predicts does not need. The C API is LightGBM's stable, documented interface
(c_api.h).
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from churn_platform.errors import MissingDependencyError, PackageError
from churn_platform.training.encode import Floats

_FLOAT64, _ROW_MAJOR = 1, 1
_RAW, _CONTRIBUTIONS = 1, 3


@cache
def _library() -> ctypes.CDLL:
    """The shared library of the installed ``lightgbm`` wheel."""
    spec = find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            "LightGBM is not installed.",
            mend="Install lightgbm, as the serving group of pyproject.toml says.",
        )
    path = Path(spec.submodule_search_locations[0]) / "lib" / "lib_lightgbm.so"
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(
            f"LightGBM's library cannot be loaded: {error}.",
            mend="Where libgomp is missing: `apt-get install libgomp1` or `dnf install libgomp`.",
        ) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _check(code: int) -> None:
    if code != 0:
        reason = _library().LGBM_GetLastError().decode(errors="replace")
        raise PackageError(
            f"model.txt: LightGBM refuses it: {reason}.",
            mend="Train and package the model again.",
            field="model.txt",
        )


class NativeForest:
    """A LightGBM model that can only predict. Safe to use from several threads at once.

    Args:
        text: the model in LightGBM's text format.
        features: number of columns that it must expect.

    Attributes:
        trees: number of trees.
        expected: raw log-odds of the average training row, from which contributions are counted.

    Raises:
        PackageError: where LightGBM cannot read it, or it is for another number of features.
    """

    def __init__(self, text: str, features: int) -> None:
        self._handle = ctypes.c_void_p()
        iterations, expected = ctypes.c_int(0), ctypes.c_int(0)
        library = _library()
        _check(
            library.LGBM_BoosterLoadModelFromString(
                ctypes.c_char_p(text.encode()), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        _check(library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(expected)))
        if expected.value != features:
            raise PackageError(
                f"model.txt expects {expected.value} features, and the package lists {features}.",
                mend="Train and package the model again.",
                field="model.txt",
            )
        self.trees, self.features = iterations.value, features
        self.expected = float(self.contributions(np.full((1, features), np.nan))[0, -1])

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            _library().LGBM_BoosterFree(self._handle)
            self._handle = ctypes.c_void_p()

    def margin(self, encoded: Floats, *, threads: int = 1) -> Floats:
        """Raw log-odds: (n, d) → (n)."""
        return self._predict(encoded, _RAW, 1, threads)[:, 0]

    def contributions(self, encoded: Floats, *, threads: int = 1) -> Floats:
        """Path-dependent TreeSHAP values in raw log-odds, the expected value last: (n, d) → (n, d + 1).

        Lundberg et al. (2020), LightGBM's own implementation.
        """
        return self._predict(encoded, _CONTRIBUTIONS, self.features + 1, threads)

    def _predict(self, encoded: Floats, kind: int, width: int, threads: int) -> Floats:
        encoded = np.ascontiguousarray(encoded, dtype=np.float64)
        rows, columns = encoded.shape
        if columns != self.features:
            raise PackageError(
                f"{columns} columns were given to a model of {self.features}.",
                mend="Encode with its own encoder.",
            )
        result = np.empty((rows, width), dtype=np.float64)
        if not rows:
            return result
        length = ctypes.c_int64(0)
        _check(
            _library().LGBM_BoosterPredictForMat(
                self._handle,
                encoded.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(rows),
                ctypes.c_int32(columns),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(kind),
                ctypes.c_int(0),
                ctypes.c_int(-1),
                ctypes.c_char_p(f"num_threads={threads}".encode()),
                ctypes.byref(length),
                result.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
        )
        if length.value != result.size:
            raise PackageError(
                f"LightGBM returned {length.value} values instead of {result.size}.",
                mend="Train and package the model again.",
                field="model.txt",
            )
        return result
