"""A small client of the served models, as a user would write it: JSON over one connection."""

from __future__ import annotations

import http.client
import json
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

TIMEOUT_S = 180.0  # a request may be halted, moved, and finished elsewhere meanwhile


class Client:
    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def infer(self, model: str, name: str, x: NDArray[np.float32]) -> tuple[list[float], int]:
        """The first output's values and the cycles they took."""
        request = {
            "inputs": [
                {"name": name, "datatype": "FP32", "shape": x.shape, "data": x.ravel().tolist()}
            ]
        }
        self._connection.request("POST", f"/v2/models/{model}/infer", json.dumps(request))
        response = self._connection.getresponse()
        answer = json.load(response)
        if response.status != 200:
            raise RuntimeError(f"{model}: {response.status} {answer}")
        return answer["outputs"][0]["data"], answer["parameters"]["cycles"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._connection.close()
