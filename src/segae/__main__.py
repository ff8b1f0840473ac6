"""``python -m segae`` does what `segae` does."""

import sys

from segae.cli import main

sys.exit(main())
