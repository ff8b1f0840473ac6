"""The paper's studies in small: what scoring costs, active learning, learning from chosen pseudo-labels."""
