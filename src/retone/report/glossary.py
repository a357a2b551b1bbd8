"""What the numbers of a report mean, in words for listeners."""

from __future__ import annotations

import re
from html import escape

TERMS: dict[str, tuple[str, str]] = {
    "lufs": ("Loudness, LUFS", "How loud a recording sounds as a whole, measured as broadcasters "
             "and streaming services do (ITU-R BS.1770). Nearer to 0 is louder; podcasts are "
             "often at -16, broadcasts at -23. One unit more is as much as 1 dB more."),
    "dbtp": ("True peak, dBTP", "The highest point of the sound wave as it leaves the converter. "
             "Above 0 it distorts; -1 leaves a margin for MP3 and other codecs."),
    "rms": ("RMS level, dBFS", "The average level, without regard to how the ear weighs "
            "frequencies. 0 dBFS is the loudest that a file can hold."),
    "crest": ("Crest factor, dB", "How far the peaks stand above the average level. Large: "
              "lively, with strong attacks. Small: dense, even."),
    "lra": ("Loudness range, LU", "How far the loud and the soft passages are apart, without the "
            "extremes (EBU Tech 3342). Speech for broadcast has about 5 to 10."),
    "db": ("Decibel, dB", "The unit of level. 1 dB is just noticed, 3 dB is clear, 10 dB more "
           "sounds about twice as loud."),
    "hz": ("Frequency, Hz", "How high or low a sound is. Bass lies below about 250 Hz, most of a "
           "voice between 100 Hz and 4 kHz, sibilants and air above 5 kHz."),
    "spectrum": ("Spectrum", "How the level is spread over low and high frequencies, on average "
                 "over the recording."),
    "gain": ("Gain", "How much a filter raises (+) or lowers (−) the level."),
    "frequency": ("Frequency of a band", "Where a filter works: the middle of a bell, or the "
                  "corner of a shelf, which changes everything below or above it."),
    "q": ("Q", "How narrow a filter is. 0.7 is broad, about two octaves; 5 is narrow, a third of "
          "an octave."),
    "crossover": ("Crossover", "The frequency that separates two neighbouring bands."),
    "threshold": ("Threshold", "The level from which a compressor works. Louder sound is turned "
                  "down; for an expander, softer sound is."),
    "ratio": ("Ratio", "How strongly a compressor works: at 3 : 1, 3 dB more at its input come "
              "out as 1 dB more. 1 : 1 does nothing."),
    "knee": ("Knee", "How gradually a compressor begins to work about its threshold. 0 dB is "
             "abrupt."),
    "attack": ("Attack", "How quickly the level is turned down when the sound becomes loud."),
    "release": ("Release", "How quickly the level comes back when the sound becomes soft again."),
    "time": ("Time constant", "How quickly a measurement of level or a change follows the sound."),
    "makeup": ("Make-up gain", "Gain after a compressor, to bring back the level it took away."),
    "reduction": ("Gain reduction", "By how much a compressor lowers the level, moment by moment."),
    "limiter": ("Limiter", "Catches peaks above the ceiling by lowering the level for some "
                "milliseconds."),
    "width": ("Stereo width", "How far left and right differ. Out of phase means that they push "
              "against each other, and cancel when played in mono."),
    "amount": ("Amount", "Which share of the change was applied."),
    "setting": ("Setting", "A value of an effect, in its range from lowest to highest."),
    "file": ("Sample rate, channels and length", "The sample rate is the number of values per "
             "second in the file; half of it is the highest frequency that the file can hold."),
}  # fmt: skip
"""Key -> (term, what it means). The key is also the address of its entry in the legend."""

_BY_NAME = (
    ("crossover", "crossover"), ("threshold", "threshold"), ("ratio", "ratio"), ("knee", "knee"),
    ("attack", "attack"), ("release", "release"), ("makeup", "makeup"), ("make_up", "makeup"),
    ("width", "width"), ("side", "width"), ("frequency", "frequency"), ("gain", "gain"),
)  # fmt: skip
_UNITS = re.compile(r"(?<=\d )(LUFS|dBTP|LU)\b")
_UNIT_KEYS = {"LUFS": "lufs", "dBTP": "dbtp", "LU": "lra"}


def term(key: str, text: str) -> str:
    """HTML of a text that a reader can point at, or go to with the Tab key, for its meaning."""
    at = f'href="#term-{key}" aria-describedby="about-{key}"'
    return f'<a class="term" {at}>{escape(text)}</a>'


def of_parameter(name: str, unit: str) -> str:
    """The entry that explains a parameter."""
    own = name.rpartition(".")[2]
    if own == "q" or own.endswith("_q"):
        return "q"
    found = next((key for part, key in _BY_NAME if part in own), None)
    return found or {"ms": "time", "dB": "gain", "Hz": "frequency"}.get(unit, "setting")


def explained(text: str) -> str:
    """A sentence as HTML, with its units of loudness explained."""
    return _UNITS.sub(lambda m: term(_UNIT_KEYS[m[1]], m[1]), escape(text))


def legend(html: str) -> str:
    """The section that explains every term that a page uses."""
    used = set(re.findall(r'href="#term-(\w+)"', html))
    rows = "".join(
        f'<div id="term-{key}" class="entry" tabindex="-1"><dt>{escape(name)}</dt>'
        f'<dd id="about-{key}">{escape(about)}</dd></div>'
        for key, (name, about) in TERMS.items()
        if key in used
    )
    return f'<h2>What the numbers mean</h2><dl class="legend columns">{rows}</dl>' if rows else ""
