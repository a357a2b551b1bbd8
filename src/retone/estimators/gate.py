"""How much of its change a network should make: shares of tone and dynamics, from evidence.

A network changes every recording, also where the reference says little: another voice or piece
makes a third of its changes worse than none. What the network knows tells when: how far the input's
statistics lie from those that it expects of the target, how certain it is of these, how far its
setting moves the input towards them, and how likely input and reference are of one source. A small
network, trained on the error of the result, turns this into the shares of the change to make
(``retone.training.gates``)::

    share = 1 / (1 + exp(-(W2 tanh(W1 z + b1) + b2))),  z = (evidence - mean) / scale
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from retone.dsp.measure import Array
from retone.dsp.param import ParamTable, Setting
from retone.files.fields import Fields, read_json
from retone.nets.frontend import LEVEL_FRAMES_MS, LEVEL_QUANTILES, MEASURES
from retone.nets.iterative import Expected

FARTHEST = 4.0
"""Evidence beyond so many standard deviations counts as this far."""


class Shares(NamedTuple):
    """Shares of a change to make, 0 to 1."""

    tone: float
    dynamics: float
