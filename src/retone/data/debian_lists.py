"""Which Debian packages the free training corpora are made of, and what is held out."""

from __future__ import annotations

SPEECH_PACKAGES = ("tuxpaint-stamps-default", "ktuberling-data", "klettres-data")

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

# Whole packages kept for tests.
MUSIC_TEST_PACKAGES = (
    "nexuiz-music",
    "singularity-music",
    "redeclipse-data",
    "unknown-horizons",
    "extremetuxracer-data",
)

# Voices kept for tests: (package, language).
SPEECH_TEST_VOICES = (
    ("ktuberling-data", "el"),
    ("ktuberling-data", "wa"),
    ("tuxpaint-stamps-default", "be"),
    ("tuxpaint-stamps-default", "ru"),
)

# Pieces of a path that mark sound effects and spoken lines in the music packages.
NOT_MUSIC = ("/voices/", "/voice/", "/sfx/", "/soundfx/", "/sounds/voices/")
