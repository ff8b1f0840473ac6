#!/usr/bin/env bash
# An audit on a disk that fills up: an error that says so, nothing lost, and the same command goes on once there is room.
#
#   sudo tests/campaign/full_disk.sh DATASET
set -euo pipefail
dataset=$1
disk=$(mktemp -d)
mount -t tmpfs -o size=160k tmpfs "$disk"
trap 'umount "$disk"; rmdir "$disk"' EXIT
audit() { python -m segae audit "$dataset" -o "$disk/out" --workers 2 --no-report; }
for size in 160k 200k 260k 340k; do
  mount -o "remount,size=$size" "$disk"
  if audit >"$disk.log" 2>&1; then echo "$size: done"; else echo "$size: exit code $?: $(grep -a "^segae: " "$disk.log" | cut -c1-160)"; fi
  [ -f "$disk/out/results.sqlite" ] && python - "$disk/out/results.sqlite" <<'CHECK'
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print("  integrity:", database.execute("PRAGMA integrity_check").fetchone()[0], end="; ")
print("cases:", database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and
      database.execute("SELECT count(*) FROM cases").fetchone()[0])
CHECK
done
mount -o remount,size=64m "$disk"
audit >"$disk.log" 2>&1
python - "$disk/out/scores.csv" <<'CHECK'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], encoding="utf-8")))
print("64m: done,", len(rows), "masks, each once:", len({(r["case"], r["source"]) for r in rows}) == len(rows))
CHECK
rm -f "$disk.log"
