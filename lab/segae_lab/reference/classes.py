"""What the reference network segments, and what the absence of a label says about a slice."""

from __future__ import annotations

# Class 0 is everything else. The order is the order of the network's outputs.
CLASSES = (
    "liver",
    "spleen",
    "kidney_left",
    "kidney_right",
    "stomach",
    "pancreas",
    "gallbladder",
    "aorta",
    "inferior_vena_cava",
    "esophagus",
    "duodenum",
    "adrenal_gland_left",
    "adrenal_gland_right",
    "heart",
    "trachea",
    "lung_left",
    "lung_right",
    "brainstem",
    "spinal_cord",
    "mandible",
    "parotid_left",
    "parotid_right",
)

HEAD = ("brainstem", "mandible", "parotid_left", "parotid_right")

# Never in a slice that shows the head, whatever is labelled there.
BELOW_THE_NECK = (
    "liver",
    "spleen",
    "kidney_left",
    "kidney_right",
    "stomach",
    "pancreas",
    "gallbladder",
    "aorta",
    "inferior_vena_cava",
    "duodenum",
    "adrenal_gland_left",
    "adrenal_gland_right",
    "heart",
    "lung_left",
    "lung_right",
)

# Contoured only over a part of their length by protocol: known in the slices that show them, unknown elsewhere.
PART_OF_THE_LENGTH = ("spinal_cord", "esophagus")

# Agreement of two public networks from which a teacher's label is trusted. The other organs are trusted in scans
# where liver and spleen are.
AGREEMENT = {"liver": 0.9, "spleen": 0.9, "kidney_left": 0.9, "kidney_right": 0.9, "pancreas": 0.75}
