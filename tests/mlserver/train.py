"""Trains two versions of a digits model: a good one and one that saw too little."""

import json
import sys
import warnings
from pathlib import Path

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

warnings.filterwarnings("ignore")
x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.5, random_state=1)
for version, samples, rounds in (("v1", 600, 30), ("v2", 90, 5)):
    model = LogisticRegression(max_iter=rounds).fit(x_train[:samples], y_train[:samples])
    place = Path(sys.argv[1]) / version
    place.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, place / "model.joblib")
    settings = {
        "name": "digits",
        "implementation": "digits.Digits",
        "parameters": {"uri": "./model.joblib", "version": version},
    }
    (place / "model-settings.json").write_text(json.dumps(settings))
    # Port 0: the kernel chooses, and the log says which.
    server = {
        "host": "127.0.0.1",
        "http_port": 0,
        "grpc_port": 0,
        "metrics_endpoint": None,
        "parallel_workers": 0,
        "debug": False,
    }
    (place / "settings.json").write_text(json.dumps(server))
    print(version, "is right on", round(model.score(x_test, y_test), 3))
