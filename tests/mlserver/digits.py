"""The scikit-learn runtime of MLServer, with a cue: while the file that DIGITS_CUE names
exists, every inference fails as a broken model's does."""

import os

from mlserver_sklearn import SKLearnModel


class Digits(SKLearnModel):
    async def predict(self, payload):
        if os.path.exists(os.environ["DIGITS_CUE"]):
            raise RuntimeError("broken on cue")
        return await super().predict(payload)
