"""How the shipped model was made, and the paper's studies. Not published; ``pip install -e lab``."""
