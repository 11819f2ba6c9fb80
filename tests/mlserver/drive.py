"""One client: asks for digits with tritonclient until its input is closed, then prints what
it got as one JSON object. With a pause, in seconds, between two requests if one is given."""

import json
import sys
import threading
import time
from collections import Counter

import tritonclient.http as triton
from sklearn.datasets import load_digits

url, pause = sys.argv[1], float(sys.argv[2])
x, y = load_digits(return_X_y=True)
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
client = triton.InferenceServerClient(url, network_timeout=30, connection_timeout=30)
answers, right, failures = Counter(), Counter(), []
wanted = [triton.InferRequestedOutput("predict", binary_data=False)]
turn = 0
while not stop.is_set():
    turn += 1
    at = turn * 7919 % len(x)
    tensor = triton.InferInput("predict", [1, 64], "FP64")
    tensor.set_data_from_numpy(x[at : at + 1], binary_data=False)
    try:
        answer = client.infer("digits", [tensor], outputs=wanted)
        version = answer.get_response()["model_version"]
        answers[version] += 1
        right[version] += int(answer.as_numpy("predict").flatten()[0] == y[at])
    except Exception as error:
        failures.append(repr(error))
    if turn == 1:
        print("ready", flush=True)
    stop.wait(pause)
json.dump({"answers": answers, "right": right, "failures": failures[:5], "failed": len(failures)}, sys.stdout)
