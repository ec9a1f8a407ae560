"""Compiles a dense layer for the device ext_dev without VTA; run in the environment of relay-0.19 with a FOLDER.

Leaves model.so, weights.npy (3 x 8): out = max(data @ weights.T, 0).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["TOPHUB_LOCATION"] = "NONE"

# TVM reads TOPHUB_LOCATION when it is imported.
import numpy as np
import tvm
from tvm import relay

folder = Path(sys.argv[1])
weights = np.random.default_rng(5).standard_normal((3, 8), dtype="float32")
data, given = relay.var("data", shape=(1, 8)), relay.var("weights", shape=(3, 8))
layer = relay.Function([data, given], relay.nn.relu(relay.nn.dense(data, given)))
target = tvm.target.Target(tvm.target.Target("ext_dev -device=vta -keys=vta,cpu -model=pynq"), host="llvm")
library = relay.build(tvm.IRModule.from_expr(layer), target=target, params={"weights": weights})
library.export_library(str(folder / "model.so"))
np.save(folder / "weights.npy", weights)
