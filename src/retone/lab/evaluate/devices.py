"""What devices and rooms do to a studio recording: the second table of natural pairs.

Each device is a function of audio [T], its sample rate in Hz and a random generator; the result
is aligned with the original. ``gaps`` also lengthens the original, so ``played`` returns both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
from scipy import signal

from retone.audio.resampling import resampled
from retone.errors import DataError
from retone.kernels.sox_effects import Band, equalize
from retone.training.data.degradations import low_pass

Array = np.ndarray
Device = Callable[[Array, int, np.random.Generator], Array]

TELEPHONE_HZ, TELEPHONE_RATE, MU = (300.0, 3400.0), 8000, 255.0
CODEC_RATE = 16000
NOISE_DB, HUM_DB = -30.0, -30.0
GATE_DB, GATE_FRAME_S, GATE_HOLD_S = -30.0, 0.01, 0.06
GAP_S, LAST_GAP_S = 2.0, 10.0
LAPTOP = (
    Band("bass", 250.0, -14.0),
    Band("peak", 900.0, 4.0, 1.2),
    Band("peak", 3200.0, 7.0, 2.0),
    Band("peak", 6500.0, -5.0, 2.0),
    Band("treble", 9000.0, -8.0),
)
PHONE = (
    Band("bass", 200.0, -16.0),
    Band("peak", 2600.0, 9.0, 3.0),
    Band("peak", 4700.0, -6.0, 4.0),
    Band("peak", 7200.0, 6.0, 3.0),
)
PHONE_TOP_HZ = 10500.0
EQUALIZER_HZ, EQUALIZER_BANDS = (60.0, 10000.0), 6
EQUALIZER_DB, STRONG_EQUALIZER_DB, EQUALIZER_Q = 12.0, 24.0, (0.5, 2.0)


def telephone(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """300 to 3400 Hz at a sample rate of 8 kHz, with 8 bits by mu-law (G.711)."""
    sections = signal.butter(4, TELEPHONE_HZ, "bandpass", fs=sample_rate, output="sos")
    narrow = resampled(signal.sosfiltfilt(sections, audio), sample_rate, TELEPHONE_RATE)
    peak = max(float(np.abs(narrow).max()), 1e-9)
    coded = np.sign(narrow) * np.log1p(MU * np.abs(narrow / peak)) / np.log1p(MU)
    coded = np.round(coded * 127.0) / 127.0
    plain = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU * peak
    return _fit(resampled(plain, TELEPHONE_RATE, sample_rate), audio.size)


def codec(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """Coding as MP3 at 16 kHz and the lowest constant bit rate.

    Raises:
        DataError: this libsndfile writes no MP3.
    """
    import soundfile

    if "MP3" not in soundfile.available_formats():
        raise DataError(
            f"device codec: libsndfile {soundfile.__libsndfile_version__} writes no MP3. Leave the "
            "device out, or install libsndfile 1.1 or newer."
        )
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", CODEC_RATE, 1, "MPEG_LAYER_III", format="MP3",
        compression_level=0.99, bitrate_mode="CONSTANT",
    ) as file:  # fmt: skip
        file.write(resampled(audio, sample_rate, CODEC_RATE))
    buffer.seek(0)
    back, rate = soundfile.read(buffer, dtype="float32")
    return _aligned(resampled(back, rate, sample_rate), audio, sample_rate)


def laptop(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A laptop's microphone: little bass, resonances, and the reflection from the desk."""
    direct = equalize(audio, sample_rate, LAPTOP)
    late = round(0.0007 * sample_rate)
    return direct + 0.4 * np.concatenate([np.zeros(late, audio.dtype), direct[:-late]])


def phone(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A phone's microphone: resonant peaks and an early roll-off."""
    out = equalize(audio, sample_rate, PHONE)
    return low_pass(out, sample_rate, PHONE_TOP_HZ) if sample_rate > 2 * PHONE_TOP_HZ else out


def room(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A small room: reflections within 40 ms and a tail of 0.5 s that is dull at the end."""
    length = round(0.5 * sample_rate)
    t = np.arange(length) / sample_rate
    tail = rng.standard_normal(length) * 10 ** (-3.0 * t / 0.5) * (t > 0.02)
    # The highs decay faster: the end is mixed with a duller copy of itself.
    dull = signal.sosfilt(signal.butter(1, 2500.0, fs=sample_rate, output="sos"), tail)
    share = np.clip(t / 0.2, 0.0, 1.0)
    response = (1 - share) * tail + share * dull
    response *= 0.5 / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    for late_s in rng.uniform(0.003, 0.04, 8):
        at = int(late_s * sample_rate)
        response[at] += rng.choice([-1.0, 1.0]) * 0.4 * (0.003 / late_s) ** 0.5
    return np.asarray(signal.fftconvolve(audio, response)[: audio.size])


def gate(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A noise gate that opens and closes within one sample."""
    size = round(GATE_FRAME_S * sample_rate)
    frames = np.pad(audio, (0, -audio.size % size)).reshape(-1, size)
    level = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-20)
    opened = level > np.percentile(level, 95) + GATE_DB
    hold = round(GATE_HOLD_S / GATE_FRAME_S)
    opened = np.convolve(opened, np.ones(hold))[: opened.size] > 0.5
    return np.asarray((frames * opened[:, None]).ravel()[: audio.size])


def noise(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """Pink noise 30 dB below the programme."""
    spectrum = np.fft.rfft(rng.standard_normal(audio.size))
    spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(audio.size, 1 / sample_rate), 20.0))
    return audio + _at(np.fft.irfft(spectrum, audio.size), audio, NOISE_DB)


