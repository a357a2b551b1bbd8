"""Python functions as plug-ins: a good one, and every way to be a bad one. Run in a worker."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

MARK = os.environ.get("RETONE_TEST_MARK", "")
"""A file that says that it happened before."""


def tone(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    """A first-order tilt about 1 kHz and a gain: bright above, dull below zero."""
    k = float(np.exp(-2 * np.pi * 1000 / sample_rate))
    low = np.empty_like(audio)
    for c in range(audio.shape[0]):
        from scipy.signal import lfilter

        low[c] = lfilter([1 - k], [1, -k], audio[c])
    high = audio - low
    tilt = 10 ** (settings["tilt_gain_db"] / 40)
    print("plug-ins talk")
    return (low / tilt + high * tilt) * 10 ** (settings["output_gain_db"] / 20)


tone.parameters = {"tilt_gain_db": (-24, 24, 0), "output_gain_db": (-12, 12, 0)}  # type: ignore[attr-defined]


def crashes(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    os.kill(os.getpid(), signal.SIGSEGV)


def crashes_once(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    if not os.path.exists(MARK):  # noqa: PTH110
        with open(MARK, "w"):  # noqa: PTH123
            os.kill(os.getpid(), signal.SIGSEGV)
    return audio * settings["gain"]


def crashes_when_loud(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    if np.abs(audio).max() > 0.9:
        os.kill(os.getpid(), signal.SIGSEGV)
    return audio * settings["gain"]


def crashes_at_times(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    if audio[0, ::50].sum() > 0:
        os.kill(os.getpid(), signal.SIGSEGV)
    return audio * settings["gain"]


def hangs(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    time.sleep(3600)


def leaves(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    os._exit(3)


def exits(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    raise ValueError("the licence has expired")


def nan(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    out = audio * settings["gain"]
    out[0, 5] = np.nan
    return out


def longer(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return np.concatenate([audio, audio[:, :10]], axis=1)


def other_rate(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return audio[:, ::2]


def with_rate(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return audio[:, ::2], sample_rate / 2


def nothing(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return None


def no_parameters(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return audio


def odd_parameters(audio, sample_rate, settings):  # type: ignore[no-untyped-def]
    return audio


odd_parameters.parameters = {"gain": 3}  # type: ignore[attr-defined]
for f in (crashes, crashes_once, crashes_when_loud, crashes_at_times, hangs, leaves, exits, nan,
          longer, other_rate, with_rate, nothing):  # fmt: skip
    f.parameters = {"gain": (0, 2, 1)}  # type: ignore[attr-defined]
