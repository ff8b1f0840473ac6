"""What reviewers do with an audit: which masks to look at first, what is wrong with them, and what was decided."""