def hum(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """Mains hum of 50 Hz with seven harmonics, 30 dB below the programme."""
    t = np.arange(audio.size) / sample_rate
    phases = rng.uniform(0, 2 * np.pi, 8)
    parts = [np.sin(2 * np.pi * 50 * (n + 1) * t + p) / (n + 1) for n, p in enumerate(phases)]
    return audio + _at(np.sum(parts, axis=0), audio, HUM_DB)


def gaps(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """Digital silence: 2 s at three places between phrases, 10 s at the end."""
    size = round(0.1 * sample_rate)
    count = audio.size // size
    level = np.mean(audio[: count * size].reshape(count, size) ** 2, axis=1)
    thirds = np.array_split(np.arange(count), 3)
    places = [int(part[np.argmin(level[part])]) * size + size // 2 for part in thirds]
    pieces: list[Array] = []
    for piece in np.split(audio, places):
        pieces += [piece, np.zeros(round(GAP_S * sample_rate), audio.dtype)]
    pieces[-1] = np.zeros(round(LAST_GAP_S * sample_rate), audio.dtype)
    return np.concatenate(pieces)


def equalizer(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A badly set equaliser: six broad bands from 60 Hz to 10 kHz, each up to 12 dB up or down."""
    return _equalized(audio, sample_rate, rng, EQUALIZER_DB)


def strong_equalizer(audio: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A worse one: the same bands, each up to 24 dB up or down."""
    return _equalized(audio, sample_rate, rng, STRONG_EQUALIZER_DB)


def _equalized(audio: Array, sample_rate: int, rng: np.random.Generator, most_db: float) -> Array:
    low, high = np.log(EQUALIZER_HZ[0]), np.log(min(EQUALIZER_HZ[1], 0.45 * sample_rate))
    width = (high - low) / EQUALIZER_BANDS
    bands = []
    for i in range(EQUALIZER_BANDS):
        frequency_hz = float(np.exp(low + width * (i + rng.random())))
        gain_db = float(rng.uniform(-most_db, most_db))
        q = float(np.exp(rng.uniform(*np.log(EQUALIZER_Q))))
        bands.append(Band("peak", frequency_hz, gain_db, q))
    return equalize(audio, sample_rate, bands)


DEVICES: Mapping[str, Device] = {
    "telephone": telephone,
    "codec": codec,
    "laptop": laptop,
    "phone": phone,
    "room": room,
    "gate": gate,
    "noise": noise,
    "hum": hum,
    "gaps": gaps,
    "equalizer": equalizer,
    "strong-equalizer": strong_equalizer,
}
"""Devices by name, in the order of the table."""


def described(name: str) -> str:
    """The first sentence on a device, for a page."""
    text = " ".join((DEVICES[name].__doc__ or "").split()).split(". ")[0].rstrip(".")
    return text[:1].lower() + text[1:] + "."


def played(
    name: str, audio: Array, sample_rate: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Audio [T] through a device, and the clean original that it should sound like again."""
    out = DEVICES[name](audio.astype(np.float64), sample_rate, rng).astype(np.float32)
    return out, out if name == "gaps" else audio


def _at(extra: Array, audio: Array, level_db: float) -> Array:
    scale = np.sqrt(np.mean(audio**2) / max(float(np.mean(extra**2)), 1e-20))
    return np.asarray(extra * scale * 10 ** (level_db / 20))


def _fit(audio: Array, length: int) -> Array:
    return np.pad(audio[:length], (0, max(0, length - audio.size)))


def _aligned(audio: Array, original: Array, sample_rate: int) -> Array:
    """Audio shifted by up to 0.2 s so that it lines up with the original, and as long."""
    reach = round(0.2 * sample_rate)
    full = signal.correlate(audio, original, method="fft")
    middle = original.size - 1
    late = int(np.argmax(full[middle - reach : middle + reach + 1])) - reach
    return _fit(audio[late:] if late >= 0 else np.pad(audio, (-late, 0)), original.size)
