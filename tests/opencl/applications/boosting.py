"""LightGBM trains trees on the device; its OpenCL loader is linked into it."""

import hashlib

import lightgbm
import numpy as np

numbers = np.random.default_rng(4)
features = numbers.random((4000, 20)).astype(np.float32)
target = (features[:, 0] * features[:, 1] + np.sin(5 * features[:, 2]) > 0.9).astype(int)
model = lightgbm.train(
    {
        "objective": "binary",
        "device": "gpu",
        "num_leaves": 15,
        "max_bin": 63,
        "verbose": -1,
        "deterministic": True,
        "num_threads": 1,
        "gpu_use_dp": True,
        "seed": 1,
    },
    lightgbm.Dataset(features, target),
    num_boost_round=15,
)
predicted = model.predict(features)
print("trees", hashlib.sha256(model.model_to_string().encode()).hexdigest()[:16])
print("right", ((predicted > 0.5) == target).mean(), predicted[:3].tolist())
