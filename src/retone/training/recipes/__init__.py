"""Training recipes: Python functions that return a ``Recipe``. The only place that names concrete
corpora settings, networks, effects and losses together."""
