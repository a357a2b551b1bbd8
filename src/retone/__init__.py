"""retone makes a recording sound the way its owner wants, with real effects and readable settings."""

__version__ = "0.1.0"
