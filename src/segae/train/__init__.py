"""Training: labelled scans in, a model file out. Needs ``pip install segae[train]``."""
