"""An audit as a data frame, in pandas or polars: which structures are worst, and which cases to look at.

python examples/frames.py OUT            # pandas
python examples/frames.py OUT polars
"""

from __future__ import annotations

import sys
from pathlib import Path


def with_pandas(out: Path) -> None:
    import pandas

    scores = pandas.read_csv(out / "scores.csv")
    by_structure = scores.groupby("structure")["dice"].describe(percentiles=[0.05, 0.5])
    print(by_structure.sort_values("5%")[["count", "5%", "50%"]].round(3))
    print(scores.sort_values("rank")[["case", "structure", "dice", "finding"]].head(5).to_string(index=False))


def with_polars(out: Path) -> None:
    import polars

    scores = polars.read_csv(out / "scores.csv")
    low = polars.col("dice").quantile(0.05).alias("5%")
    print(scores.group_by("structure").agg(polars.len(), low, polars.col("dice").median().alias("50%")).sort("5%"))
    print(scores.sort("rank").select("case", "structure", "dice", "finding").head(5))


if __name__ == "__main__":
    {"pandas": with_pandas, "polars": with_polars}[(sys.argv[2:] or ["pandas"])[0]](Path(sys.argv[1]))
