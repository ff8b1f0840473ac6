"""A second opinion: masks of the same structures from elsewhere, with which the masks to be judged are compared.

A reference is never the truth. It is the user's own (another network's output, another rater), or drawn by a small
network in the package; how far it is trusted is measured (`fusion`).
"""
