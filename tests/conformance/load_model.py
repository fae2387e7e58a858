"""Loads models in a fresh process and writes what they predict: `load_model.py IMPORT X.npy MODEL.keras ...`.

`IMPORT` is the package to import first, or `nothing`.
"""

import importlib
import sys

import keras
import numpy as np

package, data, *files = sys.argv[1:]
if package != "nothing":
    importlib.import_module(package)
for file in files:
    model = keras.saving.load_model(file)
    np.save(f"{file}.npy", model.predict(np.load(data), verbose=0))
if package == "nothing" and "keras_reg" in sys.modules:
    sys.exit("loading the model imported keras_reg")
