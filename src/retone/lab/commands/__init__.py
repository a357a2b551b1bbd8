"""The commands of ``python -m retone.lab``: one file each."""
