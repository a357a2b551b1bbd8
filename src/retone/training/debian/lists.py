"""Debian packages of the free training corpora, and which of them are held out for tests."""

from __future__ import annotations

SPEECH_PACKAGES = ("tuxpaint-stamps-default", "ktuberling-data", "klettres-data")

# More speakers: actors, mostly at 22.05 kHz. For recipes at 24 kHz, added to debian-speech.
VOICES_PACKAGES = ("fillets-ng-data-cs", "fillets-ng-data-nl", "hedgewars-data")

# sample rate in Hz at which a package's speech is stored, if not 44100
SPEECH_RATES = {"fillets-ng-data-cs": 22050, "fillets-ng-data-nl": 22050}

MUSIC_PACKAGES = (
    "wesnoth-1.16-music",
    "warzone2100-music",
    "supertuxkart-data",
    "naev-data",
    "widelands-data",
    "ufoai-music",
    "supertux-data",
    "megaglest-data",
    "flare-game",
    "berusky2-data",
    "colobot-common-sounds",
    "marsshooter-data",
    "hedgewars-data",
    "torcs-data",
    "lincity-ng-data",
    "freeorion-data",
    "drascula-music",
    "freedroidrpg-data",
    "openclonk-data",
)

# Packages held out for tests.
MUSIC_TEST_PACKAGES = (
    "nexuiz-music",
    "singularity-music",
    "redeclipse-data",
    "unknown-horizons",
    "extremetuxracer-data",
)

# Voices held out for tests: (package, language).
SPEECH_TEST_VOICES = (
    ("ktuberling-data", "el"),
    ("ktuberling-data", "wa"),
    ("tuxpaint-stamps-default", "be"),
    ("tuxpaint-stamps-default", "ru"),
)

# Pieces of a path that mark sound effects and spoken lines in the music packages.
NOT_MUSIC = ("/voices/", "/voice/", "/sfx/", "/soundfx/", "/sounds/voices/")
